//! Outages of the database, and what is logged about them.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::http::Problem;
use crate::telemetry::Incident;

/// A lasting outage is logged once in this time.
const OUTAGE_REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// An outage is over if nothing fails for this long after a success, so that an intermittent failure is one outage.
const SETTLING_TIME: Duration = Duration::from_secs(1);

/// What the database is asked to do. Each kind needs what those before it need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// To read.
    Read,
    /// To confirm that it takes writes.
    CheckWritable,
    /// To write.
    Write,
}

/// Logs an outage of the database, however many requests fail: one line when it begins, one a minute while requests still fail,
/// and one when it is over. These lines, and the responses to all failed requests, have the same incident.
#[derive(Debug, Default)]
pub struct Outage {
    ongoing: Mutex<Option<Ongoing>>,
}

#[derive(Debug)]
struct Ongoing {
    incident: Incident,
    since: Instant,
    reported: Instant,
    failures: u64,
    /// The most demanding access that has failed. A success of a less demanding one does not end the outage.
    failed: Access,
    /// The first success after the last failure.
    recovered: Option<Instant>,
}

impl Outage {
    /// Counts a failure, and logs it if it is the first, or the first in a minute. Returns the outage's incident.
    pub fn fail(&self, access: Access, cause: &dyn fmt::Display) -> Incident {
        self.settle();
        let now = Instant::now();
        let mut guard = self.ongoing.lock();
        let is_first = guard.is_none();
        let ongoing = guard.get_or_insert_with(|| Ongoing {
            incident: Incident::draw(),
            since: now,
            reported: now,
            failures: 0,
            failed: access,
            recovered: None,
        });
        ongoing.failures += 1;
        ongoing.failed = ongoing.failed.max(access);
        ongoing.recovered = None;
        let is_due = now.duration_since(ongoing.reported) >= OUTAGE_REPORT_INTERVAL;
        if is_due {
            ongoing.reported = now;
        }
        let (incident, failures, lasted) =
            (ongoing.incident, ongoing.failures, now - ongoing.since);
        drop(guard);
        if is_first {
            tracing::warn!(instance = %incident, %cause, "the database fails");
        } else if is_due {
            tracing::warn!(instance = %incident, failures, ?lasted, %cause, "the database still fails");
        } else {
            tracing::debug!(instance = %incident, %cause, "the database fails again");
        }
        incident
    }

    /// Records a success. It ends the outage, unless something fails again soon.
    pub fn succeed(&self, access: Access) {
        if let Some(ongoing) = &mut *self.ongoing.lock()
            && access >= ongoing.failed
        {
            ongoing.recovered.get_or_insert_with(Instant::now);
        }
        self.settle();
    }

    /// The incident of the current outage, if there is one.
    pub fn incident(&self) -> Option<Incident> {
        let ongoing = self.ongoing.lock();
        let unsettled = ongoing
            .as_ref()
            .filter(|ongoing| ongoing.recovered.is_none());
        unsettled.map(|ongoing| ongoing.incident)
    }

    /// Logs the end of an outage if it is over. To be called now and then, also without requests.
    pub fn settle(&self) {
        let over = self.ongoing.lock().take_if(|ongoing| {
            ongoing
                .recovered
                .is_some_and(|at| at.elapsed() >= SETTLING_TIME)
        });
        if let Some(over) = over {
            let took = over.recovered.map(|at| at.duration_since(over.since));
            tracing::info!(instance = %over.incident, failures = over.failures, ?took, "the database works again");
        }
    }
}

/// The database did not do in time what was asked. The log has the cause, with the same incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAway {
    /// The outage that it belongs to.
    pub incident: Incident,
    /// How many hosts are in which state, without their names, if there are several and none takes writes.
    pub no_primary: Option<String>,
    /// Whether it was asked to write, and has perhaps done so, or will.
    pub outcome_unknown: bool,
}

impl From<DatabaseAway> for Problem {
    /// 503, or 504 if it is unknown whether something was stored.
    fn from(away: DatabaseAway) -> Self {
        let (status, detail) = match away.no_primary {
            _ if away.outcome_unknown => (
                504,
                "The database did not say whether it was done. With an Idempotency-Key, send it again with the same: it is \
                 done once at most. Without one, look whether it was done before you send it again."
                    .to_owned(),
            ),
            None => (
                503,
                "The database does not answer, or takes no writes now. Try again later.".to_owned(),
            ),
            Some(hosts) => (
                503,
                format!("No host of the database takes writes now: {hosts}. Try again later."),
            ),
        };
        Self::new(status, detail).with_incident(away.incident)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves all times of the outage back by so many seconds.
    fn age(outage: &Outage, seconds: u64) {
        let mut ongoing = outage.ongoing.lock();
        let ongoing = ongoing.as_mut().expect("an outage is under way");
        let back = |time: Instant| {
            time.checked_sub(Duration::from_secs(seconds))
                .expect("the clock began long ago")
        };
        ongoing.since = back(ongoing.since);
        ongoing.reported = back(ongoing.reported);
        ongoing.recovered = ongoing.recovered.map(back);
    }

    #[test]
    fn a_failure_soon_after_a_success_belongs_to_the_same_outage() {
        let outage = Outage::default();
        let first = outage.fail(Access::Write, &"away");
        for _ in 0..100 {
            outage.succeed(Access::Write);
            assert_eq!(outage.fail(Access::Write, &"away"), first);
        }
        outage.succeed(Access::Write);
        assert_eq!(outage.incident(), None, "new problems do not belong to it");
        age(&outage, 1);
        assert_ne!(outage.fail(Access::Write, &"away"), first);
    }

    #[test]
    fn an_outage_that_lasts_is_logged_once_a_minute() {
        let outage = Outage::default();
        outage.fail(Access::Write, &"away");
        let reported = || {
            outage
                .ongoing
                .lock()
                .as_ref()
                .map(|ongoing| ongoing.reported)
        };
        for seconds in [0, 30, 29] {
            age(&outage, seconds);
            let before = reported();
            outage.fail(Access::Write, &"away");
            assert_eq!(reported(), before);
        }
        age(&outage, 1);
        let before = reported();
        outage.fail(Access::Write, &"away");
        assert!(reported() > before, "a minute is over");
    }

    #[test]
    fn a_success_of_a_weaker_access_does_not_end_an_outage() {
        for (failed, succeeds, ends) in [
            (Access::Write, Access::Read, false),
            (Access::Write, Access::CheckWritable, false),
            (Access::CheckWritable, Access::Read, false),
            (Access::Read, Access::Read, true),
            (Access::Read, Access::Write, true),
        ] {
            let outage = Outage::default();
            let first = outage.fail(failed, &"away");
            outage.succeed(succeeds);
            age(&outage, 1);
            let second = outage.fail(failed, &"away");
            assert_eq!(first != second, ends, "{failed:?}, {succeeds:?}");
        }
    }
}
