//! The obvious implementation: one transaction per message, on the same edge and tables, with the same promises.
//! Correct, but slow: each message holds the lock for three round trips and a commit.
//!
//! `DATABASE_URL=… cargo run --release -p server --example one_per_message -- --listen 127.0.0.1:8001 [CONNECTIONS]`

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use chrono::{DateTime, NaiveDateTime, Utc};
use clap::Parser;
use foundation::config::{self, ServerArgs};
use foundation::http::{Endpoint, Exchange, Handler, Part, Problem, Service};
use foundation::service::{self, Failure};
use foundation::telemetry::{Incident, Program};
use foundation::thread_pool::ThreadPool;
use mysql::prelude::Queryable;
use mysql::{OptsBuilder, TxOpts, from_row};
use r2d2_mysql::MySqlConnectionManager;
use r2d2_mysql::r2d2::Pool;
use server::message::{Message, RenderedHistory, Submission};
use server::store::SCHEMA;
use server::{api, error};

struct OnePerMessage(ThreadPool<(Submission, Exchange)>);

impl Service for OnePerMessage {
    const ENDPOINTS: &'static [Endpoint<Self>] =
        &[Endpoint::post("/messages", Handler::Inline(post))];

    fn ready(&self, _deadline: Instant) -> Result<(), Problem> {
        Ok(())
    }
}

fn post(service: &OnePerMessage, exchange: Exchange) {
    match api::parse_post(&exchange) {
        Ok(submission) => service.0.submit((submission, exchange)),
        Err(problem) => exchange.answer(problem),
    }
}

type Connections = Pool<MySqlConnectionManager>;
type Row = (u64, String, u64, String, NaiveDateTime);

fn store(connections: &Connections, submission: &Submission) -> Result<Part, Box<dyn Error>> {
    let (user, text) = (submission.message.user(), submission.message.text());
    let mut connection = connections.get()?;
    let mut transaction = connection.start_transaction(TxOpts::default())?;

    let lock = "SELECT user, messages FROM counters WHERE user IN ('', ?) ORDER BY user FOR UPDATE";
    let counts: HashMap<String, u64> = transaction
        .exec_iter(lock, (user,))?
        .map(|row| row.map(from_row))
        .collect::<Result<_, _>>()?;
    let count = |name| counts.get(name).copied().unwrap_or_default() + 1;
    let (seq, user_seq) = (count(""), count(user));
    transaction.exec_drop(
        "INSERT INTO messages (seq, user, user_seq, text, sent_at, request_id)
         SELECT ?, ?, ?, ?, GREATEST(UTC_TIMESTAMP(6), COALESCE(MAX(sent_at), '1970-01-01')), ?
         FROM messages WHERE seq = ?",
        (
            seq,
            user,
            user_seq,
            text,
            submission.request_id.uuid().as_bytes(),
            seq - 1,
        ),
    )?;
    transaction.exec_drop(
        "INSERT INTO counters (user, messages) VALUES ('', ?), (?, ?)
         ON DUPLICATE KEY UPDATE messages = VALUES(messages)",
        (seq, user, user_seq),
    )?;
    let mut last: Vec<Row> = transaction.exec(
        "SELECT seq, user, user_seq, text, sent_at FROM messages ORDER BY seq DESC LIMIT 10",
        (),
    )?;
    transaction.commit()?;

    last.reverse();
    let messages: Vec<Message<'_>> = last.iter().map(message).collect();
    Ok(RenderedHistory::new(&messages).window(messages.len() - 1))
}

fn message((seq, user, user_seq, text, sent_at): &Row) -> Message<'_> {
    let sent_at: DateTime<Utc> = sent_at.and_utc();
    Message {
        seq: *seq,
        user: user.into(),
        user_seq: *user_seq,
        text: text.into(),
        sent_at,
    }
}

/// Stores each message in a transaction of its own.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: ServerArgs,

    /// Connections to the database
    #[arg(default_value_t = 25)]
    connections: u32,
}

fn main() -> ExitCode {
    let options: Options = config::parse("ONE_PER_MESSAGE");
    let program = Program::new("one_per_message", server::VERSION).built_from(server::BUILD);
    service::main(program, &options.server, |registry| {
        options.server.database.open(&SCHEMA, registry)?;
        let connections = connect(options.connections).map_err(|error| Failure::new(&error))?;
        let workers = ThreadPool::new(
            "transaction",
            options.connections as usize,
            move |(submission, exchange): (Submission, Exchange)| {
                let reply = store(&connections, &submission)
                    .map_err(|_cause| error::Error::DatabaseAway(Incident::draw()));
                exchange.answer(reply);
            },
        );
        Ok(OnePerMessage(workers))
    })
}

fn connect(max: u32) -> Result<Connections, Box<dyn Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let options = OptsBuilder::from_opts(mysql::Opts::from_url(&url)?)
        .prefer_socket(false)
        .init(vec![
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        ]);
    let connections = Pool::builder()
        .max_size(max)
        .test_on_check_out(false)
        .build(MySqlConnectionManager::new(options))?;
    Ok(connections)
}
