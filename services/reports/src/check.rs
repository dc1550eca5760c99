//! `reports check`: compares the stored counts of calls per duration with the calls.

use std::fmt::Write as _;

use clap::Args;
use foundation::config::DatabaseArgs;
use indicatif::ProgressBar;

use crate::error::{Error, INVALID, VALID};
use crate::store;
use crate::write_stdout;

/// Most differences that are printed; further ones are only counted.
const MAX_SHOWN: usize = 20;

/// Arguments of `reports check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Options of the database.
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Counts the calls of each phone again, and prints where the stored counts differ. Returns the exit status.
///
/// # Errors
/// [`Error`]
pub fn run(args: &CheckArgs) -> Result<u8, Error> {
    let database = args.database.open(&store::SCHEMA, &crate::registry())?;
    let metrics = database.metrics("check");
    let mut session = database.connect(&metrics, None)?;
    let progress = ProgressBar::new_spinner();
    let (mut phones, mut calls) = (0_u64, 0);
    let (mut differences, mut lines) = (0, String::new());
    let mut last = None;
    while let Some(phone) = store::next_phone(&mut session, last)? {
        let (of_phone, different) = store::differences(&mut session, phone)?;
        phones += 1;
        calls += of_phone;
        for (duration_ms, counted, recorded) in
            different.iter().take(MAX_SHOWN.saturating_sub(differences))
        {
            let _ = writeln!(
                lines,
                "phone {phone}, {duration_ms} ms: {counted} calls, and {recorded} are noted"
            );
        }
        differences += different.len();
        progress.set_message(format!("{calls} calls of {phones} phones"));
        progress.tick();
        last = Some(phone);
    }
    progress.finish_and_clear();
    if differences == 0 {
        write_stdout(&format_args!(
            "valid: the durations of {phones} phones are those of their {calls} calls"
        ))?;
        return Ok(VALID);
    }
    write_stdout(&format_args!(
        "{lines}INVALID: {differences} differences, in {calls} calls of {phones} phones"
    ))?;
    Ok(INVALID)
}
