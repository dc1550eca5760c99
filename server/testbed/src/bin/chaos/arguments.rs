//! Options.

use std::path::PathBuf;

use clap::Parser;

/// The largest seed that the client accepts.
pub(crate) const MAX_SEED: u64 = (1 << 53) - 1;

/// Breaks what the server stands on, in a random order that can be repeated, while the client puts load on it and judges.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
pub(crate) struct Arguments {
    /// Which faults, in which order, with which parameters; random, and printed, by default
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=MAX_SEED))]
    pub(crate) seed: Option<u64>,

    /// How long
    #[arg(long, default_value_t = 2.0, value_parser = minutes, value_name = "M")]
    pub(crate) minutes: f64,

    /// How many replicas
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub(crate) replicas: u32,

    /// Messages in a second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// Where the database and the logs are kept while it runs, and afterwards if something was wrong
    #[arg(long, default_value = ".run/chaos", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

impl Arguments {
    /// The options that repeat the same faults.
    pub(crate) fn repeat_options(&self, seed: u64) -> String {
        format!("--seed {seed} --replicas {}", self.replicas)
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.25..=600.0).contains(&minutes) => Ok(minutes),
        Ok(_) => Err("must be 0.25 to 600".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}
