//! Tables that others have altered.

use mysql::prelude::Queryable;

use testbed::{Database, Replica};

/// A database with the tables, altered.
fn altered(statements: &[&str]) -> Database {
    let database = Database::new();
    drop(Replica::start(&database));
    let mut connection = database.connect();
    for statement in statements {
        let done = connection.query_drop(statement);
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    database
}

#[test]
fn tables_that_cannot_keep_the_promises_any_more_are_refused_with_what_is_wrong() {
    let bin = "varchar(64) COLLATE utf8mb4_bin NOT NULL in schema.sql";
    for (alteration, expected) in [
        (
            "ALTER TABLE messages ENGINE = MyISAM",
            "the engine of table messages is MyISAM",
        ),
        (
            "ALTER TABLE counters MODIFY user VARCHAR(64) COLLATE utf8mb4_unicode_ci NOT NULL",
            "column user of table counters is varchar(64) COLLATE utf8mb4_unicode_ci NOT NULL",
        ),
        (
            "ALTER TABLE messages CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
            bin,
        ),
        (
            "ALTER TABLE messages MODIFY user VARCHAR(64) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL",
            bin,
        ),
        (
            "ALTER TABLE messages MODIFY text VARCHAR(4095) COLLATE utf8mb4_bin NOT NULL",
            "column text of table messages is varchar(4095) COLLATE utf8mb4_bin NOT NULL",
        ),
        (
            "ALTER TABLE messages MODIFY sent_at DATETIME(0) NOT NULL",
            "column sent_at of table messages is datetime NOT NULL, and datetime(6) NOT NULL in schema.sql",
        ),
        (
            "ALTER TABLE messages MODIFY seq INT UNSIGNED NOT NULL",
            "and bigint unsigned NOT NULL in schema.sql",
        ),
        (
            "ALTER TABLE messages MODIFY seq BIGINT UNSIGNED NULL",
            "column seq of table messages is bigint unsigned, ",
        ),
        (
            "ALTER TABLE messages MODIFY id BIGINT UNSIGNED NOT NULL",
            "and bigint unsigned NOT NULL AUTO_INCREMENT in schema.sql",
        ),
        (
            "ALTER TABLE counters MODIFY last_sent_at DATETIME(6) NOT NULL DEFAULT NOW(6) ON UPDATE NOW(6)",
            "column last_sent_at of table counters",
        ),
        (
            "ALTER TABLE counters ALTER repeats DROP DEFAULT",
            "column repeats of table counters",
        ),
        (
            "ALTER TABLE messages ADD tenant INT NOT NULL",
            "column tenant of table messages is int",
        ),
        (
            "ALTER TABLE messages DROP KEY request_id",
            "unique key request_id of table messages is absent, and request_id in schema.sql",
        ),
        (
            "ALTER TABLE messages DROP KEY request_id, ADD KEY request_id (request_id)",
            "unique key request_id of table messages is absent",
        ),
        (
            "ALTER TABLE messages DROP KEY request_id, ADD UNIQUE KEY request_id (request_id(8))",
            "unique key request_id of table messages is request_id(8), ",
        ),
        (
            "ALTER TABLE messages DROP KEY user_seq, ADD UNIQUE KEY user_seq (user_seq, user)",
            "unique key user_seq of table messages is user_seq, user, and user, user_seq in schema.sql",
        ),
        (
            "ALTER TABLE messages ALTER INDEX seq /*!80000 INVISIBLE */ /*M!100600 IGNORED */",
            "unique key seq of table messages is absent",
        ),
        (
            "ALTER TABLE messages ADD UNIQUE KEY names (user)",
            "unique key names of table messages is user, and absent in schema.sql",
        ),
        (
            "ALTER TABLE messages ADD CONSTRAINT polite CHECK (text <> 'rude')",
            "the CHECK constraint polite of table messages is absent in schema.sql",
        ),
        (
            "CREATE TRIGGER tidy BEFORE INSERT ON messages FOR EACH ROW SET NEW.text = CONCAT(NEW.text, '.')",
            "comes back changed, as by a trigger",
        ),
        (
            "CREATE TRIGGER tidy BEFORE UPDATE ON counters FOR EACH ROW SET NEW.messages = OLD.messages",
            "comes back changed, as by a trigger",
        ),
    ] {
        let database = altered(&[alteration]);
        let mut replica = Replica::spawn(&database.url(), &[]);
        assert_eq!(replica.exit_status().code(), Some(1), "{alteration}");
        let log = replica.log();
        let last = log.lines().last().unwrap_or_default();
        assert!(
            last.contains(expected),
            "{alteration}: {expected:?} is not in {log}"
        );
    }
}

#[test]
fn harmless_additions_to_the_tables_are_accepted() {
    let database = altered(&[
        "ALTER TABLE messages ADD note VARCHAR(10) NULL, ADD source INT NOT NULL DEFAULT 1, ADD KEY by_date (sent_at)",
        "ALTER TABLE messages ADD length INT GENERATED ALWAYS AS (CHAR_LENGTH(text)) STORED",
        "CREATE TABLE audit (seq BIGINT UNSIGNED NOT NULL PRIMARY KEY)",
        "CREATE TRIGGER audited AFTER INSERT ON messages FOR EACH ROW INSERT INTO audit (seq) VALUES (NEW.seq)",
    ]);
    let replica = Replica::start(&database);
    for seq in 1..=3 {
        assert_eq!(replica.client().post("ann", "x").own_seq(), seq);
    }
    let audited: Vec<u64> = database.rows("SELECT seq FROM audit ORDER BY seq");
    assert_eq!(
        audited,
        [1, 2, 3],
        "the rehearsal at start leaves nothing behind"
    );
    database.assert_in_order();
}
