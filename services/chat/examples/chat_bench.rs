//! Measures whether the chat reaches its targets, and prints one table. On an otherwise idle machine, in about two minutes:
//!
//! ```sh
//! cargo build --release -p chat
//! DATABASE_URL=mysql://user:password@127.0.0.1/any cargo run --release -p chat --example chat_bench
//! ```
//!
//! `--only proofs|latency|crowd|idle` runs one measurement.

use std::error::Error;
use std::net::TcpStream;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use chat::proof::Proof;
use clap::Parser;
use prometheus::IntCounter;
use serde_json::{Value, json};
use sha2::block_api::compress256;
use testbed::{Database, Service, Spread, program, resident_mb, tool, usage};
use tungstenite::{Message, WebSocket};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bits of the proofs whose rate is measured. A search takes so long that the time of its start and end is negligible.
const RATE_BITS: u8 = 24;
const ROUNDS: usize = 15;
const ROUND_TIME: Duration = Duration::from_millis(500);
const QUESTIONS: usize = 25;
const IDLE_SOCKETS: usize = 2000;
/// Long enough for each socket to be pinged.
const IDLE_TIME: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Arguments {
    /// What to measure; by default all
    #[arg(long, value_parser = ["proofs", "latency", "crowd", "idle"])]
    only: Option<String>,

    /// How long the thousand sockets send, in seconds
    #[arg(long, default_value_t = 30)]
    seconds: u32,
}

fn main() -> ExitCode {
    tool::main(run)
}

#[expect(clippy::print_stdout, reason = "it is the report")]
fn run() -> Outcome<bool> {
    let arguments = Arguments::parse();
    let wanted = |what: &str| arguments.only.as_deref().is_none_or(|only| only == what);
    let mut table = Vec::new();
    if wanted("proofs") {
        tool::say("the rate of a search against a bare loop");
        table.push(proof_rate());
    }
    if wanted("latency") {
        tool::say("from a question to its proof");
        table.push(latency()?);
    }
    if wanted("crowd") {
        tool::say("a thousand sockets in one room");
        table.extend(crowd(arguments.seconds)?);
    }
    if wanted("idle") {
        tool::say("two thousand idle sockets");
        table.push(idle()?);
    }
    println!("| what | must reach | reached | |\n|---|---|---|---|");
    for Row {
        what,
        bound,
        reached,
        holds,
    } in &table
    {
        println!(
            "| {what} | {bound} | {reached} | {} |",
            if *holds { "✓" } else { "✗" }
        );
    }
    Ok(table.iter().all(|row| row.holds))
}

/// A row of the table.
struct Row {
    what: &'static str,
    bound: &'static str,
    reached: String,
    holds: bool,
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Hashes per second of a loop over the block function alone, on this many threads: the upper limit for a search.
fn bare_rate(threads: usize, time: Duration) -> f64 {
    std::thread::scope(|scope| {
        let run = || {
            let (mut block, begun, mut count) = ([7; 64], Instant::now(), 0_u64);
            while begun.elapsed() < time {
                for _ in 0..4096 {
                    block[32..40].copy_from_slice(&count.to_be_bytes());
                    let mut state = [7; 8];
                    compress256(&mut state, &[block]);
                    std::hint::black_box(state);
                    count += 1;
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
            let rate = count as f64 / begun.elapsed().as_secs_f64();
            rate
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, f64>| thread.join();
        threads
            .into_iter()
            .filter_map(|thread| join(thread).ok())
            .sum()
    })
}

/// Measures search and bare loop alternately, so that other load on the machine slows both.
fn proof_rate() -> Row {
    let tried = IntCounter::new("tried", "tried").expect("it is a name");
    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        let bare = bare_rate(cores(), ROUND_TIME);
        let (begun, before) = (Instant::now(), tried.get());
        while begun.elapsed() < ROUND_TIME {
            let _proof = Proof::find(&round.to_string(), RATE_BITS, cores(), &tried);
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        let rate = (tried.get() - before) as f64 / begun.elapsed().as_secs_f64();
        rates.push((rate, bare));
    }
    let share = Spread::of(rates.iter().map(|(rate, bare)| rate / bare)).expect("there are rounds");
    let rate = Spread::of(rates.iter().map(|(rate, _)| rate / 1e6)).expect("there are rounds");
    Row {
        what: "proof rate of a bare loop on all cores",
        bound: "at least 0.95",
        reached: format!(
            "{:.3} ({:.3} to {:.3}); {:.1} MH/s",
            share.median, share.min, share.max, rate.median
        ),
        holds: share.median >= 0.95,
    }
}

/// The chat's processes on a database of their own.
struct Chat {
    webs: Vec<Service>,
    _inner: Vec<Service>,
    _database: Database,
}

fn start(webs: usize) -> Outcome<Chat> {
    let database = Database::new();
    let url = database.url();
    let command = |subcommand: &str| {
        let mut command = program("chat")?;
        command
            .arg(subcommand)
            .env("DATABASE_URL", &url)
            .env("LISTEN", "127.0.0.1:0");
        Ok(command)
    };
    Ok(Chat {
        webs: Service::start_ready(webs, || command("web"))?,
        _inner: ["messager", "worker"]
            .into_iter()
            .map(|inner| Service::start_ready(1, || command(inner)))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect(),
        _database: database,
    })
}

fn open(web: &Service, room: &str) -> Outcome<WebSocket<TcpStream>> {
    let address = web.address()?;
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let url = format!("ws://{address}/chat/ws/1?group_name={room}");
    Ok(tungstenite::client(url, stream)?.0)
}

fn latency() -> Outcome<Row> {
    let chat = start(1)?;
    let mut socket = open(&chat.webs[0], "latency")?;
    let mut times = Vec::new();
    for number in 0..QUESTIONS {
        let frame = json!({ "username": "bench", "message": format!("{number}!pow") });
        let begun = Instant::now();
        socket.send(Message::text(frame.to_string()))?;
        loop {
            if let Message::Text(text) = socket.read()?
                && serde_json::from_str::<Value>(&text)?["kind"] == "proof"
            {
                break;
            }
        }
        times.push(begun.elapsed().as_secs_f64());
    }
    let spread = Spread::of(times).expect("there are questions");
    Ok(Row {
        what: "from `!pow` to its proof of 24 bits, median of 25",
        bound: "under 0.5 s",
        reached: format!(
            "{:.2} s ({:.2} to {:.2})",
            spread.median, spread.min, spread.max
        ),
        holds: spread.median < 0.5,
    })
}

fn crowd(seconds: u32) -> Outcome<Vec<Row>> {
    let chat = start(2)?;
    let mut load: Command = program("chat")?;
    load.args([
        "load",
        "--json",
        "--sockets",
        "1000",
        "--rate",
        "100",
        "--duration",
    ]);
    load.arg(format!("{seconds}s"));
    for web in &chat.webs {
        load.arg(web.url()?);
    }
    let output = load.stderr(Stdio::inherit()).output()?;
    let results: Value = serde_json::from_slice(&output.stdout)?;
    let memory = chat
        .webs
        .iter()
        .filter_map(|web| resident_mb(web.process.id()));
    let memory = memory.fold(0.0, f64::max);
    let p99 = results["p99_ms"].as_f64().unwrap_or(f64::INFINITY);
    let shown = results["shown"].as_u64().unwrap_or_default();
    Ok(vec![
        Row {
            what: "1,000 sockets in a room over two processes, 100 messages a second",
            bound: "each gets each once, in order",
            reached: format!(
                "{} messages and their answers, {shown} lines, to each: {} violations",
                results["sent"], results["violations"]
            ),
            holds: output.status.success(),
        },
        Row {
            what: "from sending to receipt, p99",
            bound: "under 150 ms",
            reached: format!(
                "{p99:.0} ms (p50 {} ms, most {} ms)",
                results["p50_ms"], results["max_ms"]
            ),
            holds: p99 < 150.0,
        },
        Row {
            what: "memory of a process",
            bound: "under 150 MB",
            reached: format!("{memory:.0} MB"),
            holds: memory < 150.0,
        },
    ])
}

fn idle() -> Outcome<Row> {
    let chat = start(1)?;
    let web = &chat.webs[0];
    let open = |_| -> Outcome<_> {
        let socket = open(web, "idle")?;
        socket.get_ref().set_nonblocking(true)?;
        Ok(socket)
    };
    let mut sockets = (0..IDLE_SOCKETS).map(open).collect::<Outcome<Vec<_>>>()?;
    // After a burst of connections, the HTTP server is active for five more seconds.
    std::thread::sleep(Duration::from_secs(6));
    let spent = || usage(web.process.id()).map_or(0.0, |usage| usage.cpu_us);
    let (before, begun) = (spent(), Instant::now());
    while begun.elapsed() < IDLE_TIME {
        // Answers pings.
        for socket in &mut sockets {
            while socket.read().is_ok() {}
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let share = (spent() - before) / 1e4 / begun.elapsed().as_secs_f64();
    let memory = resident_mb(web.process.id()).unwrap_or_default();
    Ok(Row {
        what: "2,000 idle sockets on one process",
        bound: "under 2 % of a core",
        reached: format!("{share:.1} %; {memory:.0} MB"),
        holds: share < 2.0,
    })
}
