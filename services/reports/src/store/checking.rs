//! What `reports check` compares.

use foundation::mysql::DatabaseError;
use mysql::Conn;
use mysql::prelude::Queryable;

/// A duration of which there are not as many calls as are noted: how many there are, and how many are noted.
pub type Difference = (u32, u64, u64);

/// The next phone in the order of their numbers that has calls, or for which calls are noted.
///
/// # Errors
/// As the database says.
pub fn next_phone(connection: &mut Conn, after: Option<u64>) -> Result<Option<u64>, DatabaseError> {
    let above = after.map_or(String::new(), |phone| format!("WHERE phone > {phone}"));
    let phone: Option<Option<u64>> = connection.query_first(format!(
        "SELECT MIN(phone)
         FROM (
           SELECT MIN(phone) AS phone FROM calls FORCE INDEX (phone) {above}
           UNION ALL
           SELECT MIN(phone) FROM call_durations {above}
         ) AS phones"
    ))?;
    Ok(phone.flatten())
}

/// How many calls a phone has, and where they are others than what is noted. One statement, so that a load in between
/// does not look like a difference.
///
/// # Errors
/// As the database says.
pub fn differences(
    connection: &mut Conn,
    phone: u64,
) -> Result<(u64, Vec<Difference>), DatabaseError> {
    let compared = format!(
        "SELECT duration_ms, SUM(there), SUM(noted)
         FROM (
           SELECT duration_ms, COUNT(*) AS there, 0 AS noted
           FROM calls FORCE INDEX (phone)
           WHERE phone = {phone}
           GROUP BY duration_ms
           UNION ALL
           SELECT duration_ms, 0, calls
           FROM call_durations
           WHERE phone = {phone}
         ) AS both_sides
         GROUP BY duration_ms
         ORDER BY duration_ms"
    );
    let collect = |(mut calls, mut different): (u64, Vec<_>), (duration_ms, there, noted)| {
        calls += there;
        if there != noted {
            different.push((duration_ms, there, noted));
        }
        (calls, different)
    };
    Ok(connection.query_fold(compared, (0, Vec::new()), collect)?)
}
