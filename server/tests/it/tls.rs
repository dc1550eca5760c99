//! TLS between the server and its database.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use mysql::prelude::Queryable;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use testbed::{OwnDatabase, Replica};

/// The address at which the database listens. No other process uses ports there, so a free port stays free.
const ADDRESS: &str = "127.83.83.1";
/// The database listens at this address as well, but its certificate does not name it.
const ANOTHER_ADDRESS: &str = "127.83.83.2";

/// Writes three files to a folder: `{name}.pem` is the certificate of an authority; `{name}-signed.pem` and `{name}-signed.key`
/// are a certificate that it signed for [`ADDRESS`], and the key of that.
fn write_certificates(folder: &Path, name: &str) {
    let key = || KeyPair::generate().expect("there is randomness");
    let write = |file: String, content: String| {
        fs::write(folder.join(file), content).expect("the folder is there");
    };
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // A certificate with the same name as its issuer would count as self-signed.
    authority.distinguished_name.push(DnType::CommonName, name);
    let authority = CertifiedIssuer::self_signed(authority, key()).expect("it is complete");
    let signed_key = key();
    let signed = CertificateParams::new([ADDRESS.to_owned()])
        .and_then(|certificate| certificate.signed_by(&signed_key, &authority));
    write(format!("{name}.pem"), authority.pem());
    write(
        format!("{name}-signed.pem"),
        signed.expect("it is complete").pem(),
    );
    write(format!("{name}-signed.key"), signed_key.serialize_pem());
}

/// A database with TLS, at [`ADDRESS`]. The user `encrypts` must use it, and `shows` must also show a certificate.
struct Encrypted {
    server: OwnDatabase,
    folder: PathBuf,
    port: u16,
}

impl Encrypted {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().to_owned();
        for name in ["authority", "stranger"] {
            write_certificates(&path, name);
        }
        let option = |name: &str, file: &str| format!("--{name}={}", path.join(file).display());
        let port = TcpListener::bind((ADDRESS, 0))
            .and_then(|free| free.local_addr())
            .expect("a port is free")
            .port();
        let server = OwnDatabase::start_in(folder, |process| {
            process
                .option("--skip-networking=0")
                .option(format!("--bind-address={ADDRESS},{ANOTHER_ADDRESS}"))
                .option(format!("--port={port}"))
                .option(option("ssl-ca", "authority.pem"))
                .option(option("ssl-cert", "authority-signed.pem"))
                .option(option("ssl-key", "authority-signed.key"))
        })?;
        let mut root = server.connect().expect("it is up");
        for (user, what) in [("encrypts", "SSL"), ("shows", "X509")] {
            let create = format!("CREATE USER {user} IDENTIFIED BY 'geheim' REQUIRE {what}");
            let grant = format!("GRANT ALL ON {}.* TO {user}", server.database().name());
            root.query_drop(create)
                .and_then(|()| root.query_drop(grant))
                .expect("root may do that");
        }
        Some(Self {
            server,
            folder: path,
            port,
        })
    }

    /// The URL for a replica; files that `options` name are in the folder of the certificates.
    fn url(&self, user: &str, address: &str, options: &str) -> String {
        let (port, name) = (self.port, self.server.database().name());
        let folder = format!("={}/", self.folder.display());
        let options = options.replace("=./", &folder);
        format!("mysql://{user}:geheim@{address}:{port}/{name}?{options}")
    }
}

#[test]
fn a_user_who_must_use_tls_gets_in_by_the_right_authority_at_the_right_address_only() {
    let Some(encrypted) = Encrypted::start() else {
        return;
    };
    let accepted = [
        ("encrypts", ADDRESS, "ssl-ca=./authority.pem"),
        (
            "encrypts",
            ANOTHER_ADDRESS,
            "ssl-ca=./authority.pem&ssl-mode=verify_ca",
        ),
        (
            "shows",
            ADDRESS,
            "ssl-ca=./authority.pem&ssl-cert=./authority-signed.pem&ssl-key=./authority-signed.key",
        ),
    ];
    for (user, address, options) in accepted {
        // The database accepts such a user on encrypted connections only, for reading and for writing.
        let replica = Replica::start_at(&encrypted.url(user, address, options), &[]);
        assert_eq!(replica.client().post(user, "x").status, 200, "{options}");
    }
    let (asking, naming) = (
        "ssl- options if the user must use TLS",
        "ssl-ca names the authority",
    );
    let refused = [
        ("encrypts", ADDRESS, "", asking),
        ("encrypts", ADDRESS, "ssl-ca=./stranger.pem", naming),
        (
            "encrypts",
            ANOTHER_ADDRESS,
            "ssl-ca=./authority.pem",
            naming,
        ),
        ("shows", ADDRESS, "ssl-ca=./authority.pem", asking),
    ];
    for (user, address, options, expected) in refused {
        assert_refused(&encrypted.url(user, address, options), expected);
    }
    let database = encrypted.server.database();
    assert_eq!(database.count(), accepted.len() as u64);
}

#[test]
fn a_database_without_tls_is_refused_where_tls_is_asked_for() {
    let server = OwnDatabase::start_with(|process| {
        process.option("--loose-skip-ssl").option("--tls-version=")
    });
    let Some(server) = server else { return };
    let proxy = server.database().proxy();
    let url = proxy.url();
    assert_refused(
        &format!("{url}?ssl-mode=required"),
        "TLS is asked for by the ssl- options",
    );
    assert_eq!(
        Replica::start_at(&url, &[])
            .client()
            .post("ann", "x")
            .status,
        200
    );
}

/// Fails unless a replica refuses to start at once, without waiting for the database.
fn assert_refused(url: &str, expected: &str) {
    let mut replica = Replica::spawn(url, &[]);
    assert_eq!(replica.exit_status().code(), Some(1), "{url}");
    let log = replica.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.contains("refused") && last.contains(expected),
        "{url}: {log}"
    );
    assert!(!log.contains("geheim"), "the password is in the log: {log}");
}
