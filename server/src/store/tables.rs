//! Checks that the tables are those of `schema.sql`, as far as the promises depend on it.
//!
//! An operator may alter them. Additions are accepted, unless they can refuse or change what is stored.

use std::collections::BTreeMap;

use foundation::mysql::DatabaseError;
use mysql::Conn;
use mysql::prelude::Queryable;

/// What must be there, as [`DESCRIPTIONS`] describe it.
const WANTED: [&str; 18] = [
    "the engine of table counters is InnoDB",
    "the engine of table messages is InnoDB",
    "column id of table messages is bigint unsigned NOT NULL AUTO_INCREMENT",
    "column seq of table messages is bigint unsigned NOT NULL",
    "column user of table messages is varchar(64) COLLATE utf8mb4_bin NOT NULL",
    "column user_seq of table messages is bigint unsigned NOT NULL",
    "column text of table messages is varchar(4096) COLLATE utf8mb4_bin NOT NULL",
    "column sent_at of table messages is datetime(6) NOT NULL",
    "column request_id of table messages is binary(16) NOT NULL",
    "column user of table counters is varchar(64) COLLATE utf8mb4_bin NOT NULL",
    "column messages of table counters is bigint unsigned NOT NULL",
    "column last_sent_at of table counters is datetime(6) NOT NULL with a default",
    "column repeats of table counters is bigint unsigned NOT NULL with a default",
    "unique key PRIMARY of table messages is id",
    "unique key seq of table messages is seq",
    "unique key user_seq of table messages is user, user_seq",
    "unique key request_id of table messages is request_id",
    "unique key PRIMARY of table counters is user",
];

/// What is there: engines, columns, unique keys, constraints. Each with its name, its description, and whether it may do harm if
/// [`WANTED`] does not have it.
const DESCRIPTIONS: [&str; 4] = [
    "SELECT CONCAT('the engine of table ', table_name), COALESCE(engine, 'none'), TRUE
     FROM information_schema.tables
     WHERE table_schema = DATABASE() AND table_name IN ('messages', 'counters')",
    // MariaDB, and older versions of MySQL, add a display width to the type of numbers. A column that is NOT NULL and has no
    // default refuses our rows.
    "SELECT
       CONCAT('column ', column_name, ' of table ', table_name),
       CONCAT(
         REPLACE(column_type, 'bigint(20)', 'bigint'),
         COALESCE(CONCAT(' COLLATE ', collation_name), ''),
         CASE WHEN is_nullable = 'NO' THEN ' NOT NULL' ELSE '' END,
         CASE WHEN is_nullable = 'NO' AND column_default IS NOT NULL THEN ' with a default' ELSE '' END,
         CASE WHEN extra <> '' THEN CONCAT(' ', UPPER(extra)) ELSE '' END
       ),
       is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%GENERATED%'
     FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name IN ('messages', 'counters')",
    // FORCE INDEX fails with a key that the optimizer may not use.
    "SELECT
       CONCAT('unique key ', index_name, ' of table ', table_name),
       CONCAT(COALESCE(column_name, 'an expression'), COALESCE(CONCAT('(', sub_part, ')'), '')),
       TRUE
     FROM information_schema.statistics
     WHERE
       table_schema = DATABASE() AND table_name IN ('messages', 'counters') AND non_unique = 0
       /*!80000 AND is_visible = 'YES' */ /*M!100600 AND ignored = 'NO' */
     ORDER BY table_name, index_name, seq_in_index",
    "SELECT CONCAT('the ', constraint_type, ' constraint ', constraint_name, ' of table ', table_name), '', TRUE
     FROM information_schema.table_constraints
     WHERE
       table_schema = DATABASE() AND table_name IN ('messages', 'counters')
       AND constraint_type IN ('CHECK', 'FOREIGN KEY')",
];

/// The first difference to `schema.sql`: what is there, and what should be.
pub(super) fn fault(connection: &mut Conn) -> Result<Option<String>, DatabaseError> {
    let mut there = BTreeMap::new();
    for description in DESCRIPTIONS {
        for (name, is, may_harm) in connection.query::<(String, String, bool), _>(description)? {
            there
                .entry(name)
                // Another column of the same key.
                .and_modify(|(known, _): &mut (String, bool)| known.extend([", ", &is]))
                .or_insert((is, may_harm));
        }
    }
    for (name, wanted) in WANTED.iter().filter_map(|row| row.split_once(" is ")) {
        let is = there.remove(name).map_or("absent".to_owned(), |(is, _)| is);
        if is != wanted {
            return Ok(Some(format!("{name} is {is}, and {wanted} in schema.sql")));
        }
    }
    let unwanted = there.into_iter().find(|(_, (_, may_harm))| *may_harm);
    Ok(unwanted.map(|(name, (is, _))| {
        let is = if is.is_empty() {
            is
        } else {
            format!("{is}, and ")
        };
        format!("{name} is {is}absent in schema.sql")
    }))
}
