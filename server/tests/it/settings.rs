//! Database servers as operators configure them: with any setting the promises hold, or the start is refused with the reason.

mod known;

use std::panic::{AssertUnwindSafe, catch_unwind};

use mysql::Conn;
use mysql::prelude::Queryable;
use uuid::Uuid;

use known::Expected::{Promises, Refusal};
use known::ServerKind::{Both, MariaDb, MySql};
use known::{Expected, SETTINGS, ServerKind};
use testbed::{Database, Load, OwnDatabase, Replica, assert_promises, eventually};

/// The name of `name = value`.
fn name<'s>(setting: &&'s str) -> &'s str {
    setting.split(' ').next().unwrap_or_default()
}

/// Starts a database server with a binary log, which MySQL has by default.
pub(crate) fn own_server(options: &[&str]) -> Option<OwnDatabase> {
    OwnDatabase::start_with(|process| {
        options
            .iter()
            .fold(process.option("--log-bin=log-bin"), |process, option| {
                process.option(option)
            })
    })
}

fn server_kind(root: &mut Conn) -> ServerKind {
    let version: Option<String> = root.query_first("SELECT VERSION()").expect("it is up");
    if version.is_some_and(|version| version.contains("MariaDB")) {
        MariaDb
    } else {
        MySql
    }
}

/// Runs a statement as root. Open sessions keep their settings.
pub(crate) fn administer(root: &mut Conn, statement: &str) {
    root.query_drop(statement)
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn empty(root: &mut Conn, database: &Database) {
    let name = database.name();
    administer(root, &format!("DROP DATABASE {name}"));
    administer(root, &format!("CREATE DATABASE {name}"));
}

pub(crate) fn assert_refused(database: &Database, setting: &str) {
    let mut replica = Replica::spawn(&database.url(), &[]);
    assert_eq!(replica.exit_status().code(), Some(1), "{}", replica.log());
    let log = replica.log().to_lowercase().replace('-', "_");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(setting), "{setting} is not named in {log}");
}

/// Runs a load on two replicas, and checks the promises, and what the replicas show at the end.
fn check_promises(replicas: &[Replica]) {
    for replica in replicas {
        // Makes a connection for reading, which the pool keeps.
        assert_eq!(replica.client().get("/messages").messages().len(), 0);
    }
    let load = Load::start(replicas, 4);
    load.wait_for_answers(60);
    let exchanges = load.finish();
    assert_promises(&exchanges);
    let key = Uuid::new_v4().to_string();
    let [first, again] =
        [0, 1].map(|index: usize| replicas[index].client().post_with_key("🙈", "é😀", &key));
    assert_eq!(first.own_seq(), exchanges.len() as u64 + 1);
    assert_eq!(first.body, again.body, "a repeated key gets another reply");
    for replica in replicas {
        let page = replica.client().get("/messages");
        assert_eq!(page.messages(), first.messages(), "a page is out of date");
        let mut client = replica.client();
        eventually("it is ready", || client.get("/readyz").status == 200);
    }
}

/// Starts two replicas at once, which find no tables.
fn two_replicas(database: &Database) -> [Replica; 2] {
    let mut replicas = [0, 1].map(|_| Replica::spawn(&database.url(), &[]));
    replicas.iter_mut().for_each(Replica::wait_until_ready);
    replicas
}

fn assert_expected(database: &Database, setting: &str, expected: Expected) {
    match expected {
        Promises => check_promises(&two_replicas(database)),
        Refusal => assert_refused(database, setting),
    }
}

#[test]
fn with_any_setting_the_promises_hold_or_the_start_is_refused_with_the_name_of_the_setting() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let database = server.database();
    let mut root = server.connect().expect("it is up");
    let own_kind = server_kind(&mut root);
    let mut failed = Vec::new();
    for (kind, settings, expected) in SETTINGS {
        if kind != Both && kind != own_kind {
            continue;
        }
        empty(&mut root, database);
        for setting in settings {
            administer(&mut root, &format!("SET GLOBAL {setting}"));
        }
        let checked = catch_unwind(AssertUnwindSafe(|| {
            assert_expected(database, name(&settings[0]), expected);
        }));
        for name in settings.iter().map(name) {
            administer(&mut root, &format!("SET GLOBAL {name} = DEFAULT"));
        }
        let in_order = catch_unwind(AssertUnwindSafe(|| {
            if let Promises = expected {
                database.assert_in_order();
            }
        }));
        if checked.is_err() || in_order.is_err() {
            failed.push(settings);
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:#?}",
        failed.len(),
        SETTINGS.len()
    );
}

#[test]
fn with_any_startup_option_the_promises_hold_or_the_start_is_refused_with_the_name_of_the_setting()
{
    // The same recipe for UTF-8, whose option MySQL 9 has no more; manual of MySQL, --sysdate-is-now; Apache CloudStack
    // (innodb_rollback_on_timeout); the manual's "traditional" lock mode; guides to MySQL 5 (query_cache_type).
    let common = [
        "--loose-skip-character-set-client-handshake",
        "--character-set-server=utf8mb3",
        "--sysdate-is-now",
        "--innodb-rollback-on-timeout",
        "--innodb-autoinc-lock-mode=0",
        "--autocommit=0",
        "--loose-query-cache-type=1",
        "--loose-query-cache-size=16M",
    ];
    for (options, expected) in [
        (&common[..], Promises),
        // A session cannot exceed a maximum that the operator has set (manuals: --maximum-…).
        (&["--maximum-wait-timeout=60"], Refusal),
    ] {
        let Some(server) = own_server(options) else {
            return;
        };
        assert_expected(server.database(), "wait_timeout", expected);
    }
}

#[test]
fn a_setting_that_is_changed_while_replicas_run_does_not_change_their_next_connections() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let replicas = two_replicas(server.database());
    let mut root = server.connect().expect("it is up");
    administer(
        &mut root,
        "SET GLOBAL init_connect = 'SET autocommit = 0, sql_select_limit = 2, NAMES latin1'",
    );
    let ours = "SELECT id FROM information_schema.processlist WHERE user = 'dm'";
    for id in root.query::<u64, _>(ours).expect("it is up") {
        // It may be gone by now.
        let _ = root.query_drop(format!("KILL {id}"));
    }
    check_promises(&replicas);
}

#[test]
fn while_new_connections_cannot_keep_a_promise_no_replica_says_that_it_is_ready() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let replica = Replica::start(server.database());
    let mut root = server.connect().expect("it is up");
    administer(&mut root, "SET GLOBAL binlog_format = 'STATEMENT'");
    let mut client = replica.client();
    assert_eq!(client.get("/readyz").status, 503);
    administer(&mut root, "SET GLOBAL binlog_format = DEFAULT");
    eventually("it is ready", || client.get("/readyz").status == 200);
}

#[test]
fn a_server_that_may_lose_what_it_confirmed_is_named_in_the_log() {
    let Some(server) = own_server(&["--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"])
    else {
        return;
    };
    let replica = Replica::start(server.database());
    for setting in ["innodb_flush_log_at_trx_commit", "sync_binlog"] {
        let warned = |line: &str| line.contains("WARN") && line.contains(setting);
        assert!(
            replica.log().lines().any(warned),
            "{setting}: {}",
            replica.log()
        );
    }
}

#[test]
fn the_schema_that_an_operator_applies_is_the_same_whatever_his_session_is() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let database = server.database();
    let mut root = server.connect().expect("it is up");
    let schema = include_str!("../../../schema.sql");
    for session in [
        "SET autocommit = 0",
        "SET NAMES latin1",
        "SET sql_mode = ''ANSI,NO_BACKSLASH_ESCAPES''",
        "SET completion_type = 2",
        "SET SESSION TRANSACTION READ ONLY",
    ] {
        empty(&mut root, database);
        administer(&mut root, &format!("SET GLOBAL init_connect = '{session}'"));
        for _twice in 0..2 {
            let mut operator = database.connect();
            let mut results = operator.query_iter(schema).expect("it is SQL");
            while let Some(rows) = results.iter() {
                rows.for_each(|row| drop(row.expect("each statement is right")));
            }
        }
        administer(&mut root, "SET GLOBAL init_connect = ''");
        let locks: Vec<u64> = database.rows("SELECT COUNT(*) FROM counters");
        assert_eq!(locks, [1], "{session}: the lock is not there");
        let replica = Replica::start(database);
        assert!(!replica.log().contains("creating the tables"), "{session}");
        assert_eq!(replica.client().post("😀", "x").own_seq(), 1);
        database.assert_in_order();
    }
}
