//! The rights that the server needs in the database.

use mysql::prelude::Queryable;
use uuid::Uuid;

use testbed::{Database, Replica, eventually};

/// The rights and tables that the README lists.
const RUNTIME: [(&str, &str); 3] = [
    ("SELECT, INSERT", "messages"),
    ("SELECT, INSERT, UPDATE", "counters"),
    ("SELECT", "ordering_violations"),
];
/// Further rights, on the database, of a user that creates missing tables.
const SET_UP: &str = "CREATE, CREATE VIEW, DROP";

/// A user of the database server, without any rights at first. Dropped at the end.
struct User<'d> {
    name: String,
    database: &'d Database,
}

impl<'d> User<'d> {
    fn new(database: &'d Database) -> Self {
        let name = format!("dm_{}", &Uuid::new_v4().simple().to_string()[..12]);
        let user = Self { name, database };
        user.administer(&format!(
            "CREATE USER {} IDENTIFIED BY 'geheim'",
            user.account()
        ));
        user
    }

    fn account(&self) -> String {
        format!("'{}'@'localhost'", self.name)
    }

    fn administer(&self, statement: &str) {
        let done = self.database.connect().query_drop(statement);
        done.expect("the user of DATABASE_URL may create users, and grant what it has");
    }

    fn grant(&self, rights: &str, table: &str) {
        let (name, account) = (self.database.name(), self.account());
        self.administer(&format!("GRANT {rights} ON {name}.{table} TO {account}"));
    }

    /// The URL for a replica.
    fn url(&self) -> String {
        let url = self.database.url();
        let (authority, rest) = url["mysql://".len()..]
            .split_once('/')
            .expect("it names a database");
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("mysql://{}:geheim@{host}/{rest}", self.name)
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        let drop = format!("DROP USER {}", self.account());
        let _ = self.database.connect().query_drop(drop);
    }
}

fn assert_serves(url: &str) {
    let mut replica = Replica::spawn(url, &[]);
    replica.wait_until_ready();
    let mut client = replica.client();
    let key = Uuid::new_v4().to_string();
    let first = client.post_with_key("ann", "x", &key);
    assert_eq!(first.own_seq(), 1);
    assert_eq!(client.post_with_key("ann", "x", &key).body, first.body);
    assert_eq!(client.get("/messages").messages().len(), 1);
    eventually("it is ready", || client.get("/readyz").status == 200);
}

#[test]
fn with_the_rights_of_the_readme_it_runs_on_tables_that_are_there() {
    let database = Database::new();
    drop(Replica::start(&database));
    let user = User::new(&database);
    for (rights, table) in RUNTIME {
        user.grant(rights, table);
    }
    assert_serves(&user.url());
    database.assert_in_order();
}

#[test]
fn with_one_right_less_it_does_not_start_and_says_which_is_missing() {
    let database = Database::new();
    drop(Replica::start(&database));
    for (rights, table) in RUNTIME {
        for missing in rights.split(", ") {
            let user = User::new(&database);
            for (rights, other) in RUNTIME {
                let rest: Vec<_> = rights
                    .split(", ")
                    .filter(|right| table != other || *right != missing)
                    .collect();
                if !rest.is_empty() {
                    user.grant(&rest.join(", "), other);
                }
            }
            let mut replica = Replica::spawn(&user.url(), &[]);
            assert_eq!(replica.exit_status().code(), Some(1), "{missing} {table}");
            let log = replica.log();
            let last = log.lines().last().unwrap_or_default();
            let expected = ["denied", "grant this user SELECT and INSERT on messages"];
            assert!(
                expected.iter().all(|part| last.contains(part)),
                "{missing} on {table}: {log}"
            );
            assert!(!log.contains("geheim"), "the password is in the log: {log}");
        }
    }
}

#[test]
fn with_the_rights_to_set_up_it_creates_the_tables() {
    let database = Database::new();
    let user = User::new(&database);
    user.grant(&format!("{SET_UP}, SELECT, INSERT, UPDATE"), "*");
    assert_serves(&user.url());
    database.assert_in_order();
}

#[test]
fn the_password_is_shown_nowhere() {
    let database = Database::new();
    let user = User::new(&database);
    user.grant(&format!("{SET_UP}, SELECT, INSERT, UPDATE"), "*");
    let url = user.url();
    let options = ["--log-level=trace", "--connect-timeout=500ms"];
    let mut replica = Replica::spawn(&url, &options);
    replica.wait_until_ready();
    let mut client = replica.client();
    client.post("ann", "makes connections");
    client.get("/messages");
    user.administer(&format!(
        "ALTER USER {} IDENTIFIED BY 'another'",
        user.account()
    ));
    let killed = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    for id in database.rows::<u64>(killed) {
        // It may be gone by now.
        let _ = database.connect().query_drop(format!("KILL {id}"));
    }
    client.send_post("ann", "cannot be stored any more", "");
    replica.wait_for_line("the database fails");
    assert_eq!(replica.client().get("/readyz").status, 503);
    assert_masked(&replica.log());

    for arguments in [&["--help"][..], &["--workers=none"], &["--database-url"]] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_server"))
            .args(arguments)
            .env("DATABASE_URL", &url)
            .output()
            .expect("the server's binary can be started");
        assert_masked(&String::from_utf8_lossy(
            &[output.stdout, output.stderr].concat(),
        ));
    }
}

fn assert_masked(shown: &str) {
    assert!(!shown.is_empty());
    assert!(!shown.contains("geheim"), "{shown}");
}
