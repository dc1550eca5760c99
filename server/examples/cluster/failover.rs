//! How a primary fails and comes back, and what of it is measured.

use std::error::Error;
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use crate::arguments::{Arguments, How};
use crate::group::{Group, PAUSE};
use crate::load::{Replicas, Run};

/// Nothing is stored for so long: it will not come back.
const RECOVERY: Duration = Duration::from_secs(60);

/// One failover, under load.
pub(crate) struct Failover {
    /// From the failure until the group has a primary that takes writes.
    pub(crate) election: Duration,
    /// From then until it has stored a message.
    pub(crate) recovery: Duration,
    run: Run,
    /// Of all members together: answered, but not in the table; rows of `ordering_violations`.
    lost: usize,
    violations: usize,
}

impl Failover {
    pub(crate) fn is_well(&self) -> bool {
        self.run.verdict == "valid" && self.lost == 0 && self.violations == 0
    }
}

impl fmt::Display for Failover {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            run,
            lost,
            violations,
            ..
        } = self;
        write!(
            to,
            "{:.1} s to a new primary, {:.1} s from then to stored messages; {} answered, {} repeated, {} failed, {} \
             unknown; {}, {lost} lost, {violations} violations",
            self.election.as_secs_f64(),
            self.recovery.as_secs_f64(),
            run.answered.len(),
            run.repeated,
            run.failed,
            run.unknown,
            run.verdict,
        )
    }
}

/// Lets the primary fail under load, waits for the service to be back, brings the old primary back, and compares what was
/// answered with what each member has.
pub(crate) fn fail_over(
    group: &mut Group,
    replicas: &Replicas,
    arguments: &Arguments,
    number: u32,
) -> Result<Failover, Box<dyn Error>> {
    let client = replicas.load(number, arguments)?;
    sleep(arguments.calm);
    let (old, failed) = fail(group, arguments.how)?;
    let not_asked = matches!(arguments.how, How::Kill | How::Freeze).then_some(old);
    let new = group.primary(not_asked)?;
    let election = failed.elapsed();
    let elected = Instant::now();
    wait_for_messages(group, new)?;
    let recovery = elected.elapsed();
    sleep(arguments.calm);
    bring_back(group, arguments.how, old)?;
    sleep(arguments.calm);
    let run = client.finish()?;
    let (mut lost, mut violations) = (0, 0);
    for member in group.indices() {
        lost += run.missing_on(group, member)?;
        let rows: Option<usize> = group
            .session(member)?
            .query_first("SELECT COUNT(*) FROM ordering_violations")?;
        violations += rows.unwrap_or_default();
    }
    Ok(Failover {
        election,
        recovery,
        run,
        lost,
        violations,
    })
}

/// Gives the primary of before, and when it failed.
fn fail(group: &mut Group, how: How) -> Result<(usize, Instant), Box<dyn Error>> {
    let old = group.primary(None)?;
    let mut failed = Instant::now();
    match how {
        How::Kill => group.member(old).process.process()?.kill()?,
        How::Freeze => group.member(old).process.process()?.freeze()?,
        How::Switch => {
            let other = (old + 1) % group.indices().len();
            let mut operator = group.member(other).process.connect()?;
            operator.query_drop("SELECT group_replication_set_as_primary(@@server_uuid)")?;
        }
        How::Restart => {
            let others = group.indices().filter(|&index| index != old);
            for index in others.chain([old]).collect::<Vec<_>>() {
                failed = Instant::now();
                group.member(index).process.stop()?;
                if index != old {
                    group.member(index).process.start()?;
                    group.join(index)?;
                }
            }
        }
    }
    Ok((old, failed))
}

fn bring_back(group: &mut Group, how: How, old: usize) -> Result<(), Box<dyn Error>> {
    match how {
        How::Kill | How::Restart => group.member(old).process.start()?,
        How::Freeze => group.member(old).process.process()?.thaw()?,
        How::Switch => {}
    }
    group.join(old)
}

fn wait_for_messages(group: &Group, primary: usize) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut session = group.session(primary)?;
    let mut count = || -> Result<Option<u64>, mysql::Error> {
        session.query_first("SELECT messages FROM counters WHERE user = ''")
    };
    let before = count()?;
    while count()? == before {
        if start.elapsed() > RECOVERY {
            return Err(
                format!("nothing is stored {RECOVERY:?} after there is a new primary").into(),
            );
        }
        sleep(PAUSE);
    }
    Ok(())
}
