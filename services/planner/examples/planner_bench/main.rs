//! Measures what the planner promises, in one run: users from memory and from the database against a constant reply of the same
//! edge, in rounds that alternate; how far one process is behind another that changes users; and what wrong logins cost
//! others.
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
use testbed::{Caller, Database, Service, program, tool};

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

/// The seed's numbers of clients.
const CONNECTIONS: [usize; 2] = [100, 200];
/// How many hold good tokens while wrong logins come.
const GOOD_CLIENTS: usize = 50;
const WRONG_LOGINS: usize = 100;
/// Long enough for all of them to be answered.
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

/// All that is measured, on databases of its own.
struct Services {
    constant: Service,
    /// Two processes with a cache on one database, and one without.
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
                // As if each wrong login came from another address.
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

/// A token of the admin's.
fn token(service: &Service) -> Outcome<String> {
    let mut caller = Caller::try_connect(service.address()?)?;
    let login = json!({ "login": "admin", "password": PASSWORD }).to_string();
    let answer = caller.request("POST", "/token", "", login.as_bytes());
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

/// Requests with good tokens, without and with a hundred wrong logins at the beginning.
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
        // What changes on the machine meanwhile is not taken for what logins cost.
        let (alone, beside) = if round % 2 == 0 {
            let beside = with_wrong_logins(address, &request, round)?;
            (alone()?, beside)
        } else {
            (alone()?, with_wrong_logins(address, &request, round)?)
        };
        rounds.push([alone, beside]);
    }
    Ok(rounds)
}

/// The load of those who hold good tokens, while a hundred wrong logins come at once.
fn with_wrong_logins(address: SocketAddr, request: &[u8], round: usize) -> io::Result<Rate> {
    let callers: Vec<_> = (0..WRONG_LOGINS)
        .map(|_| Caller::try_connect(address))
        .collect::<Result<_, _>>()?;
    std::thread::scope(|scope| {
        for (number, mut caller) in callers.into_iter().enumerate() {
            // Each another, or the limit of one login would refuse nearly all.
            let login = json!({ "login": format!("nobody{round}-{number}"), "password": "wrong" });
            scope.spawn(move || caller.request("POST", "/token", "", login.to_string().as_bytes()));
        }
        load::run(address, request, GOOD_CLIENTS, WRONG_LOGIN_ROUND)
    })
}
