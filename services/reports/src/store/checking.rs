//! SQL for `reports check`.

use foundation::mysql::DatabaseError;
use mysql::Conn;
use mysql::prelude::Queryable;

/// A duration in milliseconds whose stored count is wrong: the duration, the number of calls, and the stored count.
pub type Difference = (u32, u64, u64);

/// The smallest phone greater than `after` that has calls or stored counts; none if there is none.
///
/// # Errors
/// Those of the database.
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

/// How many calls a phone has, and where its stored counts differ. Uses one statement, so that a concurrent load does not show
/// as a difference.
///
/// # Errors
/// Those of the database.
pub fn differences(
    connection: &mut Conn,
    phone: u64,
) -> Result<(u64, Vec<Difference>), DatabaseError> {
    let query = format!(
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
    let collect = |(mut calls, mut different): (u64, Vec<_>), (duration_ms, counted, recorded)| {
        calls += counted;
        if counted != recorded {
            different.push((duration_ms, counted, recorded));
        }
        (calls, different)
    };
    Ok(connection.query_fold(query, (0, Vec::new()), collect)?)
}
