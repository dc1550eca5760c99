//! Runs the client, and checks that every member has all answered messages.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use mysql::prelude::Queryable;
use testbed::interruption::{POLL_INTERVAL, sleep, wait_until};
use testbed::{
    Audit, ClientRun, Outcome, Process, Request, Results, Service, persistent_client, program,
};

use crate::arguments::Arguments;
use crate::group::Group;

/// Longer than any run, because a signal ends it.
const DURATION: &str = "3600s";
/// How long the client may take to finish open requests and to check its history.
const FINISH_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a secondary may take to apply what it has received.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the client with its output on the terminal. Returns whether it succeeded.
pub(crate) fn run_client(
    replicas: &[Service],
    arguments: &Arguments,
) -> Result<bool, Box<dyn Error>> {
    let mut command = program("client")?;
    let mut client = Process::start(command.args(&arguments.client).args(urls(replicas)?))?;
    loop {
        if let Some(status) = client.status()? {
            return Ok(status.success());
        }
        if let Err(interrupted) = sleep(POLL_INTERVAL) {
            client.terminate()?;
            client.wait_timeout(FINISH_TIMEOUT)?;
            return Err(interrupted.into());
        }
    }
}

/// The URLs of these replicas, for the client.
pub(crate) fn urls(replicas: &[Service]) -> std::io::Result<Vec<String>> {
    replicas.iter().map(Service::url).collect()
}

/// Starts a client that writes this history and runs until [`finish_client`].
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

/// Lets the client finish open requests and check its history.
pub(crate) fn finish_client(client: ClientRun) -> Result<Results, Box<dyn Error>> {
    client.terminate()?;
    Ok(client.finish(FINISH_TIMEOUT, || ())?.results)
}

/// Waits until a member has caught up, and compares the answered messages with its tables.
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
    wait_until(CATCH_UP_TIMEOUT, || {
        let newest: Option<u64> =
            session.query_first("SELECT messages FROM counters WHERE user = ''")?;
        Ok(newest >= last)
    })?;
    // If nothing was answered, no row belongs to this run.
    let first = first.unwrap_or(u64::MAX);
    Ok(Audit::of(requests, &mut session, first)?)
}
