//! The client.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use testbed::{ClientRun, PERSISTENT, Request, client, program, read_history};

use crate::arguments::Arguments;
use crate::scene::{Replica, Scene};

const COROUTINES: &str = "50";
/// The client repeats what is under way when its time is over.
const PATIENCE: Duration = Duration::from_secs(300);

/// The client at work.
pub(crate) struct Client {
    run: ClientRun,
    history: PathBuf,
}

/// What it found.
pub(crate) struct Run {
    pub(crate) valid: bool,
    /// Its verdict, as it tells it.
    pub(crate) verdict: String,
    pub(crate) history: Vec<Request>,
}

impl Client {
    pub(crate) fn start(
        arguments: &Arguments,
        scene: &Scene,
        seed: u64,
        time: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let history = scene.folder.join("history.jsonl");
        let mut command = client()?;
        command
            .args(PERSISTENT)
            .args(["--concurrency", COROUTINES, "--seed", &seed.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs())])
            .args(["--rate", &arguments.rate.to_string()])
            .arg("--history")
            .arg(&history)
            .args(scene.replicas.iter().map(Replica::url));
        let run = ClientRun::start(&mut command)?;
        Ok(Self { run, history })
    }

    /// Waits for its verdict.
    pub(crate) fn finish(self) -> Result<Run, Box<dyn Error>> {
        let finished = self.run.finish(PATIENCE, || ())?;
        let checked = program("client")?
            .arg("check")
            .arg(&self.history)
            .output()?;
        Ok(Run {
            valid: finished.results.verdict == "valid" && finished.status.success(),
            verdict: String::from_utf8_lossy(&checked.stdout).into_owned(),
            history: read_history(&self.history)?,
        })
    }
}
