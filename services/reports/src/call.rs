//! A call, as a source has it and as it is stored.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a phone, up to [`Phone::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Phone(u64);

impl Phone {
    /// The largest number. International numbers (E.164) have at most 15 digits, which every JSON parser reads exactly.
    pub const MAX: u64 = 1_000_000_000_000_000;

    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Phone {
    type Error = OutsideLimit;

    fn try_from(number: u64) -> Result<Self, OutsideLimit> {
        if number <= Self::MAX {
            Ok(Self(number))
        } else {
            Err(OutsideLimit::Phone)
        }
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

/// A call of a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Record")]
pub struct Call {
    /// The phone that called.
    pub phone: Phone,
    /// When it began, in milliseconds since 1970, UTC.
    pub started_at: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
}

/// The latest end of a call: the last millisecond of the year 9999, because RFC 3339 has no later dates.
const MAX_END_DATE: u64 = 253_402_300_799_999;

/// A call as a source has it.
#[derive(Deserialize)]
struct Record {
    phone: Phone,
    start_date: u64,
    end_date: u64,
}

impl TryFrom<Record> for Call {
    type Error = OutsideLimit;

    fn try_from(record: Record) -> Result<Self, OutsideLimit> {
        if record.end_date > MAX_END_DATE {
            return Err(OutsideLimit::Date);
        }
        let duration = record.end_date.checked_sub(record.start_date);
        let duration_ms = duration.ok_or(OutsideLimit::EndBeforeStart)?;
        Ok(Self {
            phone: record.phone,
            started_at: record.start_date,
            duration_ms: u32::try_from(duration_ms).map_err(|_larger| OutsideLimit::Duration)?,
        })
    }
}

/// Why a row with the right fields is not a valid call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutsideLimit {
    /// The phone is greater than [`Phone::MAX`].
    #[error("a phone is a number from 0 to {}", Phone::MAX)]
    Phone,
    /// It ends before it starts.
    #[error("`end_date` lies before `start_date`")]
    EndBeforeStart,
    /// It ends after the year 9999.
    #[error("`end_date` lies behind the year 9999")]
    Date,
    /// It takes more than 2^32 - 1 milliseconds.
    #[error("a call takes at most {} milliseconds, 49 days", u32::MAX)]
    Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(phone: u64, start_date: u64, end_date: u64) -> Result<Call, OutsideLimit> {
        Call::try_from(Record {
            phone: phone.try_into()?,
            start_date,
            end_date,
        })
    }

    #[test]
    fn limits_of_a_call_hold_at_n_and_not_at_n_and_one() {
        let longest = u64::from(u32::MAX);
        assert!(call(Phone::MAX, 0, longest).is_ok());
        assert_eq!(call(Phone::MAX + 1, 0, 0), Err(OutsideLimit::Phone));
        assert_eq!(call(0, 0, longest + 1), Err(OutsideLimit::Duration));
        assert!(call(0, MAX_END_DATE, MAX_END_DATE).is_ok());
        assert_eq!(
            call(0, MAX_END_DATE, MAX_END_DATE + 1),
            Err(OutsideLimit::Date)
        );
        assert!(call(0, 7, 7).is_ok());
        assert_eq!(call(0, 7, 6), Err(OutsideLimit::EndBeforeStart));
    }
}
