//! Parsers for the values of options.

use std::time::Duration;

/// More would mean for ever, and may overflow when it is added to a point in time.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses a time like `10s`, more than zero and at most a day.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be more than zero".to_owned()),
        Ok(duration) if duration > LONGEST => Err("must be at most 1day".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write it like 10s or 500ms")),
    }
}

/// Parses a time like `10s`, at least two seconds.
pub(crate) fn at_least_two_seconds(text: &str) -> Result<Duration, String> {
    // The database counts the wait for a lock in whole seconds.
    duration(text).and_then(|duration| match duration {
        short if short < Duration::from_secs(2) => Err("must be at least 2s".to_owned()),
        enough => Ok(enough),
    })
}

/// Parses a number greater than zero.
///
/// # Errors
/// What is wrong with it.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}
