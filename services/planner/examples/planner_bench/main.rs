//! Measures what the planner promises, in one run: reads of users with and without the cache, in rounds that alternate with a
//! constant response of the same HTTP edge; the staleness of a process while another one changes users; and how much wrong logins
//! slow down other requests.
//!
//! `DATABASE_URL=… cargo run --release -p planner --example planner_bench` after
//! `cargo build --release -p planner --bins --examples`.

mod load;
mod report;
mod staleness;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use testbed::{Database, HttpClient, Service, program, tool};

use load::Rate;
use report::{ReadRounds, Report};

/// Measures the planner.
#[derive(Parser)]
struct Arguments {
    /// A database server on which databases may be created
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,

    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// How long each is measured in a round, in milliseconds
    #[arg(long, default_value_t = 1500)]
    round_ms: u64,
}

/// Numbers of client connections, as in the README.
const CONNECTIONS: [usize; 2] = [100, 200];
/// Clients with good tokens, while wrong logins arrive.
const GOOD_CLIENTS: usize = 50;
const WRONG_LOGINS: usize = 100;
/// Long enough for all wrong logins to be answered.
const WRONG_LOGIN_ROUND: Duration = Duration::from_secs(4);
const PASSWORD: &str = "Thunnus-thynnus-1758";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    tool::main(|| {
        let arguments = Arguments::parse();
        let services = Services::start(&arguments.database_url)?;
        let report = Report {
            reads: CONNECTIONS
                .map(|connections| measure_reads(&services, connections, &arguments))
                .into_iter()
                .collect::<Outcome<_>>()?,
            staleness: staleness::measure(&services.cached, &services.follower)?,
            with_wrong_logins: measure_with_wrong_logins(&services, &arguments)?,
        };
        report.print();
        Ok(report.meets_targets())
    })
}

/// The services that are measured, on their own database.
struct Services {
    constant: Service,
    /// On one database: two processes with a cache (`cached`, `follower`), and one without.
    cached: Service,
    follower: Service,
    uncached: Service,
    _database: Database,
}

impl Services {
    fn start(server: &str) -> Outcome<Self> {
        let name = format!("planner_bench_{}", std::process::id());
        let database = Database::create(server, name)?;
        let url = database.url();
        let users = |cache: &str| -> Outcome<Service> {
            let mut command = program("planner")?;
            command.args(["users", "--cache", cache]).envs([
                ("LISTEN", "127.0.0.1:0"),
                ("DATABASE_URL", &url),
                ("ADMIN_PASSWORD", PASSWORD),
                // So that all wrong logins can come from one address.
                ("PLANNER_LOGINS_A_MINUTE_FROM_ADDRESS", "100000"),
            ]);
            start(&mut command)
        };
        let mut constant = program("examples/constant_user")?;
        Ok(Self {
            constant: start(constant.env("LISTEN", "127.0.0.1:0"))?,
            cached: users("on")?,
            follower: users("on")?,
            uncached: users("off")?,
            _database: database,
        })
    }
}

fn start(command: &mut Command) -> Outcome<Service> {
    let mut service = Service::start(command, None)?;
    service.wait_until_ready()?;
    Ok(service)
}

/// An access token of the admin.
fn token(service: &Service) -> Outcome<String> {
    let mut client = HttpClient::try_connect(service.address()?)?;
    let login = json!({ "login": "admin", "password": PASSWORD }).to_string();
    let answer = client.request("POST", "/token", "", login.as_bytes());
    let answer: Value = serde_json::from_slice(&answer.body)?;
    let token = answer["access_token"].as_str();
    Ok(token
        .ok_or_else(|| format!("no token: {answer}"))?
        .to_owned())
}

fn measure_reads(
    services: &Services,
    connections: usize,
    arguments: &Arguments,
) -> Outcome<ReadRounds> {
    let request = load::get("/user/id-1", None);
    let duration = Duration::from_millis(arguments.round_ms);
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        tool::say(&format!(
            "{connections} connections, round {round} of {}",
            arguments.rounds
        ));
        let load =
            |service: &Service| load::run(service.address()?, &request, connections, duration);
        rounds.push([
            load(&services.constant)?,
            load(&services.cached)?,
            load(&services.uncached)?,
        ]);
    }
    Ok(ReadRounds {
        connections,
        rounds,
    })
}

/// Measures requests with good tokens, without and with a hundred wrong logins at the beginning.
fn measure_with_wrong_logins(
    services: &Services,
    arguments: &Arguments,
) -> Outcome<Vec<[Rate; 2]>> {
    let address = services.cached.address()?;
    let request = load::get("/sessions", Some(&token(&services.cached)?));
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        tool::say(&format!(
            "wrong logins, round {round} of {}",
            arguments.rounds
        ));
        let alone = || load::run(address, &request, GOOD_CLIENTS, WRONG_LOGIN_ROUND);
        // The order alternates, so that drift on the machine does not look like the cost of logins.
        let (alone, with_logins) = if round % 2 == 0 {
            let with_logins = with_wrong_logins(address, &request, round)?;
            (alone()?, with_logins)
        } else {
            (alone()?, with_wrong_logins(address, &request, round)?)
        };
        rounds.push([alone, with_logins]);
    }
    Ok(rounds)
}

/// The load of clients with good tokens, while a hundred wrong logins are sent at once.
fn with_wrong_logins(address: SocketAddr, request: &[u8], round: usize) -> io::Result<Rate> {
    let clients: Vec<_> = (0..WRONG_LOGINS)
        .map(|_| HttpClient::try_connect(address))
        .collect::<Result<_, _>>()?;
    std::thread::scope(|scope| {
        for (number, mut client) in clients.into_iter().enumerate() {
            // Different logins, because the limit per login would refuse nearly all.
            let login = json!({ "login": format!("nobody{round}-{number}"), "password": "wrong" });
            scope.spawn(move || client.request("POST", "/token", "", login.to_string().as_bytes()));
        }
        load::run(address, request, GOOD_CLIENTS, WRONG_LOGIN_ROUND)
    })
}
