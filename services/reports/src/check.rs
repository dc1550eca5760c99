//! `reports check`: are the durations those of the calls?

use std::fmt::Write as _;

use clap::Args;
use foundation::config::DatabaseArgs;
use indicatif::ProgressBar;

use crate::error::{Error, INVALID, VALID};
use crate::say;
use crate::store;

/// How many differences are told one by one.
const TOLD: usize = 20;

/// What is checked.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Options of the database.
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Counts the calls of each phone anew, and names where they are others than what is noted; returns the exit status.
///
/// # Errors
/// [`Error`]
pub fn run(args: &CheckArgs) -> Result<u8, Error> {
    let database = args.database.open(&store::SCHEMA, &crate::registry())?;
    let metrics = database.metrics("check");
    let mut session = database.connect(&metrics)?;
    let progress = ProgressBar::new_spinner();
    let (mut phones, mut calls) = (0_u64, 0);
    let (mut differences, mut told) = (0, String::new());
    let mut last = None;
    while let Some(phone) = store::next_phone(&mut session, last)? {
        let (of_phone, different) = store::differences(&mut session, phone)?;
        phones += 1;
        calls += of_phone;
        for (duration_ms, there, noted) in different.iter().take(TOLD.saturating_sub(differences)) {
            let _ = writeln!(
                told,
                "phone {phone}, {duration_ms} ms: {there} calls, and {noted} are noted"
            );
        }
        differences += different.len();
        progress.set_message(format!("{calls} calls of {phones} phones"));
        progress.tick();
        last = Some(phone);
    }
    progress.finish_and_clear();
    if differences == 0 {
        say(&format_args!(
            "valid: the durations of {phones} phones are those of their {calls} calls"
        ))?;
        return Ok(VALID);
    }
    say(&format_args!(
        "{told}INVALID: {differences} differences, in {calls} calls of {phones} phones"
    ))?;
    Ok(INVALID)
}
