//! Subcommands and options, in addition to those of every server.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use foundation::config::{ServerArgs, duration};
use url::Url;

use crate::load::LoadArgs;
use crate::verify::VerifyArgs;

/// Rooms over WebSocket, an inner service that answers reversed, and proofs of work that anyone can check.
#[derive(Debug, Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DUMMY_MESSENGER_BUILD"), ")"))]
pub struct Config {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves the page and the sockets
    #[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:8000")))]
    Web(WebArgs),
    /// Answers messages, and enqueues proofs for the workers
    #[command(mut_arg("listen", |listen| listen.default_value(ANY_PORT)))]
    Messager(MessagerArgs),
    /// Computes proofs of work, on all cores
    #[command(mut_arg("listen", |listen| listen.default_value(ANY_PORT)))]
    Worker(WorkerArgs),
    /// Checks a proof
    Verify(VerifyArgs),
    /// Runs clients that send messages, and check what they receive
    Load(LoadArgs),
}

/// The default of messager and worker, which serve only health and metrics: any free port.
const ANY_PORT: &str = "127.0.0.1:0";

/// Options of the web process.
#[derive(Debug, Args)]
pub struct WebArgs {
    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Origins whose pages may open sockets, in addition to the server's own: like `https://chat.example`, or `null` for pages
    /// from files. Separated by commas
    #[arg(
        long,
        env = "ALLOWED_ORIGINS",
        value_delimiter = ',',
        value_parser = parse_origin,
        value_name = "ORIGIN"
    )]
    pub allowed_origins: Vec<String>,
}

/// Options of the messager.
#[derive(Debug, Args)]
pub struct MessagerArgs {
    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,

    /// How long to wait for the reply to a call (`!rpc`); after that, a notice in the room says that it failed
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "TIME")]
    pub reply_timeout: Duration,
}

/// Options of the worker.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Zero bits that a proof's hash begins with
    #[arg(long, env = "POW_BITS", default_value_t = 24, value_parser = clap::value_parser!(u8).range(1..=32), value_name = "BITS")]
    pub pow_bits: u8,

    /// Threads that search for a proof; by default one per core
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<NonZeroUsize>,
}

impl WorkerArgs {
    /// How many threads search for a proof.
    #[must_use]
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().ok();
        self.threads.or_else(cores).map_or(1, NonZeroUsize::get)
    }
}

/// Parses an origin, and returns it as browsers send it.
fn parse_origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text == "null" {
        return Ok(text.to_owned());
    }
    let error = || "an origin is like `https://chat.example`, or `null`".to_owned();
    let url: Url = text.parse().map_err(|_malformed| error())?;
    let has_more = url.username() != ""
        || url.password().is_some()
        || !matches!(url.path(), "" | "/")
        || url.query().is_some()
        || url.fragment().is_some();
    match url.host_str().filter(|_| !has_more) {
        None => Err(error()),
        Some(_) if url.origin().is_tuple() => Ok(url.origin().ascii_serialization()),
        // The origin of a browser extension.
        Some(host) => Ok(format!("{}://{host}", url.scheme())),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_variable_means_one_thing_to_a_command_and_another_to_the_next() {
        for (command, variable) in [("verify", "CHAT_VERIFY_JSON"), ("load", "CHAT_LOAD_JSON")] {
            let config = Config::command();
            let command = config.find_subcommand(command).expect("it has it");
            let mut options = command.get_arguments();
            let json = options.find(|option| option.get_id() == "json");
            let found = json
                .and_then(|json| json.get_env())
                .and_then(|it| it.to_str());
            assert_eq!(found, Some(variable));
        }
    }

    #[test]
    fn an_origin_is_read_as_browsers_send_it_or_refused() {
        for (given, read) in [
            ("https://chat.example", Some("https://chat.example")),
            (" https://Chat.example:443/ ", Some("https://chat.example")),
            ("http://chat.example:80", Some("http://chat.example")),
            ("http://chat.example:443", Some("http://chat.example:443")),
            (
                "https://bücher.example",
                Some("https://xn--bcher-kva.example"),
            ),
            ("chrome-extension://abc", Some("chrome-extension://abc")),
            ("null", Some("null")),
            ("", None),
            ("*", None),
            ("chat.example", None),
            ("chat.example:8000", None),
            ("https://*.chat.example/x", None),
            ("https://chat.example/pages", None),
            ("https://u@chat.example", None),
            ("https://chat.example?x", None),
            ("file:///page.html", None),
        ] {
            assert_eq!(parse_origin(given).ok().as_deref(), read, "{given:?}");
        }
    }
}
