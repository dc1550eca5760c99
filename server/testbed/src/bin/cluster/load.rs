//! The client; what was answered must be on every member.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use mysql::prelude::Queryable;
use testbed::interruption::{PAUSE, sleep, wait_until};
use testbed::{
    Audit, ClientRun, Outcome, Process, Request, Results, Service, persistent_client, program,
};

use crate::arguments::Arguments;
use crate::group::Group;

/// Longer than any run: it is ended by a signal.
const DURATION: &str = "3600s";
/// What is under way is answered, and judged, in this time.
const FINISH: Duration = Duration::from_secs(120);
/// A secondary is behind by what it has not applied yet; in this time it has.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Runs the client as it is, its output to the terminal. Gives whether it was content.
pub(crate) fn main_job(
    replicas: &[Service],
    arguments: &Arguments,
) -> Result<bool, Box<dyn Error>> {
    let mut command = program("client")?;
    let mut client = Process::start(command.args(&arguments.client).args(urls(replicas)?))?;
    loop {
        if let Some(status) = client.status()? {
            return Ok(status.success());
        }
        if let Err(interrupted) = sleep(PAUSE) {
            client.terminate()?;
            client.end(FINISH)?;
            return Err(interrupted.into());
        }
    }
}

/// The URLs of these replicas, for the client.
pub(crate) fn urls(replicas: &[Service]) -> std::io::Result<Vec<String>> {
    replicas.iter().map(Service::url).collect()
}

/// Starts a client that writes this history, and goes on until it is asked to finish.
pub(crate) fn start_client(
    history: &Path,
    replicas: &[Service],
    arguments: &Arguments,
) -> Result<ClientRun, Box<dyn Error>> {
    let mut command = persistent_client(history)?;
    command
        .args(["--duration", DURATION])
        .args(arguments.rate.map(|rate| format!("--rate={rate}")))
        .args(&arguments.client)
        .args(urls(replicas)?);
    Ok(ClientRun::start(&mut command)?)
}

/// Lets what is under way be answered, and judges.
pub(crate) fn finish_client(client: ClientRun) -> Result<Results, Box<dyn Error>> {
    client.terminate()?;
    Ok(client.finish(FINISH, || ())?.results)
}

/// Compares what was answered with the tables of a member that has caught up.
pub(crate) fn audit(
    requests: &[Request],
    group: &Group,
    member: usize,
) -> Result<Audit, Box<dyn Error>> {
    let seqs = || {
        requests
            .iter()
            .filter_map(|request| match &request.outcome {
                Outcome::Answered(own) => Some(own.seq),
                Outcome::Failed | Outcome::Unknown => None,
            })
    };
    let (first, last) = (seqs().min(), seqs().max());
    let mut session = group.session(member)?;
    wait_until(CATCH_UP, || {
        let newest: Option<u64> =
            session.query_first("SELECT messages FROM counters WHERE user = ''")?;
        Ok(newest >= last)
    })?;
    // Where nothing was answered, no row is of this run.
    let first = first.unwrap_or(u64::MAX);
    Ok(Audit::of(requests, &mut session, first)?)
}
