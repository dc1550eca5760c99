//! Where the database is.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use mysql::{Opts, OptsBuilder};
use url::Url;

use super::timeouts::Timeouts;
use super::tls;

/// The URLs of the hosts of one database, in the order in which they are tried. Shown without passwords.
#[derive(Clone)]
pub struct DatabaseUrls(pub(super) Vec<DatabaseUrl>);

impl FromStr for DatabaseUrls {
    type Err = Infallible;

    /// Splits at commas between URLs, because a password may contain commas.
    fn from_str(urls: &str) -> Result<Self, Infallible> {
        let mut rest = urls.trim();
        let mut parts = Vec::new();
        while let Some(comma) = rest.match_indices(',').find_map(|(comma, _)| {
            let next = rest[comma + 1..].trim_start();
            next.starts_with(SCHEME).then_some(comma)
        }) {
            parts.push(DatabaseUrl(rest[..comma].trim_end().to_owned()));
            rest = rest[comma + 1..].trim_start();
        }
        parts.push(DatabaseUrl(rest.to_owned()));
        Ok(Self(parts))
    }
}

impl DatabaseUrls {
    /// The driver's options for each host, in order.
    pub(super) fn options(&self, timeouts: Timeouts) -> Result<Vec<Opts>, String> {
        let all = self.0.iter().map(|url| url.options(timeouts));
        let all: Vec<Opts> = all.collect::<Result<_, _>>()?;
        if all
            .iter()
            .any(|each| each.get_db_name() != all[0].get_db_name())
        {
            return Err("the hosts of one database must all name the same database".to_owned());
        }
        Ok(all)
    }

    /// Whether one of them asks for TLS.
    pub(super) fn asks_for_tls(&self) -> bool {
        let options = self.0.iter().map(|url| tls::take_options(&url.0));
        options.flatten().any(|(_, options)| options.is_some())
    }
}

impl fmt::Display for DatabaseUrls {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.0.iter().map(DatabaseUrl::to_string).collect();
        to.write_str(&urls.join(", "))
    }
}

impl fmt::Debug for DatabaseUrls {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

const SCHEME: &str = "mysql://";

const PERCENT_ENCODE: &str =
    "if its user or password contains one of # / ? @ %, write that as %23 %2F %3F %40 %25";

/// The URL of a host. It is parsed by `options`, because clap would show a parse error together with the value, and so the
/// password.
#[derive(Clone)]
pub(super) struct DatabaseUrl(String);

impl DatabaseUrl {
    fn options(&self, timeouts: Timeouts) -> Result<Opts, String> {
        self.check_password()?;
        let (url, tls) = tls::take_options(&self.0)?;
        tls.as_ref().map_or(Ok(()), tls::check_files)?;
        let options = Opts::from_url(&url).map_err(|error| format!("{error}; {PERCENT_ENCODE}"))?;
        if options.get_db_name().is_none_or(str::is_empty) {
            return Err(
                "it names no database; add one, as in mysql://user:password@host:3306/name"
                    .to_owned(),
            );
        }
        if tls.is_some() && options.get_socket().is_some() {
            return Err("it asks for TLS, which there is none of on a Unix socket; leave out the options ssl-…, or socket".to_owned());
        }
        Ok(OptsBuilder::from_opts(options)
            // The socket's path that the server reports may be that of another machine.
            .prefer_socket(false)
            // All answers are accepted; what the server accepts is asked for where it matters.
            .max_allowed_packet(Some(usize::MAX))
            .ssl_opts(tls)
            .tcp_connect_timeout(Some(timeouts.connect_timeout))
            .read_timeout(Some(timeouts.database_timeout))
            .write_timeout(Some(timeouts.database_timeout))
            .into())
    }

    /// Refuses a URL whose password contains one of these characters unencoded: another host, port or database would be used, and
    /// the log would show part of the password.
    fn check_password(&self) -> Result<(), String> {
        let rest = self.0.strip_prefix(SCHEME).unwrap_or(&self.0);
        let behind = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
        let (name, query) = behind.split_once('?').unwrap_or((behind, ""));
        // In the value of an option an @ is valid.
        let in_no_option = query
            .split_once('@')
            .is_some_and(|(before, _)| !before.contains('='));
        if name.contains('@') || in_no_option || behind.contains('#') {
            return Err(PERCENT_ENCODE.to_owned());
        }
        Ok(())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.check_password().ok().and(Url::parse(&self.0).ok());
        let Some(mut url) = url.filter(|url| url.scheme() == "mysql") else {
            return to.write_str("(not a URL)");
        };
        if url.password().is_some() {
            let _ = url.set_password(Some("***"));
        }
        if url.port().is_none() {
            let _ = url.set_port(Some(3306));
        }
        url.fmt(to)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{DatabaseUrl, DatabaseUrls, Timeouts};

    const TIMEOUTS: Timeouts = Timeouts {
        connect_timeout: Duration::from_secs(1),
        database_timeout: Duration::from_secs(1),
    };

    #[test]
    fn tls_on_a_unix_socket_is_refused_and_each_alone_is_taken() {
        let options = |query: &str| {
            let url = format!("mysql://u:p@localhost/name?{query}");
            DatabaseUrl(url).options(TIMEOUTS).map(drop)
        };
        let both = options("socket=/run/s.sock&ssl-mode=required").expect_err("it cannot be");
        assert!(both.contains("Unix socket"), "{both}");
        for good in [
            "socket=/run/s.sock",
            "ssl-mode=required",
            "socket=/run/s.sock&ssl-mode=disabled",
        ] {
            assert!(options(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_password_with_a_delimiter_of_urls_is_refused_with_advice_and_not_shown() {
        for part in [
            "#", "/", "?", "1#", "1/", "1?", "1/2?", "a@b#", "a@b/", "a@b?",
        ] {
            let url = DatabaseUrl(format!("mysql://u:{part}geheim@localhost/name"));
            let error = url.options(TIMEOUTS).expect_err(&url.0);
            assert!(error.contains("%23"), "{part}: {error}");
            let shown = url.to_string();
            assert!(!shown.contains("geheim"), "{part}: {shown}");
        }
        for good in [
            "mysql://u:a@b@localhost/name",
            "mysql://u:%23%2F%3F%40%25@localhost/name",
            "mysql://u:%@localhost/name",
            "mysql://localhost/name?socket=/a@b",
            "mysql://u:p@localhost/name?socket=/a@b",
        ] {
            let url = DatabaseUrl(good.to_owned());
            assert!(url.options(TIMEOUTS).is_ok(), "{good}");
        }
    }

    #[test]
    fn hosts_are_separated_by_commas_and_passwords_may_contain_some() {
        let urls: DatabaseUrls =
            "mysql://u:a%2Cb,c@one/x, mysql://u:,@two:3307/x,\nmysql://three/x"
                .parse()
                .unwrap_or_else(|never| match never {});
        assert_eq!(
            urls.0.iter().map(|url| url.0.as_str()).collect::<Vec<_>>(),
            [
                "mysql://u:a%2Cb,c@one/x",
                "mysql://u:,@two:3307/x",
                "mysql://three/x"
            ]
        );
        assert_eq!(
            urls.to_string(),
            "mysql://u:***@one:3306/x, mysql://u:***@two:3307/x, mysql://three:3306/x"
        );
    }
}
