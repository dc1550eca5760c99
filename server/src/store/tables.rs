//! Whether the tables are those of `schema.sql`, as far as the promises stand on them.
//!
//! Others may alter them. What they add is let be, unless it can refuse or change what is stored.

use std::collections::BTreeMap;

use foundation::mysql::column;
use mysql::prelude::Queryable;
use mysql::{Conn, Row};

/// The columns by table and name, as [`COLUMNS_THERE`] describes them.
const COLUMNS: [(&str, &str, &str); 11] = [
    ("messages", "id", "bigint unsigned NOT NULL AUTO_INCREMENT"),
    ("messages", "seq", "bigint unsigned NOT NULL"),
    (
        "messages",
        "user",
        "varchar(64) COLLATE utf8mb4_bin NOT NULL",
    ),
    ("messages", "user_seq", "bigint unsigned NOT NULL"),
    (
        "messages",
        "text",
        "varchar(4096) COLLATE utf8mb4_bin NOT NULL",
    ),
    ("messages", "sent_at", "datetime(6) NOT NULL"),
    ("messages", "request_id", "binary(16) NOT NULL"),
    (
        "counters",
        "user",
        "varchar(64) COLLATE utf8mb4_bin NOT NULL",
    ),
    ("counters", "messages", "bigint unsigned NOT NULL"),
    ("counters", "last_sent_at", "datetime(6) NOT NULL DEFAULT"),
    ("counters", "repeats", "bigint unsigned NOT NULL DEFAULT"),
];

/// The unique keys by table and name, with their columns.
const UNIQUE_KEYS: [(&str, &str, &str); 5] = [
    ("messages", "PRIMARY", "id"),
    ("messages", "seq", "seq"),
    ("messages", "user_seq", "user, user_seq"),
    ("messages", "request_id", "request_id"),
    ("counters", "PRIMARY", "user"),
];

const ENGINES_THERE: &str = "
    SELECT table_name, engine
    FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name IN ('messages', 'counters')";

/// MariaDB, and MySQL of old, tell the width at which clients of old would show a number.
const COLUMNS_THERE: &str = "
    SELECT
      table_name,
      column_name,
      CONCAT(
        REPLACE(column_type, 'bigint(20)', 'bigint'),
        COALESCE(CONCAT(' COLLATE ', collation_name), ''),
        CASE WHEN is_nullable = 'NO' THEN ' NOT NULL' ELSE '' END,
        CASE WHEN is_nullable = 'NO' AND column_default IS NOT NULL THEN ' DEFAULT' ELSE '' END,
        CASE WHEN extra <> '' THEN CONCAT(' ', UPPER(extra)) ELSE '' END
      ),
      is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%GENERATED%'
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name IN ('messages', 'counters')";

/// A key that the optimizer may not use is none to FORCE INDEX.
const UNIQUE_KEYS_THERE: &str = "
    SELECT
      table_name,
      index_name,
      CONCAT(COALESCE(column_name, 'an expression'), COALESCE(CONCAT('(', sub_part, ')'), ''))
    FROM information_schema.statistics
    WHERE
      table_schema = DATABASE() AND table_name IN ('messages', 'counters') AND non_unique = 0
      /*!80000 AND is_visible = 'YES' */ /*M!100600 AND ignored = 'NO' */
    ORDER BY table_name, index_name, seq_in_index";

const CONSTRAINTS_THERE: &str = "
    SELECT table_name, constraint_name, constraint_type
    FROM information_schema.table_constraints
    WHERE
      table_schema = DATABASE() AND table_name IN ('messages', 'counters')
      AND constraint_type IN ('CHECK', 'FOREIGN KEY')";

/// What is not as it should be, and how it is in `schema.sql`; of several faults the first.
///
/// # Errors
/// As the database says.
pub(super) fn fault(connection: &mut Conn) -> Result<Option<String>, mysql::Error> {
    for check in [engine, column_fault, key, constraint] {
        if let Some(fault) = check(connection)? {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

fn engine(connection: &mut Conn) -> Result<Option<String>, mysql::Error> {
    let engines: Vec<(String, Option<String>)> = connection.query(ENGINES_THERE)?;
    let fault = |(table, engine): (String, Option<String>)| {
        let engine = engine.unwrap_or_else(|| "none".to_owned());
        (engine != "InnoDB").then(|| {
            format!("the engine of table {table} is {engine}, and only InnoDB has transactions")
        })
    };
    Ok(engines.into_iter().find_map(fault))
}

fn column_fault(connection: &mut Conn) -> Result<Option<String>, mysql::Error> {
    let mut there = BTreeMap::new();
    for mut row in connection.query::<Row, _>(COLUMNS_THERE)? {
        let name: (String, String) = (column(&mut row, 0)?, column(&mut row, 1)?);
        let described: (String, bool) = (column(&mut row, 2)?, column(&mut row, 3)?);
        there.insert(name, described);
    }
    for (table, name, wanted) in COLUMNS {
        let is = there.remove(&(table.to_owned(), name.to_owned()));
        let is = is.map_or_else(|| "absent".to_owned(), |(described, _)| described);
        if is != wanted {
            return Ok(Some(format!(
                "column {name} of table {table} is {is}, and {wanted} in schema.sql"
            )));
        }
    }
    let must_be_given = there
        .into_iter()
        .find(|(_, (_, must_be_given))| *must_be_given);
    Ok(must_be_given.map(|((table, name), (described, _))| {
        format!(
            "column {name} of table {table} is {described} without a default, and absent in schema.sql"
        )
    }))
}

fn key(connection: &mut Conn) -> Result<Option<String>, mysql::Error> {
    let mut there: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let columns: Vec<(String, String, String)> = connection.query(UNIQUE_KEYS_THERE)?;
    for (table, key, column) in columns {
        there.entry((table, key)).or_default().push(column);
    }
    for (table, name, wanted) in UNIQUE_KEYS {
        let columns = there.remove(&(table.to_owned(), name.to_owned()));
        let is = columns.map_or_else(|| "absent".to_owned(), |columns| columns.join(", "));
        if is != wanted {
            return Ok(Some(format!(
                "unique key {name} of table {table} is {is}, and {wanted} in schema.sql"
            )));
        }
    }
    let other = there.into_iter().next();
    Ok(other.map(|((table, name), columns)| {
        let columns = columns.join(", ");
        format!("unique key {name} of table {table} is {columns}, and absent in schema.sql")
    }))
}

fn constraint(connection: &mut Conn) -> Result<Option<String>, mysql::Error> {
    let found: Option<(String, String, String)> = connection.query_first(CONSTRAINTS_THERE)?;
    Ok(found.map(|(table, name, kind)| {
        format!("the {kind} constraint {name} of table {table} is absent in schema.sql")
    }))
}
