//! Runs the load: coroutines that each send one request after the other, and record the outcomes.

mod clock;
mod connection;
mod coroutine;
mod pace;
mod progress;
mod stop;
mod timer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::SetOnce;

pub(crate) use self::clock::{Clock, cpu_time};
use self::connection::Replica;
use self::coroutine::Coroutine;
pub(crate) use self::pace::Amount;
use self::pace::Pace;
use self::progress::Progress;
use crate::args::{LoadArgs, RunArgs, Target};
use crate::error::Error;
use crate::history::{History, JudgeSettings, Phase, Recorder, Writer};
use crate::output::print_warning;
use crate::report::Settings;
use crate::traffic::Plan;

/// The shortest possible round trip: it takes four system calls and two wake-ups.
const MIN_EXCHANGE_TIME: Duration = Duration::from_micros(10);

/// The open files other than connections and timers: standard streams, the runtime's files, result files.
const OTHER_FILES: u64 = 32;

/// The most requests for which memory is reserved at the start, because the options allow more requests than fit into memory.
const MAX_RESERVED_REQUESTS: usize = 4_000_000;

/// The settings of a run.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) options: LoadArgs,
    pub(crate) plan: Plan,
    pub(crate) targets: Vec<Target>,
    pub(crate) shared: bool,
    pub(crate) check: bool,
    pub(crate) quiet: bool,
}

/// The outcome of a run.
#[derive(Debug)]
pub(crate) struct RunOutcome {
    pub(crate) history: History,
    /// The time from the start of the measured part to its last answer, without probes.
    pub(crate) wall: Duration,
    /// The processor time of this process in that time.
    pub(crate) cpu: Duration,
    pub(crate) interrupted: bool,
    /// The error that kept the history file from being written.
    pub(crate) history_error: Option<Error>,
}

impl Load {
    pub(crate) fn new(args: &RunArgs, seed: u64, tag: String) -> Self {
        let options = args.load.clone();
        Self {
            plan: Plan {
                seed,
                tag,
                users: options.users.0.len(),
                replicas: args.urls.len(),
                text_length: options.text_length.map(usize::from),
            },
            options,
            targets: args.urls.clone(),
            shared: args.judge.shared,
            check: !args.judge.no_check,
            quiet: args.record.quiet,
        }
    }

    fn amount(&self) -> Amount {
        match self.options.duration {
            Some(duration) => Amount::Time(duration),
            None => Amount::Requests(self.options.requests),
        }
    }

    /// Fails if `--text-length` is too short for the texts to be unique.
    pub(crate) fn check_text_length(&self) -> Result<(), Error> {
        let Some(length) = self.plan.text_length else {
            return Ok(());
        };
        let requests = match self.amount() {
            // In an open loop, free coroutines send what a slow one does not. In the worst case, one sends all.
            Amount::Requests(requests) if self.options.rate.is_some() => {
                u128::from(requests) * u128::from(self.options.concurrency)
            }
            Amount::Requests(requests) => requests.into(),
            Amount::Time(time) => time.as_micros() / MIN_EXCHANGE_TIME.as_micros(),
        };
        let all = requests + u128::from(self.options.warmup);
        let highest = u32::try_from(all.saturating_sub(1)).unwrap_or(u32::MAX);
        // The coroutine of the probes has the greatest number.
        let min = self.plan.min_text_length(self.options.concurrency, highest);
        if length < min {
            return Err(Error::TextTooShort { length, min });
        }
        Ok(())
    }

    /// Returns how many requests the run makes, including warm-up and probes. In a timed run, the measured ones do not count.
    fn expected_requests(&self) -> u64 {
        let requests = match self.amount() {
            Amount::Requests(requests) => u64::from(requests),
            Amount::Time(_) => 0,
        };
        let each = requests + u64::from(self.options.warmup);
        u64::from(self.options.concurrency) * each + self.targets.len() as u64
    }

    /// Returns the settings as they are reported.
    pub(crate) fn settings(&self) -> Settings {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let (requests, duration_ms) = match self.amount() {
            Amount::Requests(requests) => (Some(requests), None),
            Amount::Time(time) => (None, Some(milliseconds(time))),
        };
        Settings {
            urls: self.targets.iter().map(ToString::to_string).collect(),
            users: self.options.users.0.clone(),
            concurrency: self.options.concurrency,
            requests,
            duration_ms,
            rate: self.options.rate,
            warmup: self.options.warmup,
            text_length: self.plan.text_length,
            retries: self.options.retries,
            timeout_ms: milliseconds(self.options.timeout),
            connect_timeout_ms: milliseconds(self.options.connect_timeout),
            seed: self.plan.seed,
            tag: self.plan.tag.clone(),
            shared: self.shared,
            checked: self.check,
        }
    }

    pub(crate) fn judge_settings(&self) -> JudgeSettings {
        JudgeSettings {
            tag: self.plan.tag.clone(),
            replicas: self.targets.iter().map(ToString::to_string).collect(),
            users: self.options.users.0.clone(),
            shared: self.shared,
        }
    }
}

/// The replicas with their addresses, in the order of the targets.
pub(crate) type Replicas = Vec<Arc<Replica>>;

/// The state that all coroutines share.
#[derive(Debug)]
struct Shared {
    load: Load,
    replicas: Replicas,
    recorder: Mutex<Recorder>,
    clock: Clock,
    /// Set by the first signal: nothing more is sent then.
    stop: Arc<SetOnce<()>>,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stop.initialized()
    }

    /// Locks the recorder: for the microseconds in which a reply is parsed, and with `--history` also for a write to the file.
    /// The lock is never held across an await, and the run has one thread, so no task waits for it.
    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs warm-up, measured part, probes and pages, and returns the outcome.
pub(crate) async fn run(
    load: Load,
    replicas: Replicas,
    writer: Option<Writer>,
) -> Result<RunOutcome, Error> {
    raise_open_files_limit(&load);
    let reserved = usize::try_from(load.expected_requests())
        .map_or(MAX_RESERVED_REQUESTS, |all| all.min(MAX_RESERVED_REQUESTS));
    let recorder = Recorder::new(load.judge_settings(), reserved, load.check, writer);
    let shared = Arc::new(Shared {
        load,
        replicas,
        recorder: Mutex::new(recorder),
        clock: Clock::start(),
        stop: Arc::default(),
    });
    let load = &shared.load;
    // This task goes on after the run: the caller drives the runtime until the program ends.
    tokio::spawn(stop::on_signals(Arc::clone(&shared.stop), load.quiet));
    let progress = Progress::show(&shared);
    let coroutines = (0..load.options.concurrency)
        .map(|number| Coroutine::new(&shared, number))
        .collect();

    let warm_up = Arc::new(Pace::closed(
        shared.clock.now(),
        Amount::Requests(load.options.warmup),
    ));
    let coroutines = run_phase(coroutines, Phase::WarmUp, &warm_up).await?;
    let (start, cpu_before) = (shared.clock.now(), cpu_time());
    let pace = match load.options.rate {
        None => Pace::closed(start, load.amount()),
        Some(rate) => Pace::open(start, load.amount(), rate, load.options.concurrency),
    };
    let pace = Arc::new(pace);
    let coroutines = run_phase(coroutines, Phase::Measured, &pace).await?;
    let wall = Duration::from_nanos(shared.clock.now() - start);
    let cpu = cpu_time().saturating_sub(cpu_before);

    drop(coroutines);
    progress.stop().await;
    if load.check {
        probe_and_fetch_pages(&shared).await;
    }
    let interrupted = shared.is_stopping();
    let shared = Arc::into_inner(shared)
        .ok_or_else(|| Error::RunFailed("a coroutine is left over".to_owned()))?;
    let recorder = shared.recorder.into_inner();
    let mut recorder = recorder.unwrap_or_else(PoisonError::into_inner);
    let history_error = recorder.close().err();
    Ok(RunOutcome {
        history: recorder.finish(),
        wall,
        cpu,
        interrupted,
        history_error,
    })
}

/// Raises the limit of open files to what the run needs, if the system allows it; else prints a warning.
fn raise_open_files_limit(load: &Load) {
    // In an open loop, each coroutine has a timer as well.
    let each = load.targets.len() as u64 + u64::from(load.options.rate.is_some());
    let needed = u64::from(load.options.concurrency) * each + OTHER_FILES;
    let allowed = rlimit::increase_nofile_limit(needed).unwrap_or_default();
    if allowed < needed && !load.quiet {
        print_warning(&format!(
            "{allowed} open files are allowed, but the run needs up to {needed}: see `ulimit -n`"
        ));
    }
}

/// Runs one phase with all coroutines concurrently, and returns them.
async fn run_phase(
    coroutines: Vec<Coroutine>,
    phase: Phase,
    pace: &Arc<Pace>,
) -> Result<Vec<Coroutine>, Error> {
    let tasks: Vec<_> = coroutines
        .into_iter()
        .map(|coroutine| tokio::spawn(coroutine.run(phase, Arc::clone(pace))))
        .collect();
    let mut finished = Vec::with_capacity(tasks.len());
    for task in tasks {
        finished.push(
            task.await
                .map_err(|error| Error::RunFailed(error.to_string()))?,
        );
    }
    Ok(finished)
}

/// Resolves every replica's name and connects once; fails if no replica can be reached. Prints a warning for each that cannot.
pub(crate) async fn check_reachable(load: &Load) -> Result<Replicas, Error> {
    let (mut replicas, mut unreachable) = (Vec::new(), Vec::new());
    for target in &load.targets {
        let mut replica = Replica::resolve(target)
            .await
            .map_err(|reason| Error::Replica {
                url: target.to_string(),
                reason,
            })?;
        if let Err(reason) = replica.check_reachable(load.options.connect_timeout).await {
            unreachable.push(format!("{target}: {reason}"));
        }
        replicas.push(Arc::new(replica));
    }
    if unreachable.len() == replicas.len() {
        return Err(Error::NoneReachable(unreachable.join("; ")));
    }
    if !load.quiet {
        for unreachable in unreachable {
            print_warning(&format!(
                "{unreachable}; its requests will fail, the others go on"
            ));
        }
    }
    Ok(replicas)
}

/// Sends one more message to each replica, whose reply shows the last messages of the run. Then requests a page from each, to
/// check that readers are shown what was answered.
async fn probe_and_fetch_pages(shared: &Arc<Shared>) {
    let mut coroutine = Coroutine::new(shared, shared.load.options.concurrency);
    for replica in 0..shared.replicas.len() {
        if shared.is_stopping() {
            return;
        }
        coroutine.probe(replica).await;
    }
    for replica in 0..shared.replicas.len() {
        if shared.is_stopping() {
            return;
        }
        coroutine.fetch_page(replica).await;
    }
}
