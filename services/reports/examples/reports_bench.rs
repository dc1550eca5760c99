//! `./run.sh reports bench`: measures how fast calls are loaded and reports are made, and whether a long queue slows it down.
//!
//! Needs `DATABASE_URL` of a user who may create databases, and the release build of `reports` in the folder of this program.

use std::error::Error;
use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use mysql::Conn;
use mysql::prelude::Queryable;
use testbed::interruption::{self, sleep};
use testbed::tool::{self, say};
use testbed::{Database, Process, Service, Spread, program};
use uuid::Uuid;

type Failure = Box<dyn Error>;

/// Measures loading calls and making reports. Takes about ten minutes with 20 million calls.
#[derive(Debug, Parser)]
struct Options {
    /// Calls to load
    #[arg(long, default_value_t = 20_000_000, value_name = "COUNT")]
    calls: u64,

    /// Phones that make the calls
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..), value_name = "COUNT")]
    phones: u64,

    /// Rounds of each comparison
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    rounds: usize,

    /// The database server, on which a database is created for this run
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
}

/// Reports are measured for the first time after this fraction of the calls is loaded: one in `FIRST_FRACTION`.
const FIRST_FRACTION: u64 = 20;
/// Jobs for the throughput of two workers.
const JOBS: u32 = 20_000;
/// Jobs in the queue while POSTs and claims are measured with a long queue.
const LONG_QUEUE: u32 = 100_000;
/// Claimed jobs per measurement, with a long queue and with an empty one.
const CLAIMED_JOBS: u32 = 4_000;

fn main() -> ExitCode {
    let options = Options::parse();
    tool::main(|| {
        let name = format!("reports_bench_{}", std::process::id());
        let database = Database::create(&options.database_url, name)?;
        Bench { database, options }.run().map(|()| true)
    })
}

struct Bench {
    database: Database,
    options: Options,
}

impl Bench {
    fn run(&self) -> Result<(), Failure> {
        let phones = self.options.phones;
        let each = self.options.calls / phones;
        let first = (each / FIRST_FRACTION).max(1);
        say(&format!("loading {} calls", first * phones));
        self.load(first, 1)?;
        let api = self.start("api", &["--listen", "127.0.0.1:0"])?;
        let url = api.url()?;
        let small = self.rounds(|| self.reports(&url, &[], 100))?;
        say(&format!("loading {} calls", (each - first) * phones));
        let load = self.load(each - first, 2)?;
        let (mut fast, mut raw) = (Vec::new(), Vec::new());
        for _round in 0..self.options.rounds {
            fast.push(self.reports(&url, &[], 100)?);
            raw.push(self.reports(&url, &["--raw"], 10)?);
        }
        say("measuring the queue alone");
        let alone = self.rounds(|| self.drain(JOBS, JOBS))?;
        let (mut posts, mut claims) = (Vec::new(), Vec::new());
        for _round in 0..self.options.rounds {
            let (empty, claimed) = (self.posts(&url)?, self.drain(CLAIMED_JOBS, CLAIMED_JOBS)?);
            self.enqueue(LONG_QUEUE)?;
            posts.push(self.posts(&url)? / empty);
            claims.push(self.drain(0, CLAIMED_JOBS)? / claimed);
            self.empty_the_queue()?;
        }
        let version: String = self.database.rows("SELECT VERSION()").remove(0);
        print(&Table {
            version,
            phones,
            calls: each * phones,
            load,
            small,
            fast,
            raw,
            alone,
            posts,
            claims,
        });
        Ok(())
    }

    fn rounds<T>(&self, run: impl Fn() -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
        (0..self.options.rounds).map(|_| run()).collect()
    }

    fn command(&self, name: &str) -> io::Result<Command> {
        let mut command = program("reports")?;
        command.args([name, "--database-url", &self.database.url()]);
        Ok(command)
    }

    fn start(&self, name: &str, options: &[&str]) -> Result<Service, Failure> {
        let mut service = Service::start(self.command(name)?.args(options), None)?;
        service.wait_until_ready()?;
        Ok(service)
    }

    fn workers(&self, options: &[&str]) -> Result<[Service; 2], Failure> {
        Ok([
            self.start("worker", options)?,
            self.start("worker", options)?,
        ])
    }

    /// Requests reports from two workers, after a first run that opens their connections.
    fn reports(&self, url: &str, options: &[&str], reports: u32) -> Result<Run, Failure> {
        let _workers = self.workers(options)?;
        client(url, 10)?;
        client(url, reports)
    }

    /// Loads `calls_per_phone` calls of each phone.
    fn load(&self, calls_per_phone: u64, seed: u64) -> Result<Load, Failure> {
        let mut command = self.command("load")?;
        let (generate, seed) = (
            format!("{}x{calls_per_phone}", self.options.phones),
            seed.to_string(),
        );
        command.args(["--quiet", "--generate", &generate, "--seed", &seed]);
        let start = Instant::now();
        let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let mut peak_mb = 0.0;
        let status = loop {
            peak_mb = testbed::resident_mb(process.id()).map_or(peak_mb, |now| now.max(peak_mb));
            if let Some(status) = process.status()? {
                break status;
            }
            sleep(Duration::from_millis(20))?;
        };
        if !status.success() {
            return Err(format!("`reports load` ended with {status}").into());
        }
        Ok(Load {
            calls: calls_per_phone * self.options.phones,
            seconds: start.elapsed().as_secs_f64(),
            peak_mb,
        })
    }

    /// Enqueues jobs, each with its task, for a phone that has never called.
    fn enqueue(&self, jobs: u32) -> Result<(), Failure> {
        const BATCH: u32 = 1_000;
        let request = r#"{"numbers":[999999]}"#;
        let mut connection = self.database.connect();
        for _batch in 0..jobs / BATCH {
            let ids: Vec<_> = (0..BATCH)
                .map(|_| Uuid::now_v7().simple().to_string())
                .collect();
            let rows = |row: &dyn Fn(&String) -> String| {
                ids.iter().map(row).collect::<Vec<_>>().join(", ")
            };
            let tasks =
                rows(&|id| format!("(x'{id}', x'{id}', 'null', '{request}', UTC_TIMESTAMP(6))"));
            let jobs = rows(&|id| {
                format!("(x'{id}', 'reports', '{request}', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))")
            });
            connection.query_drop("BEGIN")?;
            connection.query_drop(format!(
                "INSERT INTO tasks (id, request_id, correlation_id, request, received_at) VALUES {tasks}"
            ))?;
            connection.query_drop(format!(
                "INSERT INTO jobs (id, queue, payload, available_at, enqueued_at) VALUES {jobs}"
            ))?;
            connection.query_drop("COMMIT")?;
            interruption::check()?;
        }
        Ok(())
    }

    /// Jobs per second of two workers: enqueues `new_jobs`, and measures until `jobs` are done.
    fn drain(&self, new_jobs: u32, jobs: u32) -> Result<f64, Failure> {
        self.enqueue(new_jobs)?;
        let mut connection = self.database.connect();
        let remaining =
            |connection: &mut Conn| connection.query_first::<u64, _>("SELECT COUNT(*) FROM jobs");
        let before = remaining(&mut connection)?.unwrap_or_default();
        let goal = before.saturating_sub(jobs.into());
        let _workers = self.workers(&[])?;
        // The measurement begins when the workers are ready, so that the start of the processes does not count.
        let (mut start, mut first) = (None, before);
        loop {
            let now = remaining(&mut connection)?.unwrap_or_default();
            let start = *start.get_or_insert_with(|| {
                first = now;
                Instant::now()
            });
            if now <= goal {
                #[expect(clippy::cast_precision_loss, reason = "counts of jobs are small")]
                return Ok((first - now) as f64 / start.elapsed().as_secs_f64());
            }
            sleep(Duration::from_millis(5))?;
        }
    }

    /// Tasks per second that the API accepts from ten clients.
    fn posts(&self, url: &str) -> Result<f64, Failure> {
        const CLIENTS: u32 = 10;
        const TASKS_PER_CLIENT: u32 = 100;
        let address = url.trim_start_matches("http://").parse()?;
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _client in 0..CLIENTS {
                scope.spawn(|| {
                    let mut client = testbed::HttpClient::connect(address);
                    for _task in 0..TASKS_PER_CLIENT {
                        let body = br#"{"numbers":[999999]}"#;
                        let answer = client.request("POST", "/api/v1/report", "", body);
                        assert_eq!(answer.status, 202, "{answer:?}");
                    }
                });
            }
        });
        let seconds = start.elapsed().as_secs_f64();
        self.database
            .connect()
            .query_drop("DELETE FROM jobs ORDER BY enqueued_at DESC LIMIT 1000")?;
        Ok(f64::from(CLIENTS * TASKS_PER_CLIENT) / seconds)
    }

    fn empty_the_queue(&self) -> Result<(), Failure> {
        let mut connection = self.database.connect();
        connection.query_drop("DELETE FROM jobs")?;
        connection.query_drop("DELETE FROM tasks WHERE ended_as IS NULL")?;
        Ok(())
    }
}

/// The result of a load.
struct Load {
    calls: u64,
    seconds: f64,
    peak_mb: f64,
}

/// The result of a run of the client.
struct Run {
    reports: f64,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Requests reports on ten phones, ten at a time.
fn client(url: &str, reports: u32) -> Result<Run, Failure> {
    let mut command = program("reports")?;
    command.args([
        "client",
        "--quiet",
        "--url",
        url,
        "-c",
        "10",
        "-n",
        &reports.to_string(),
    ]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("`reports client` ended with {}", output.status).into());
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let number = |label: &str| -> Result<f64, Failure> {
        let rest = stdout
            .split_once(label)
            .ok_or_else(|| format!("no {label:?} in {stdout}"))?
            .1;
        let end = rest
            .find(|next: char| !next.is_ascii_digit() && next != '.')
            .unwrap_or(rest.len());
        Ok(rest[..end].parse()?)
    };
    Ok(Run {
        reports: reports.into(),
        seconds: number("Total working time: ")?,
        p50_ms: number("report: p50 ")?,
        p99_ms: number("ms, p99 ")?,
    })
}

struct Table {
    version: String,
    phones: u64,
    calls: u64,
    load: Load,
    small: Vec<Run>,
    fast: Vec<Run>,
    raw: Vec<Run>,
    alone: Vec<f64>,
    posts: Vec<f64>,
    claims: Vec<f64>,
}

fn spread(values: impl IntoIterator<Item = f64>) -> Spread {
    Spread::of(values).expect("there is a round at least")
}

fn format_spread(values: impl IntoIterator<Item = f64>, digits: usize) -> String {
    let Spread { median, min, max } = spread(values);
    format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
}

fn each_ms(runs: &[Run]) -> impl Iterator<Item = f64> + '_ {
    runs.iter().map(|run| run.seconds / run.reports * 1e3)
}

#[expect(clippy::print_stdout, reason = "the table")]
fn print(table: &Table) {
    let Load {
        calls,
        seconds,
        peak_mb,
    } = table.load;
    #[expect(clippy::cast_precision_loss, reason = "counts of calls are small")]
    let rate = calls as f64 / seconds;
    let ratio = each_ms(&table.raw)
        .zip(each_ms(&table.fast))
        .map(|(raw, fast)| raw / fast);
    let growth = spread(each_ms(&table.fast)).median / spread(each_ms(&table.small)).median;
    let first = table.calls / FIRST_FRACTION;
    println!(
        "{}, {} calls of {} phones; medians, in parentheses least and most\n",
        table.version, table.calls, table.phones
    );
    println!("| | |\n|---|---|");
    println!("| {calls} calls loaded | {seconds:.0} s, {rate:.0}/s, {peak_mb:.0} MB of memory |");
    println!(
        "| 100 reports on 10 phones, 10 at a time, s | {} |",
        format_spread(table.fast.iter().map(|run| run.seconds), 2)
    );
    println!(
        "| from POST to report, p50, ms | {} |",
        format_spread(table.fast.iter().map(|run| run.p50_ms), 1)
    );
    println!(
        "| from POST to report, p99, ms | {} |",
        format_spread(table.fast.iter().map(|run| run.p99_ms), 1)
    );
    println!(
        "| a report from the calls themselves (`--raw`) takes so many times as long | {} |",
        format_spread(ratio, 0)
    );
    println!(
        "| a report over {} calls takes so many times as long as over {first} | {growth:.2} |",
        table.calls
    );
    println!(
        "| jobs a second through two workers | {} |",
        format_spread(table.alone.iter().copied(), 0)
    );
    println!(
        "| POSTs with {LONG_QUEUE} tasks waiting / with none | {} |",
        format_spread(table.posts.iter().copied(), 2)
    );
    println!(
        "| claims with {LONG_QUEUE} tasks waiting / with none | {} |",
        format_spread(table.claims.iter().copied(), 2)
    );
}
