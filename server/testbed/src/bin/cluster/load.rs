//! The client; what was answered must be on every member.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use mysql::prelude::Queryable;
use testbed::interruption::{PAUSE, sleep, wait_until};
use testbed::{
    Audit, ClientRun, Outcome, PERSISTENT, Process, Request, Service, client, program, read_history,
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

/// The client at work.
pub(crate) struct Client {
    run: ClientRun,
    history: PathBuf,
}

/// What it found.
pub(crate) struct Run {
    pub(crate) verdict: String,
    pub(crate) answered: usize,
    pub(crate) failed: usize,
    pub(crate) unknown: usize,
    /// How many requests were sent more than once.
    pub(crate) repeated: usize,
    /// The least and the greatest number that was answered.
    seqs: (u64, u64),
    requests: Vec<Request>,
}

impl Client {
    /// Goes on until it is asked to finish.
    pub(crate) fn start(
        replicas: &[Service],
        number: u32,
        arguments: &Arguments,
    ) -> Result<Self, Box<dyn Error>> {
        let history = arguments.folder.join(format!("history-{number}.jsonl"));
        let mut command = client()?;
        command
            .args(["--duration", DURATION])
            .args(PERSISTENT)
            .arg("--history")
            .arg(&history)
            .args(arguments.rate.map(|rate| format!("--rate={rate}")))
            .args(&arguments.client)
            .args(urls(replicas)?);
        let run = ClientRun::start(&mut command)?;
        Ok(Self { run, history })
    }

    /// Lets what is under way be answered, and judges.
    pub(crate) fn finish(self) -> Result<Run, Box<dyn Error>> {
        self.run.terminate()?;
        let finished = self.run.finish(FINISH, || ())?;
        let requests = read_history(&self.history)?;
        fs::remove_file(self.history)?;
        let mut run = Run {
            verdict: finished.results.verdict,
            answered: 0,
            failed: 0,
            unknown: 0,
            repeated: 0,
            seqs: (u64::MAX, 0),
            requests: Vec::new(),
        };
        for request in &requests {
            run.repeated += usize::from(request.attempts > 1);
            match &request.outcome {
                Outcome::Answered(own) => {
                    run.answered += 1;
                    run.seqs = (run.seqs.0.min(own.seq), run.seqs.1.max(own.seq));
                }
                Outcome::Failed => run.failed += 1,
                Outcome::Unknown => run.unknown += 1,
            }
        }
        run.requests = requests;
        Ok(run)
    }
}

impl Run {
    /// Compares what was answered with the tables of a member that has caught up.
    pub(crate) fn audit_on(&self, group: &Group, member: usize) -> Result<Audit, Box<dyn Error>> {
        let (first, last) = self.seqs;
        let mut session = group.session(member)?;
        wait_until(CATCH_UP, || {
            let newest: Option<u64> =
                session.query_first("SELECT messages FROM counters WHERE user = ''")?;
            Ok(newest >= Some(last))
        })?;
        Ok(Audit::of(&self.requests, &mut session, first)?)
    }
}
