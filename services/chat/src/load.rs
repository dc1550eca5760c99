//! A load generator whose clients check what they receive: every socket must receive each number of the room once, in order and
//! with the same content; every message must come once; and every message must get one answer, the right one.

mod checker;
mod client;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use foundation::config::{at_least_one, duration};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use checker::Line;
use client::Outgoing;

use crate::message::Kind;

/// The exit status if a promise was broken.
const VIOLATED: u8 = 1;
/// The exit status if the load could not be run.
const NOT_RUN: u8 = 2;
/// How often a condition is checked that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Most violations that are printed.
const MAX_PRINTED: usize = 10;

/// Options of the load generator.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// URLs of web processes, like `http://127.0.0.1:8000`; sockets are spread over them
    #[arg(required = true, value_name = "URL")]
    pub urls: Vec<String>,

    /// Number of sockets
    #[arg(long, default_value_t = 100, value_parser = at_least_one, value_name = "COUNT")]
    pub sockets: usize,

    /// Messages per second, of all sockets together. One socket may send at most 20
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "COUNT")]
    pub rate: u32,

    /// How long to send, unless a signal (Ctrl-C, SIGTERM) ends that sooner. A second signal ends the wait for missing messages
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub duration: Duration,

    /// How long to wait afterwards for missing messages
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub patience: Duration,

    /// Every so many messages, one asks for a proof; 0 for none
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub proof_every: usize,

    /// Expects no answers, because no messager runs
    #[arg(long)]
    pub no_answers: bool,

    /// Prints the results as JSON
    #[arg(long, env = "CHAT_LOAD_JSON")]
    pub json: bool,
}

/// The state that all clients share.
struct Shared {
    start: Instant,
    room: String,
    urls: Vec<String>,
    /// The texts that were sent, by id.
    sent: RefCell<HashMap<Uuid, String>>,
    /// Microseconds from sending a message to its receipt, on any socket.
    latencies: RefCell<Vec<u32>>,
    violations: RefCell<Vec<String>>,
    /// The messages that the first client received.
    shown: RefCell<Vec<Line>>,
    /// For each socket, the last number that it received, and a digest of all frames up to it.
    positions: RefCell<Vec<(u64, u64)>>,
    connected: Cell<usize>,
    connects: Cell<usize>,
    /// How many signals have asked the program to end.
    signals: Cell<usize>,
}

/// The results of a run.
#[derive(Debug, Serialize)]
struct Results {
    sockets: usize,
    connects: usize,
    sent: usize,
    shown: usize,
    receipts: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    violations: usize,
}

/// Runs the clients. The exit status is 0 if no promise is broken, 1 if one is, and 2 if they cannot be run.
#[must_use]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is the report of a command"
)]
pub fn run(options: &LoadArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let run = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| LocalSet::new().block_on(&runtime, run_clients(options)));
    let (results, violations) = match run {
        Ok(run) => run,
        Err(cause) => {
            eprintln!("chat load: {cause}");
            return ExitCode::from(NOT_RUN);
        }
    };
    for violation in violations.iter().take(MAX_PRINTED) {
        eprintln!("chat load: {violation}");
    }
    if options.json {
        println!(
            "{}",
            serde_json::to_string(&results).expect("it has no maps")
        );
    } else {
        println!(
            "{} sockets, {} messages sent, {} lines in the room, {} receipts: \
             p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms; {} connects; {}",
            results.sockets,
            results.sent,
            results.shown,
            results.receipts,
            results.p50_ms,
            results.p99_ms,
            results.max_ms,
            results.connects,
            match results.violations {
                0 => "valid: no promise is broken".to_owned(),
                count => format!("NOT VALID: {count} violations"),
            }
        );
    }
    ExitCode::from(if violations.is_empty() { 0 } else { VIOLATED })
}

async fn run_clients(options: &LoadArgs) -> Result<(Results, Vec<String>), String> {
    for base in &options.urls {
        let connecting = client::connect(base, &[("group_name", "load")], 0);
        timeout(options.patience, connecting)
            .await
            .map_err(|elapsed| format!("cannot connect to {base}: {elapsed}"))??;
    }
    let shared = Rc::new(Shared {
        start: Instant::now(),
        room: format!("load {}", Uuid::new_v4()),
        urls: options.urls.clone(),
        sent: RefCell::default(),
        latencies: RefCell::default(),
        violations: RefCell::default(),
        shown: RefCell::default(),
        positions: RefCell::new(vec![(0, 0); options.sockets]),
        connected: Cell::new(0),
        connects: Cell::new(0),
        signals: Cell::new(0),
    });
    tokio::task::spawn_local(count_signals(Rc::clone(&shared)));
    let clients: Vec<_> = (0..options.sockets)
        .map(|number| {
            let (to, from) = unbounded_channel();
            tokio::task::spawn_local(client::run(Rc::clone(&shared), number, from));
            to
        })
        .collect();
    let all_connected = || shared.connected.get() == options.sockets || shared.signals.get() > 0;
    wait_until(options.patience, all_connected).await;
    send(options, &shared, &clients).await;
    let expected = shared.sent.borrow().len() * if options.no_answers { 1 } else { 2 };
    let is_counted = |line: &&Line| line.kind != Kind::Notice;
    let has_all = || {
        shared.shown.borrow().iter().filter(is_counted).count() >= expected
            && all_equal(&shared.positions.borrow())
    };
    let is_over = || has_all() || shared.signals.get() > 1;
    wait_until(options.patience, is_over).await;
    Ok(summarize(options, &shared))
}

/// Counts the signals that ask the program to end.
async fn count_signals(shared: Rc<Shared>) {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    // If they cannot be handled, the run ends by its duration only.
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        shared.signals.update(|count| count + 1);
    }
}

/// Sends at a steady rate, from each socket in turn, until the duration is over or a signal comes.
async fn send(options: &LoadArgs, shared: &Shared, clients: &[UnboundedSender<Outgoing>]) {
    let mut ticks = interval(Duration::from_secs(1) / options.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    for number in 0_usize.. {
        ticks.tick().await;
        if begun.elapsed() >= options.duration || shared.signals.get() > 0 {
            return;
        }
        let end = match options.proof_every {
            0 => "",
            every if number % (2 * every) == 0 => "!pow",
            every if number % every == 0 => "!rpc",
            _ => "",
        };
        let id = Uuid::new_v4();
        // Receivers compute the latency from the time in the text.
        let text = format!(
            "{} {number} привет{end}",
            shared.start.elapsed().as_micros()
        );
        shared.sent.borrow_mut().insert(id, text.clone());
        let _never_closed = clients[number % clients.len()].send((id, text));
    }
}

async fn wait_until(patience: Duration, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() && begun.elapsed() < patience {
        sleep(POLL_INTERVAL).await;
    }
}

fn all_equal(positions: &[(u64, u64)]) -> bool {
    positions.iter().all(|position| *position == positions[0])
}

fn summarize(options: &LoadArgs, shared: &Shared) -> (Results, Vec<String>) {
    let mut violations = shared.violations.take();
    let positions = shared.positions.borrow();
    for (number, position) in positions.iter().enumerate() {
        if *position != positions[0] {
            violations.push(format!(
                "socket {number} was shown other lines than the first, up to {} and {}",
                position.0, positions[0].0
            ));
        }
    }
    let shown = shared.shown.borrow();
    let sent = shared.sent.borrow();
    violations.extend(checker::check(&sent, &shown, !options.no_answers));
    let mut latencies = shared.latencies.take();
    latencies.sort_unstable();
    let at = |per_cent: usize| {
        let index = (per_cent * latencies.len()).div_ceil(100);
        let micros = latencies.get(index.saturating_sub(1)).copied();
        f64::from(micros.unwrap_or_default()) / 1000.0
    };
    let results = Results {
        sockets: options.sockets,
        connects: shared.connects.get(),
        sent: sent.len(),
        shown: shown.len(),
        receipts: latencies.len(),
        p50_ms: at(50),
        p99_ms: at(99),
        max_ms: at(100),
        violations: violations.len(),
    };
    (results, violations)
}
