//! TLS to the database, by options of the URL.

use std::fs::File;
use std::path::PathBuf;

use mysql::{ClientIdentity, SslOpts};
use url::Url;

/// Splits a URL into the options of TLS, which the driver knows by other names, and the rest. `None` if TLS is not asked for.
///
/// Names and meanings are those of MySQL's own programs, but the default is the safe one: a certificate authority (`ssl-ca`) or a
/// client certificate (`ssl-cert` with `ssl-key`) asks for TLS, with the mode `verify_identity`.
///
/// # Errors
/// What is wrong with the options.
pub(super) fn take_options(url: &str) -> Result<(String, Option<SslOpts>), String> {
    let Ok(mut url) = Url::parse(url) else {
        // The driver reports what is wrong with it.
        return Ok((url.to_owned(), None));
    };
    let (mut mode, mut authority, mut certificate, mut key) = (None, None, None, None);
    let mut rest = Vec::new();
    for (name, value) in url.query_pairs() {
        match &*name {
            "ssl-mode" => mode = Some(value.into_owned()),
            "ssl-ca" => authority = Some(PathBuf::from(&*value)),
            "ssl-cert" => certificate = Some(PathBuf::from(&*value)),
            "ssl-key" => key = Some(PathBuf::from(&*value)),
            _ => rest.push((name.into_owned(), value.into_owned())),
        }
    }
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientIdentity::new(certificate, key)),
        (None, None) => None,
        _ => return Err("ssl-cert and ssl-key go together".to_owned()),
    };
    let unsaid = match (&authority, &identity) {
        (None, None) => "disabled",
        _ => "verify_identity",
    };
    let options = of_mode(mode.as_deref().unwrap_or(unsaid))?.map(|options| {
        options
            .with_root_cert_path(authority)
            .with_client_identity(identity)
    });
    url.query_pairs_mut().clear().extend_pairs(rest);
    Ok((url.into(), options))
}

/// Checks that the files can be read: the driver reads them for each connection.
///
/// # Errors
/// Which file cannot be read, and why.
pub(super) fn check_files(options: &SslOpts) -> Result<(), String> {
    let identity = options.client_identity().into_iter();
    let of_identity = identity.flat_map(|own| [own.cert_chain_path(), own.priv_key_path()]);
    for path in options.root_cert_path().into_iter().chain(of_identity) {
        File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    }
    Ok(())
}

/// What a mode checks; `None` for no TLS. MySQL's mode `PREFERRED` is missing because it protects from nobody.
fn of_mode(name: &str) -> Result<Option<SslOpts>, String> {
    let options = SslOpts::default();
    match &*name.to_ascii_lowercase() {
        "disabled" => Ok(None),
        // Checks nothing: protects only from eavesdropping.
        "required" => Ok(Some(
            options
                .with_danger_skip_domain_validation(true)
                .with_danger_accept_invalid_certs(true),
        )),
        // The certificate must be signed by the authority.
        "verify_ca" => Ok(Some(options.with_danger_skip_domain_validation(true))),
        // And it must be that of the host.
        "verify_identity" => Ok(Some(options)),
        _ => Err(format!(
            "ssl-mode is {name:?}, and not disabled, required, verify_ca or verify_identity"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{check_files, take_options};

    const THIS_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mysql/tls.rs");

    fn checks(query: &str) -> Option<(bool, bool)> {
        let (_, options) = take_options(&format!("mysql://u:p@db/name?{query}")).expect(query);
        options.map(|options| {
            let (any_certificate, any_name) = (
                options.accept_invalid_certs(),
                options.skip_domain_validation(),
            );
            (!any_certificate, !any_name)
        })
    }

    #[test]
    fn without_an_option_there_is_no_tls_and_the_url_stays() {
        for url in [
            "mysql://u:p%40x@db:3307/name?socket=%2Ftmp%2Fs",
            "mysql://db/name",
            "no url",
        ] {
            let (rest, options) = take_options(url).expect(url);
            assert!(options.is_none());
            assert_eq!(rest.trim_end_matches('?'), url);
        }
        assert_eq!(checks("ssl-mode=disabled"), None);
    }

    #[test]
    fn each_mode_checks_what_its_name_says() {
        assert_eq!(checks("ssl-mode=REQUIRED"), Some((false, false)));
        assert_eq!(checks("ssl-mode=verify_ca"), Some((true, false)));
        assert_eq!(checks("ssl-mode=verify_identity"), Some((true, true)));
        assert_eq!(checks(&format!("ssl-ca={THIS_FILE}")), Some((true, true)));
    }

    #[test]
    fn the_options_do_not_reach_the_driver_and_others_do() {
        let url = format!("mysql://db/name?ssl-ca={THIS_FILE}&compress=true&ssl-mode=verify_ca");
        let (rest, options) = take_options(&url).expect("it is right");
        assert_eq!(rest, "mysql://db/name?compress=true");
        let path = options.expect("TLS is asked for");
        assert_eq!(path.root_cert_path(), Some(THIS_FILE.as_ref()));
    }

    #[test]
    fn a_wrong_option_is_refused() {
        for (query, expected) in [
            ("ssl-mode=preferred", "verify_identity"),
            ("ssl-key=key.pem", "go together"),
        ] {
            let error = take_options(&format!("mysql://db/name?{query}")).expect_err(query);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let check = |query: &str| {
            let (_, options) = take_options(&format!("mysql://db/name?{query}")).expect(query);
            check_files(&options.expect("TLS is asked for"))
        };
        assert_eq!(check(&format!("ssl-ca={THIS_FILE}")), Ok(()));
        for query in [
            "ssl-ca=/nowhere/x.pem".to_owned(),
            format!("ssl-cert={THIS_FILE}&ssl-key=/nowhere/x.pem"),
        ] {
            let error = check(&query).expect_err(&query);
            assert!(error.contains("/nowhere/x.pem"), "{error}");
        }
    }
}
