//! Servers as others run them: whatever a database is set to, the promises hold, or the start is refused and says why.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mysql::Conn;
use mysql::prelude::Queryable;
use uuid::Uuid;

use testbed::{Database, Load, OwnDatabase, Replica, assert_promises, eventually};

/// What is wanted of a server that is set so.
#[derive(Clone, Copy)]
enum Wanted {
    /// All promises.
    Promises,
    /// No start, for a reason that names the setting.
    Refusal,
}
use Wanted::{Promises, Refusal};

/// Which servers have the setting.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Both,
    MariaDb,
    MySql,
}
use Of::{Both, MariaDb, MySql};

/// Settings that may be changed while the server runs, each with where it comes from. The first of several is the one
/// that a refusal names.
const SETTINGS: [(Of, &[&str], Wanted); 41] = [
    // "UTF-8 by default in my.cnf", as Stack Overflow has it (question 3513773), with today's names.
    (Both, &["init_connect = 'SET NAMES utf8mb3'"], Promises),
    (
        Both,
        &[
            "init_connect = 'SET collation_connection = utf8mb4_unicode_ci'",
            "collation_server = utf8mb4_unicode_ci",
        ],
        Promises,
    ),
    // The same of before Unicode.
    (Both, &["init_connect = 'SET NAMES latin1'"], Promises),
    // Manual of MySQL, "Connection Character Sets and Collations": no conversion of results.
    (
        Both,
        &["init_connect = 'SET character_set_results = NULL'"],
        Promises,
    ),
    // The manual's own example for init_connect.
    (Both, &["init_connect = 'SET autocommit = 0'"], Promises),
    // Manuals of both: autocommit, completion_type (CHAIN, RELEASE).
    (Both, &["autocommit = 0"], Promises),
    (Both, &["completion_type = 1"], Promises),
    (Both, &["completion_type = 2"], Promises),
    // Manual of MySQL, "Server SQL Modes": the combinations ANSI and TRADITIONAL.
    (Both, &["sql_mode = 'ANSI'"], Promises),
    (
        Both,
        &["sql_mode = 'TRADITIONAL,ONLY_FULL_GROUP_BY'"],
        Promises,
    ),
    // WHMCS and other applications of old ask for no strictness.
    (Both, &["sql_mode = ''"], Promises),
    // Those of the modes that change what a statement means.
    (
        Both,
        &[
            "sql_mode = 'NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,NO_UNSIGNED_SUBTRACTION,HIGH_NOT_PRECEDENCE'",
        ],
        Promises,
    ),
    // MariaDB's documentation, for applications that come from Oracle.
    (MariaDb, &["sql_mode = 'ORACLE'"], Promises),
    // What `mysql --safe-updates` sets, and MySQL Workbench by default; and a tighter limit.
    (
        Both,
        &[
            "init_connect = 'SET sql_safe_updates = 1, sql_select_limit = 1000, max_join_size = 1000000'",
        ],
        Promises,
    ),
    (
        Both,
        &["init_connect = 'SET sql_select_limit = 3'"],
        Promises,
    ),
    // Limits against other users of the same server; manuals of both.
    (Both, &["max_join_size = 1"], Promises),
    (MariaDb, &["max_statement_time = 0.001"], Promises),
    (MySql, &["max_execution_time = 1"], Promises),
    // Time-outs that parameter groups of RDS offer.
    (
        Both,
        &["wait_timeout = 1", "interactive_timeout = 1"],
        Promises,
    ),
    (
        Both,
        &["net_read_timeout = 1", "net_write_timeout = 1"],
        Promises,
    ),
    (
        Both,
        &["innodb_lock_wait_timeout = 1", "lock_wait_timeout = 1"],
        Promises,
    ),
    // And the time zone of such a group.
    (Both, &["time_zone = '+13:00'"], Promises),
    // Manuals of both, SET TRANSACTION.
    (MariaDb, &["tx_isolation = 'SERIALIZABLE'"], Promises),
    (MySql, &["transaction_isolation = 'SERIALIZABLE'"], Promises),
    (MariaDb, &["tx_isolation = 'READ-UNCOMMITTED'"], Promises),
    (MariaDb, &["tx_read_only = 1"], Promises),
    (MySql, &["transaction_read_only = 1"], Promises),
    // Manual of MySQL, "Bulk Data Loading for InnoDB Tables".
    (
        Both,
        &["unique_checks = 0", "foreign_key_checks = 0"],
        Promises,
    ),
    // Manuals of both, for two servers that replicate each other.
    (
        Both,
        &["auto_increment_increment = 7", "auto_increment_offset = 3"],
        Promises,
    ),
    // What ODBC needs (manual of MySQL, sql_auto_is_null), and reports may want.
    (
        Both,
        &[
            "sql_auto_is_null = 1",
            "big_tables = 1",
            "group_concat_max_len = 4",
            "div_precision_increment = 0",
        ],
        Promises,
    ),
    // Defaults of MySQL up to 5.1 and up to 5.7, kept by upgrades.
    (
        Both,
        &[
            "default_storage_engine = MyISAM",
            "explicit_defaults_for_timestamp = 0",
        ],
        Promises,
    ),
    // Defaults of DigitalOcean's managed MySQL, and of Azure's.
    (
        MySql,
        &[
            "sql_require_primary_key = 1",
            "sql_generate_invisible_primary_key = 1",
        ],
        Promises,
    ),
    // Manuals of both, for proxies that follow a session; the last one is ProxySQL's.
    (
        Both,
        &[
            "session_track_system_variables = '*'",
            "session_track_state_change = 1",
            "session_track_transaction_info = 'CHARACTERISTICS'",
        ],
        Promises,
    ),
    (MySql, &["session_track_gtids = OWN_GTID"], Promises),
    // The default since MariaDB 11.6; and MariaDB's documentation, "Conversion of Big IN Predicates".
    (
        MariaDb,
        &[
            "innodb_snapshot_isolation = 1",
            "in_predicate_conversion_threshold = 2",
        ],
        Promises,
    ),
    // Manuals of both, optimizer_switch.
    (
        Both,
        &["optimizer_switch = 'mrr=on,mrr_cost_based=off,index_condition_pushdown=off'"],
        Promises,
    ),
    // The first advice of all tuning; promise 6 is the operator's to give up.
    (
        Both,
        &["innodb_flush_log_at_trx_commit = 2", "sync_binlog = 0"],
        Promises,
    ),
    // The default of MySQL before 5.7.7 and of MariaDB before 10.2.4, kept by upgrades.
    (Both, &["binlog_format = 'STATEMENT'"], Refusal),
    // MariaDB's documentation, max_session_mem_used.
    (MariaDb, &["max_session_mem_used = 8192"], Refusal),
    // Nobody wants it, but it is allowed: no statement gives a row.
    (Both, &["sql_select_limit = 0"], Promises),
    (
        Both,
        &["init_connect = 'SET sql_select_limit = 0'"],
        Promises,
    ),
];

/// The name of `name = value`.
fn name<'s>(setting: &&'s str) -> &'s str {
    setting.split(' ').next().unwrap_or_default()
}

/// With a binary log, as MySQL has it by default.
fn own_server(options: &[&str]) -> Option<OwnDatabase> {
    OwnDatabase::start_with(|process| {
        options
            .iter()
            .fold(process.option("--log-bin=log-bin"), |process, option| {
                process.option(option)
            })
    })
}

fn kind_of(root: &mut Conn) -> Of {
    let version: Option<String> = root.query_first("SELECT VERSION()").expect("it is up");
    if version.is_some_and(|version| version.contains("MariaDB")) {
        MariaDb
    } else {
        MySql
    }
}

/// Runs a statement of the test's own. Sessions of before keep their settings.
fn administer(root: &mut Conn, statement: &str) {
    root.query_drop(statement)
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn empty(root: &mut Conn, database: &Database) {
    let name = database.name();
    administer(root, &format!("DROP DATABASE {name}"));
    administer(root, &format!("CREATE DATABASE {name}"));
}

fn assert_refused(database: &Database, setting: &str) {
    let mut replica = Replica::spawn(&database.url(), &["--startup-timeout=5s"]);
    assert_eq!(replica.exit_status().code(), Some(1), "{}", replica.log());
    let log = replica.log().to_lowercase().replace('-', "_");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(setting), "{setting} is not named in {log}");
}

/// A load on two replicas, judged; and what they show at the end.
fn judge(replicas: &[Replica]) {
    for replica in replicas {
        // Makes a connection for reading, which the pool keeps.
        assert_eq!(replica.caller().get("/messages").messages().len(), 0);
    }
    let load = Load::start(replicas, 4);
    load.goes_on(60);
    let exchanges = load.finish();
    assert_promises(&exchanges);
    let key = Uuid::new_v4().to_string();
    let [first, again] =
        [0, 1].map(|index: usize| replicas[index].caller().post_with_key("🙈", "é😀", &key));
    assert_eq!(first.own_seq(), exchanges.len() as u64 + 1);
    assert_eq!(first.body, again.body, "a repeated key gets another reply");
    for replica in replicas {
        let page = replica.caller().get("/messages");
        assert_eq!(
            page.messages(),
            first.messages(),
            "a page is not the present"
        );
        assert_eq!(replica.caller().get("/readyz").status, 200);
    }
}

/// Two that find no tables, at once.
fn two_replicas(database: &Database) -> [Replica; 2] {
    let mut replicas = [0, 1].map(|_| Replica::spawn(&database.url(), &["--startup-timeout=5s"]));
    replicas.iter_mut().for_each(Replica::wait_until_ready);
    replicas
}

fn assert_wanted(database: &Database, setting: &str, wanted: Wanted) {
    match wanted {
        Promises => judge(&two_replicas(database)),
        Refusal => assert_refused(database, setting),
    }
}

#[test]
fn whatever_a_server_is_set_to_the_promises_hold_or_the_start_is_refused_with_the_settings_name() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let database = server.database();
    let mut root = server.connect().expect("it is up");
    let kind = kind_of(&mut root);
    let mut failed = Vec::new();
    for (of, settings, wanted) in SETTINGS {
        if of != Both && of != kind {
            continue;
        }
        empty(&mut root, database);
        for setting in settings {
            administer(&mut root, &format!("SET GLOBAL {setting}"));
        }
        let judged = catch_unwind(AssertUnwindSafe(|| {
            assert_wanted(database, name(&settings[0]), wanted);
        }));
        for name in settings.iter().map(name) {
            administer(&mut root, &format!("SET GLOBAL {name} = DEFAULT"));
        }
        let in_order = catch_unwind(AssertUnwindSafe(|| {
            if let Promises = wanted {
                database.assert_in_order();
            }
        }));
        if judged.is_err() || in_order.is_err() {
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
fn whatever_a_server_is_started_with_the_promises_hold_or_the_start_is_refused_with_the_settings_name()
 {
    // The same recipe for UTF-8, which MySQL 9 knows no more; manual of MySQL, --sysdate-is-now; Apache CloudStack
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
    for (options, wanted) in [
        (&common[..], Promises),
        // A bound that the operator sets for all sessions (manuals: --maximum-…) is not to be lifted.
        (&["--maximum-wait-timeout=60"], Refusal),
    ] {
        let Some(server) = own_server(options) else {
            return;
        };
        assert_wanted(server.database(), "wait_timeout", wanted);
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
    judge(&replicas);
}

#[test]
fn while_new_connections_cannot_keep_a_promise_no_replica_says_that_it_is_ready() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let replica = Replica::start(server.database());
    let mut root = server.connect().expect("it is up");
    administer(&mut root, "SET GLOBAL binlog_format = 'STATEMENT'");
    let mut caller = replica.caller();
    assert_eq!(caller.get("/readyz").status, 503);
    administer(&mut root, "SET GLOBAL binlog_format = DEFAULT");
    eventually("it is ready", || caller.get("/readyz").status == 200);
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
        assert_eq!(replica.caller().post("😀", "x").own_seq(), 1);
        database.assert_in_order();
    }
}

/// What the account of the replicas may have, in the words of ALTER USER.
fn limit(root: &mut Conn, limits: &str) {
    administer(root, &format!("ALTER USER dm@localhost WITH {limits}"));
}

#[test]
fn an_account_with_fewer_connections_than_a_replica_takes_is_refused_by_the_limits_name() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let mut root = server.connect().expect("it is up");
    for too_few in [1, 4] {
        limit(&mut root, &format!("MAX_USER_CONNECTIONS {too_few}"));
        assert_refused(server.database(), "max_user_connections");
    }
    limit(&mut root, "MAX_USER_CONNECTIONS 5");
    let replica = Replica::start(server.database());
    assert_eq!(replica.caller().get("/readyz").status, 200);
    assert_eq!(replica.caller().post("ann", "x").own_seq(), 1);
}

#[test]
fn a_start_waits_while_the_account_has_used_up_its_connections() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let database = server.database();
    limit(
        &mut server.connect().expect("it is up"),
        "MAX_USER_CONNECTIONS 5",
    );
    let others: Vec<Conn> = (0..5).map(|_| database.connect()).collect();
    let mut replica = Replica::spawn(&database.url(), &[]);
    let cause = replica.wait_for_line("waiting for the database");
    assert!(cause.contains("max_user_connections"), "{cause}");
    drop(others);
    replica.wait_until_ready();
    assert_eq!(replica.caller().post("ann", "x").own_seq(), 1);
}

#[test]
fn a_start_waits_while_the_account_has_used_up_its_questions_of_this_hour() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let mut root = server.connect().expect("it is up");
    limit(&mut root, "MAX_QUERIES_PER_HOUR 3");
    let mut replica = Replica::spawn(&server.database().url(), &[]);
    let cause = replica.wait_for_line("waiting for the database");
    // MySQL and MariaDB name it so.
    assert!(cause.contains("max_que"), "{cause}");
    limit(&mut root, "MAX_QUERIES_PER_HOUR 0");
    administer(&mut root, "FLUSH USER_RESOURCES");
    replica.wait_until_ready();
}

#[test]
fn a_replica_whose_writer_gets_no_connection_is_not_ready() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let database = server.database();
    limit(
        &mut server.connect().expect("it is up"),
        "MAX_USER_CONNECTIONS 5",
    );
    let replica = Replica::start_with(
        database,
        &["--connect-timeout=500ms", "--request-timeout=500ms"],
    );
    let mut caller = replica.caller();
    // The one that is left goes to a reader.
    let mut others: Vec<Conn> = (0..4).map(|_| database.connect()).collect();
    eventually("a reader has it", || caller.get("/messages").status == 200);
    assert_eq!(caller.post("ann", "x").status, 503);
    assert_eq!(caller.get("/readyz").status, 503);
    others.pop();
    eventually("it is ready", || caller.get("/readyz").status == 200);
    assert_eq!(caller.post("ann", "x").own_seq(), 1);
}
