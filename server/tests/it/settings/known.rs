//! Settings that operators use.

/// What is expected with a setting.
#[derive(Clone, Copy)]
pub(super) enum Expected {
    /// All promises hold.
    Promises,
    /// The server does not start, for a reason that names the setting.
    Refusal,
}
use Expected::{Promises, Refusal};

/// Which servers have the setting.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum ServerKind {
    Both,
    MariaDb,
    MySql,
}
use ServerKind::{Both, MariaDb, MySql};

/// Settings that may be changed while the server runs, each with where it comes from. The first of several is the one
/// that a refusal names.
pub(super) const SETTINGS: [(ServerKind, &[&str], Expected); 41] = [
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
    // The same from the time before Unicode.
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
    // WHMCS and other old applications require that there is no strict mode.
    (Both, &["sql_mode = ''"], Promises),
    // The modes that change the meaning of a statement.
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
    // What ODBC needs (manual of MySQL, sql_auto_is_null), and what reports may need.
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
    // The first advice of all tuning; the operator may give up promise 6.
    (
        Both,
        &["innodb_flush_log_at_trx_commit = 2", "sync_binlog = 0"],
        Promises,
    ),
    // The default of MySQL before 5.7.7 and of MariaDB before 10.2.4, kept by upgrades.
    (Both, &["binlog_format = 'STATEMENT'"], Refusal),
    // MariaDB's documentation, max_session_mem_used.
    (MariaDb, &["max_session_mem_used = 8192"], Refusal),
    // Useless, but allowed: no statement returns a row.
    (Both, &["sql_select_limit = 0"], Promises),
    (
        Both,
        &["init_connect = 'SET sql_select_limit = 0'"],
        Promises,
    ),
];
