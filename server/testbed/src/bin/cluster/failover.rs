//! How a primary fails and comes back, and what of it is measured.

use std::error::Error;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use mysql::prelude::Queryable;
use testbed::interruption::{Interrupted, sleep, wait_until};
use testbed::{Audit, Link, Results, Service, read_history};

use crate::arguments::{Arguments, How};
use crate::group::Group;
use crate::load::{audit, finish_client, start_client};

/// If nothing is stored for so long, it will not come back.
const RECOVERY: Duration = Duration::from_secs(60);

/// One failover, under load.
pub(crate) struct Failover {
    /// From the failure until the group has a primary that takes writes.
    pub(crate) election: Duration,
    /// From then until it has stored a message.
    pub(crate) recovery: Duration,
    results: Results,
    /// Why a member does not join again, if so.
    left_out: Option<String>,
    /// What was answered against what each member has.
    audits: Vec<Audit>,
}

impl Failover {
    pub(crate) fn is_well(&self) -> bool {
        self.results.verdict == "valid"
            && self.left_out.is_none()
            && self.audits.iter().all(Audit::is_clean)
    }
}

impl fmt::Display for Failover {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Results { verdict, figures } = &self.results;
        let total = &figures.total;
        // That of the member that lacks most: what is lost on several is lost once.
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
        match &self.left_out {
            Some(reason) => write!(to, "; {reason}"),
            None => Ok(()),
        }
    }
}

/// Lets the primary fail under load, waits for the service to be back, brings the old primary back, and compares what was
/// answered with what each member has.
pub(crate) fn fail_over(
    group: &mut Group,
    replicas: &[Service],
    arguments: &Arguments,
) -> Result<Failover, Box<dyn Error>> {
    let history = arguments.folder.join("history.jsonl");
    let client = start_client(&history, replicas, arguments)?;
    sleep(arguments.calm)?;
    let (old, failed) = fail(group, arguments.how)?;
    let new = group.primary(arguments.how.is_out_of_order().then_some(old))?;
    let election = failed.elapsed();
    let elected = Instant::now();
    wait_for_messages(group, new)?;
    let recovery = elected.elapsed();
    sleep(arguments.calm)?;
    bring_back(group, arguments.how, old)?;
    let (members, left_out) = members(group)?;
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
        left_out,
        audits,
    })
}

/// Lets the primary fail; gives which it was, and when it failed.
fn fail(group: &mut Group, how: How) -> Result<(usize, Instant), Box<dyn Error>> {
    let old = group.primary(None)?;
    let mut failed = Instant::now();
    match how {
        How::Kill => group.members[old].server.process()?.kill()?,
        How::Freeze => group.members[old].server.process()?.freeze()?,
        How::Cut | How::Isolate => group.network()?.cut(old, links(how))?,
        How::Switch => {
            let other = (old + 1) % group.indices().len();
            let mut operator = group.members[other].server.connect()?;
            operator.query_drop("SELECT group_replication_set_as_primary(@@server_uuid)")?;
        }
        How::Restart => {
            for index in group.indices().filter(|&index| index != old) {
                group.members[index].server.stop()?;
                group.start_member(index)?;
                group.join(index)?;
            }
            failed = Instant::now();
            // It leaves the group soon, and takes its time to end.
            group.members[old].server.process()?.terminate()?;
        }
        How::Crash => {
            for index in group.indices() {
                group.members[index].server.process()?.kill()?;
            }
            group.begin_again()?;
        }
    }
    Ok((old, failed))
}

fn bring_back(group: &mut Group, how: How, old: usize) -> Result<(), Box<dyn Error>> {
    match how {
        How::Kill => group.start_member(old)?,
        How::Restart => {
            group.members[old].server.stop()?;
            group.start_member(old)?;
        }
        How::Freeze => group.members[old].server.process()?.thaw()?,
        How::Cut | How::Isolate => group.network()?.mend(old, links(how))?,
        How::Switch | How::Crash => {}
    }
    Ok(())
}

/// Lets all join. Gives those that do, and why another does not.
fn members(group: &Group) -> Result<(Vec<usize>, Option<String>), Box<dyn Error>> {
    let (mut members, mut left_out) = (Vec::new(), None);
    for index in group.indices() {
        match group.join(index) {
            Ok(()) => members.push(index),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => left_out = Some(error.to_string()),
        }
    }
    Ok((members, left_out))
}

fn links(how: How) -> &'static [Link] {
    match how {
        How::Isolate => &[Link::Hosts],
        _ => &[Link::Hosts, Link::Callers],
    }
}

fn wait_for_messages(group: &Group, primary: usize) -> Result<(), Box<dyn Error>> {
    let mut session = group.session(primary)?;
    let mut count = || -> Result<Option<u64>, mysql::Error> {
        session.query_first("SELECT messages FROM counters WHERE user = ''")
    };
    let before = count()?;
    if wait_until(RECOVERY, || Ok(count()? != before))? {
        return Ok(());
    }
    Err(format!("nothing is stored {RECOVERY:?} after there is a new primary").into())
}
