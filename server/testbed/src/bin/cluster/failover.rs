//! Makes the primary fail under load, brings it back, and measures the failover.

use std::error::Error;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use mysql::prelude::Queryable;
use testbed::interruption::{Interrupted, sleep, wait_until};
use testbed::{Audit, Link, Results, Service, read_history};

use crate::arguments::{Arguments, FailureMode};
use crate::group::Group;
use crate::load::{audit, finish_client, start_client};

/// If nothing is stored for so long after the election, the service will not recover.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// One failover, under load.
pub(crate) struct Failover {
    /// From the failure until the group has a primary that takes writes.
    pub(crate) election: Duration,
    /// From then until a message is stored.
    pub(crate) recovery: Duration,
    results: Results,
    /// Why a member cannot rejoin, if one cannot.
    join_error: Option<String>,
    /// For each member: the answered messages compared with its tables.
    audits: Vec<Audit>,
}

impl Failover {
    pub(crate) fn succeeded(&self) -> bool {
        self.results.verdict == "valid"
            && self.join_error.is_none()
            && self.audits.iter().all(Audit::is_clean)
    }
}

impl fmt::Display for Failover {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Results { verdict, figures } = &self.results;
        let total = &figures.total;
        // The maximum, not the sum, because a message that several members lack is lost once.
        let lost = self.audits.iter().map(|audit| audit.lost).max();
        let sum = |count: fn(&Audit) -> usize| self.audits.iter().map(count).sum::<usize>();
        write!(
            to,
            "{:.1} s to a new primary, {:.1} s from then to stored messages; {} answered, {} repeated, {} failed, {} \
             unknown; {verdict}, {} lost, {} unexplained, {} violations",
            self.election.as_secs_f64(),
            self.recovery.as_secs_f64(),
            total.ok,
            figures.repeated,
            total.failed,
            total.unknown,
            lost.unwrap_or_default(),
            sum(|audit| audit.refused_and_stored + audit.unexplained),
            sum(|audit| audit.violations),
        )?;
        match &self.join_error {
            Some(reason) => write!(to, "; {reason}"),
            None => Ok(()),
        }
    }
}

/// Makes the primary fail under load, waits until the service recovers, restores the old primary, and compares the answered
/// messages with the tables of each member.
pub(crate) fn fail_over(
    group: &mut Group,
    replicas: &[Service],
    arguments: &Arguments,
) -> Result<Failover, Box<dyn Error>> {
    let history = arguments.folder.join("history.jsonl");
    let client = start_client(&history, replicas, arguments)?;
    sleep(arguments.calm)?;
    let (old, failed) = fail(group, arguments.how)?;
    let new = group.primary(arguments.how.excludes_old_primary().then_some(old))?;
    let election = failed.elapsed();
    let elected = Instant::now();
    wait_for_messages(group, new)?;
    let recovery = elected.elapsed();
    sleep(arguments.calm)?;
    restore_primary(group, arguments.how, old)?;
    let (members, join_error) = rejoin_all(group)?;
    sleep(arguments.calm)?;
    let results = finish_client(client)?;
    let requests = read_history(&history)?;
    fs::remove_file(history)?;
    let audits = members
        .into_iter()
        .map(|member| audit(&requests, group, member))
        .collect::<Result<_, _>>()?;
    Ok(Failover {
        election,
        recovery,
        results,
        join_error,
        audits,
    })
}

/// Makes the primary fail. Returns its index, and the time at which it failed.
fn fail(group: &mut Group, how: FailureMode) -> Result<(usize, Instant), Box<dyn Error>> {
    let old = group.primary(None)?;
    let mut failed = Instant::now();
    match how {
        FailureMode::Kill => group.members[old].server.process()?.kill()?,
        FailureMode::Freeze => group.members[old].server.process()?.freeze()?,
        FailureMode::Cut | FailureMode::Isolate => group.network()?.cut(old, links(how))?,
        FailureMode::Switch => {
            let other = (old + 1) % group.indices().len();
            let mut operator = group.members[other].server.connect()?;
            operator.query_drop("SELECT group_replication_set_as_primary(@@server_uuid)")?;
        }
        FailureMode::Restart => {
            for index in group.indices().filter(|&index| index != old) {
                group.members[index].server.stop()?;
                group.start_member(index)?;
                group.join(index)?;
            }
            failed = Instant::now();
            // It leaves the group quickly, but takes longer to end.
            group.members[old].server.process()?.terminate()?;
        }
        FailureMode::Crash => {
            for index in group.indices() {
                group.members[index].server.process()?.kill()?;
            }
            group.restart()?;
        }
    }
    Ok((old, failed))
}

fn restore_primary(group: &mut Group, how: FailureMode, old: usize) -> Result<(), Box<dyn Error>> {
    match how {
        FailureMode::Kill => group.start_member(old)?,
        FailureMode::Restart => {
            group.members[old].server.stop()?;
            group.start_member(old)?;
        }
        FailureMode::Freeze => group.members[old].server.process()?.thaw()?,
        FailureMode::Cut | FailureMode::Isolate => group.network()?.restore(old, links(how))?,
        FailureMode::Switch | FailureMode::Crash => {}
    }
    Ok(())
}

/// Lets all members join. Returns those that did, and the error of one that did not.
fn rejoin_all(group: &Group) -> Result<(Vec<usize>, Option<String>), Box<dyn Error>> {
    let (mut members, mut join_error) = (Vec::new(), None);
    for index in group.indices() {
        match group.join(index) {
            Ok(()) => members.push(index),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => join_error = Some(error.to_string()),
        }
    }
    Ok((members, join_error))
}

fn links(how: FailureMode) -> &'static [Link] {
    match how {
        FailureMode::Isolate => &[Link::Hosts],
        _ => &[Link::Hosts, Link::Clients],
    }
}

fn wait_for_messages(group: &Group, primary: usize) -> Result<(), Box<dyn Error>> {
    let mut session = group.session(primary)?;
    let mut count = || -> Result<Option<u64>, mysql::Error> {
        session.query_first("SELECT messages FROM counters WHERE user = ''")
    };
    let before = count()?;
    if wait_until(RECOVERY_TIMEOUT, || Ok(count()? != before))? {
        return Ok(());
    }
    Err(format!("nothing is stored {RECOVERY_TIMEOUT:?} after there is a new primary").into())
}
