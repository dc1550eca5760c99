//! The run: coroutines that send, each one request after the other, and note what they got.

mod clock;
mod connection;
mod pace;
mod progress;
mod timer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use serde::Serialize;
use tokio::sync::Notify;
use uuid::Uuid;

pub(crate) use self::clock::{Clock, cpu_time};
use self::connection::{Connection, Limits, Replica};
pub(crate) use self::pace::Amount;
use self::pace::Pace;
use self::progress::Progress;
use self::timer::Timer;
use crate::args::{RunArgs, Target};
use crate::error::Error;
use crate::history::{
    Done, History, Op, Outcome, Phase, Reason, Recorder, Setting, Writer, digest,
};
use crate::report::Settings;
use crate::traffic::{Plan, Planned, Script};

/// What a run needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) plan: Plan,
    pub(crate) users: Vec<String>,
    pub(crate) targets: Vec<Target>,
    pub(crate) concurrency: u32,
    pub(crate) amount: Amount,
    /// Requests in a second, started whether or not earlier ones were answered.
    pub(crate) rate: Option<f64>,
    /// Requests of each coroutine before the measured ones.
    pub(crate) warmup: u32,
    pub(crate) limits: Limits,
    pub(crate) retries: u8,
    pub(crate) shared: bool,
    pub(crate) check: bool,
    pub(crate) quiet: bool,
}

/// What a run gives.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) history: History,
    /// From the first request to the last answer, probes left out.
    pub(crate) wall: Duration,
    /// Processor time of this process meanwhile.
    pub(crate) cpu: Duration,
    pub(crate) interrupted: bool,
}

impl Load {
    pub(crate) fn new(args: &RunArgs, seed: u64, tag: String) -> Self {
        let load = &args.load;
        Self {
            plan: Plan {
                seed,
                tag,
                users: load.users.0.len(),
                replicas: args.urls.len(),
            },
            users: load.users.0.clone(),
            targets: args.urls.clone(),
            concurrency: load.concurrency,
            amount: match load.duration {
                Some(duration) => Amount::Time(duration),
                None => Amount::Requests(load.requests),
            },
            rate: load.rate,
            warmup: load.warmup,
            limits: Limits {
                connect: load.connect_timeout,
                request: load.timeout,
            },
            retries: load.retries,
            shared: args.judge.shared,
            check: !args.judge.no_check,
            quiet: args.record.quiet,
        }
    }

    /// How many requests a counted run makes, probes included.
    fn expected(&self) -> usize {
        let requests = match self.amount {
            Amount::Requests(requests) => requests + self.warmup,
            Amount::Time(_) => self.warmup,
        };
        self.concurrency as usize * requests as usize + self.targets.len()
    }

    /// As they are reported.
    pub(crate) fn settings(&self) -> Settings {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let (requests, duration_ms) = match self.amount {
            Amount::Requests(requests) => (Some(requests), None),
            Amount::Time(time) => (None, Some(milliseconds(time))),
        };
        Settings {
            urls: self.targets.iter().map(ToString::to_string).collect(),
            users: self.users.clone(),
            concurrency: self.concurrency,
            requests,
            duration_ms,
            rate: self.rate,
            warmup: self.warmup,
            retries: self.retries,
            timeout_ms: milliseconds(self.limits.request),
            connect_timeout_ms: milliseconds(self.limits.connect),
            seed: self.plan.seed,
            tag: self.plan.tag.clone(),
            shared: self.shared,
            checked: self.check,
        }
    }

    pub(crate) fn setting(&self) -> Setting {
        Setting {
            tag: self.plan.tag.clone(),
            replicas: self.targets.iter().map(ToString::to_string).collect(),
            users: self.users.clone(),
            shared: self.shared,
        }
    }
}

/// What all coroutines share.
#[derive(Debug)]
struct Shared {
    load: Load,
    replicas: Vec<Arc<Replica>>,
    recorder: Mutex<Recorder>,
    clock: Clock,
    stopping: AtomicBool,
    stop: Notify,
}

impl Shared {
    /// Held for a microsecond, never across an await.
    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Waits until nothing more is to be sent.
    async fn stopped(&self) {
        let told = self.stop.notified();
        if !self.is_stopping() {
            told.await;
        }
    }
}

/// Sends everything; or says why no replica could be reached.
pub(crate) async fn run(load: Load, writer: Option<Writer>) -> Result<Ran, Error> {
    let replicas = reach(&load).await?;
    let recorder = Recorder::new(load.setting(), load.expected(), load.check).write_to(writer);
    let shared = Arc::new(Shared {
        load,
        replicas,
        recorder: Mutex::new(recorder),
        clock: Clock::start(),
        stopping: AtomicBool::new(false),
        stop: Notify::new(),
    });
    let load = &shared.load;
    let stopper = tokio::spawn(stop_on_signal(Arc::clone(&shared)));
    let progress = Progress::show(&shared);
    let coroutines = (0..load.concurrency)
        .map(|number| Coroutine::new(&shared, number))
        .collect();

    let warm_up = Arc::new(Pace::new(
        shared.clock.now(),
        Amount::Requests(load.warmup),
        None,
    ));
    let coroutines = all(coroutines, Phase::WarmUp, &warm_up).await?;
    let (start, cpu_before) = (shared.clock.now(), cpu_time());
    let pace = Arc::new(Pace::new(start, load.amount, load.rate));
    let coroutines = all(coroutines, Phase::Measured, &pace).await?;
    let wall = Duration::from_nanos(shared.clock.now() - start);
    let cpu = cpu_time().saturating_sub(cpu_before);

    drop(coroutines);
    progress.stop().await;
    let interrupted = shared.is_stopping();
    if load.check && !interrupted {
        probe(&shared).await;
    }
    stopper.abort();
    // A cancelled task is dropped only once it has been waited for.
    drop(stopper.await);
    let shared = Arc::into_inner(shared)
        .ok_or_else(|| Error::BrokeDown("a coroutine is left over".to_owned()))?;
    let recorder = shared.recorder.into_inner();
    let mut recorder = recorder.unwrap_or_else(PoisonError::into_inner);
    recorder.close()?;
    let history = recorder.finish();
    Ok(Ran {
        history,
        wall,
        cpu,
        interrupted,
    })
}

/// Lets all coroutines do one part of the run, at the same time.
async fn all(
    coroutines: Vec<Coroutine>,
    phase: Phase,
    pace: &Arc<Pace>,
) -> Result<Vec<Coroutine>, Error> {
    let tasks: Vec<_> = coroutines
        .into_iter()
        .map(|coroutine| tokio::spawn(coroutine.work(phase, Arc::clone(pace))))
        .collect();
    let mut back = Vec::with_capacity(tasks.len());
    for task in tasks {
        back.push(
            task.await
                .map_err(|error| Error::BrokeDown(error.to_string()))?,
        );
    }
    Ok(back)
}

/// Looks every replica up and knocks; fails if nobody is there at all.
async fn reach(load: &Load) -> Result<Vec<Arc<Replica>>, Error> {
    let (mut replicas, mut absent) = (Vec::new(), Vec::new());
    for target in &load.targets {
        let replica = Replica::resolve(target)
            .await
            .map_err(|reason| Error::Replica {
                url: target.to_string(),
                reason,
            })?;
        if let Err(reason) = replica.knock(load.limits.connect).await {
            absent.push(format!("{target}: {reason}"));
        }
        replicas.push(Arc::new(replica));
    }
    if absent.len() == replicas.len() {
        return Err(Error::NobodyThere(absent.join("; ")));
    }
    if !load.quiet {
        for absent in absent {
            crate::warn(&format!(
                "{absent}; its requests will fail, the others go on"
            ));
        }
    }
    Ok(replicas)
}

/// The first signal ends the sending, the second the program.
async fn stop_on_signal(shared: Arc<Shared>) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    shared.stopping.store(true, Ordering::Relaxed);
    shared.stop.notify_waiters();
    crate::warn("stopping: waiting for what is under way; once more to leave at once");
    if tokio::signal::ctrl_c().await.is_ok() {
        crate::leave();
    }
}

/// One message to each replica, after everything else: its reply shows the last ones.
async fn probe(shared: &Arc<Shared>) {
    let mut coroutine = Coroutine::new(shared, shared.load.concurrency);
    for replica in 0..shared.replicas.len() {
        let Some(mut planned) = coroutine.script.next() else {
            return;
        };
        planned.replica = replica;
        coroutine
            .send(&planned, shared.clock.now(), Phase::Probe)
            .await;
    }
}

/// Sends one request after the other, over one connection to each replica.
#[derive(Debug)]
struct Coroutine {
    shared: Arc<Shared>,
    number: u32,
    script: Script,
    connections: Vec<Connection>,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    user: &'a str,
    text: &'a str,
}

impl Coroutine {
    fn new(shared: &Arc<Shared>, number: u32) -> Self {
        let limits = shared.load.limits;
        let connections = shared
            .replicas
            .iter()
            .map(|replica| Connection::new(Arc::clone(replica), limits))
            .collect();
        let script = shared.load.plan.coroutine(number);
        Self {
            shared: Arc::clone(shared),
            number,
            script,
            connections,
        }
    }

    /// Sends as long as there is something to send; gives itself back for the next part.
    async fn work(mut self, phase: Phase, pace: Arc<Pace>) -> Self {
        let mut sent = 0;
        // Where there is none, the runtime's own does, less exactly.
        let mut timer = if pace.is_open() {
            Timer::new().ok()
        } else {
            None
        };
        while !self.shared.is_stopping() {
            let Some(intended_ns) = pace.next(sent, &mut timer, &self.shared).await else {
                break;
            };
            let Some(planned) = self.script.next() else {
                break;
            };
            self.send(&planned, intended_ns, phase).await;
            sent += 1;
        }
        self
    }

    /// Sends a message, repeats it as often as allowed, and records what came of it.
    async fn send(&mut self, planned: &Planned, intended_ns: u64, phase: Phase) {
        let outgoing = Outgoing {
            user: &self.shared.load.users[planned.user],
            text: &planned.text,
        };
        let body = Bytes::from(serde_json::to_vec(&outgoing).expect("two strings are always JSON"));
        let retries = self.shared.load.retries;
        let key = (retries > 0).then(|| {
            HeaderValue::from_str(&Uuid::new_v4().to_string())
                .expect("a UUID has hexadecimal digits only")
        });
        let clock = self.shared.clock;
        let (mut replica, mut attempts, mut start_ns, mut doubt) = (planned.replica, 0, None, None);
        let (end_ns, outcome, reply) = loop {
            let connection = &mut self.connections[replica];
            let message = connection.replica().request(body.clone(), key.as_ref());
            let exchange = connection.exchange(message).await;
            attempts += 1;
            start_ns.get_or_insert(clock.at(exchange.start));
            let end_ns = clock.at(exchange.end);
            let reason = match exchange.answer {
                Ok(body) => break (end_ns, Outcome::Ok, Some(body)),
                Err(reason) => reason,
            };
            if let outcome @ Outcome::Unknown(_) = reason.outcome() {
                doubt = Some(outcome);
            }
            if attempts > retries
                || matches!(reason, Reason::Status(400..=499))
                || self.shared.is_stopping()
            {
                break (end_ns, doubt.unwrap_or(reason.outcome()), None);
            }
            tokio::time::sleep(pause(attempts)).await;
            replica = (replica + 1) % self.connections.len();
        };
        let start_ns = start_ns.unwrap_or(end_ns);
        let op = Op {
            intended_ns: intended_ns.min(start_ns),
            start_ns,
            end_ns,
            seq: 0,
            text: digest(&planned.text),
            coroutine: self.number,
            request: planned.request,
            user: u32::try_from(planned.user).unwrap_or(u32::MAX),
            outcome,
            replica: u16::try_from(replica).unwrap_or(u16::MAX),
            attempts,
            phase,
        };
        self.shared.recorder().record(&Done {
            op,
            text: &planned.text,
            reply: reply.as_deref(),
        });
    }
}

/// Before a repetition: 50 ms, doubled each time up to a second, so that a server in trouble is not pressed.
fn pause(attempts: u8) -> Duration {
    Duration::from_millis((25 << attempts.min(6)).min(1000))
}
