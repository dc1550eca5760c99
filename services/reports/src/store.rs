//! All SQL for calls: figures here, `loading` for `reports load`, `checking` for `reports check`.

mod loading;
mod checking;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use foundation::mysql::{DatabaseError, Schema, has_relations};
use mysql::Value;
use mysql::prelude::Queryable;

use crate::call::Phone;
use crate::figures::{PhoneFigures, Tally};

pub use self::checking::{Difference, differences, next_phone};
pub use self::loading::{
    Load, LoadState, begin_load, content_loads, content_source, find_load, source_kind,
    store_chunk, take_over,
};

/// The schema of the database, and what it needs.
pub const SCHEMA: Schema = Schema {
    sql: include_str!("../schema.sql"),
    is_complete: |connection| {
        has_relations(
            connection,
            &["calls", "call_durations", "loads", "tasks", "jobs"],
        )
    },
    fault: |_| Ok(None),
    connections: 8,
    rights: "grant this user SELECT, INSERT and UPDATE on its tables, DELETE on jobs, and CREATE on the database",
};

/// The period of a report: calls that begin in [from, to).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    from_ms: Option<u64>,
    to_ms: Option<u64>,
}

impl Period {
    /// A period; without `from` or `to` it is open at that end. Without both it contains all calls.
    #[must_use]
    pub fn new(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Self {
        Self {
            from_ms: from.map(first_millisecond),
            to_ms: to.map(first_millisecond),
        }
    }

    fn is_all(self) -> bool {
        self == Self::default()
    }

    /// The SQL condition on calls, starting with `AND`.
    fn condition(self) -> String {
        let mut condition = String::new();
        if let Some(from) = self.from_ms {
            let _ = write!(condition, " AND started_at >= {from}");
        }
        if let Some(to) = self.to_ms {
            let _ = write!(condition, " AND started_at < {to}");
        }
        condition
    }
}

/// The first whole millisecond since 1970 that is not before `time`.
fn first_millisecond(time: DateTime<Utc>) -> u64 {
    let is_whole = time.timestamp_subsec_nanos().is_multiple_of(1_000_000);
    u64::try_from(time.timestamp_millis() + i64::from(!is_whole)).unwrap_or(0)
}

/// What the figures are computed from, if the period contains all calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureSource {
    /// The stored counts of calls per duration.
    Durations,
    /// The calls themselves, which are always used for a limited period.
    Calls,
}

/// The figures of `phones`, in their order; there must be at least one, and no duplicates. The calls are read in one statement,
/// so that the figures are consistent. Takes no locks.
///
/// # Errors
/// Those of the database.
pub fn figures(
    connection: &mut impl Queryable,
    phones: &[Phone],
    period: Period,
    source: FigureSource,
) -> Result<Vec<PhoneFigures>, DatabaseError> {
    // Prepared once for each number of phones. Rows in the binary protocol take less work on both sides.
    let placeholders = vec!["?"; phones.len()].join(", ");
    let numbers: Vec<Value> = phones.iter().map(|phone| phone.number().into()).collect();
    let query = match source {
        FigureSource::Durations if period.is_all() => format!(
            "SELECT phone, duration_ms, calls
             FROM call_durations
             WHERE phone IN ({placeholders})"
        ),
        _ => format!(
            "SELECT phone, duration_ms, COUNT(*)
             FROM calls FORCE INDEX (phone)
             WHERE phone IN ({placeholders}){}
             GROUP BY phone, duration_ms",
            period.condition()
        ),
    };
    let add = |mut tallies: HashMap<u64, Tally>, (phone, duration_ms, calls): (u64, u32, u64)| {
        tallies.entry(phone).or_default().add(duration_ms, calls);
        tallies
    };
    let tallies = connection.exec_fold(query, &numbers, HashMap::new(), add)?;
    let known: HashSet<u64> = if period.is_all() {
        HashSet::new()
    } else {
        let query = format!(
            "SELECT DISTINCT phone
             FROM call_durations
             WHERE phone IN ({placeholders})"
        );
        connection.exec(query, numbers)?.into_iter().collect()
    };
    let figures = |&phone: &Phone| {
        let tally = tallies.get(&phone.number()).copied().unwrap_or_default();
        tally.figures(phone, known.contains(&phone.number()))
    };
    Ok(phones.iter().map(figures).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_begins_with_its_first_whole_millisecond_and_ends_before_its_end() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().expect("it is a date");
        for (text, first) in [
            ("1970-01-01T00:00:01Z", 1_000),
            ("1970-01-01T00:00:00.001Z", 1),
            ("1970-01-01T00:00:00.001000001Z", 2),
            ("1969-12-31T23:59:59.9995Z", 0),
            ("1969-12-31T23:59:59.998Z", 0),
        ] {
            assert_eq!(first_millisecond(time(text)), first, "{text}");
        }
        let period = Period::new(Some(time("1970-01-01T00:00:01Z")), None);
        assert_eq!(period.condition(), " AND started_at >= 1000");
        assert!(!period.is_all() && Period::new(None, None).is_all());
    }
}
