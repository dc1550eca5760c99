//! Checks proofs on the command line.

use std::io::{self, Read};
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use crate::message::WORKER;
use crate::proof::Proof;
use crate::question::{self, Route};

/// The proof is none.
const REFUTED: u8 = 1;
/// What was given is no proof.
const MISUSED: u8 = 2;

/// What is to be checked.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct VerifyArgs {
    /// A frame of the chat that shows a proof, as it came; `-` reads it from standard input
    #[arg(long, group = "what", value_name = "FRAME", conflicts_with_all = ["challenge", "text", "nonce", "hash", "bits"])]
    pub json: Option<String>,

    /// The challenge, 16 bytes in hexadecimal
    #[arg(long, group = "what", value_name = "HEX", requires_all = ["text", "nonce", "hash"])]
    pub challenge: Option<String>,

    /// The text
    #[arg(long, requires = "challenge")]
    pub text: Option<String>,

    /// The nonce
    #[arg(long, requires = "challenge", value_name = "NUMBER")]
    pub nonce: Option<u64>,

    /// The hash, 32 bytes in hexadecimal
    #[arg(long, requires = "challenge", value_name = "HEX")]
    pub hash: Option<String>,

    /// Zero bits that the hash must begin with
    #[arg(long, requires = "challenge", default_value_t = 24)]
    pub bits: u8,
}

/// Checks a proof, and says how that went. The exit status is 0 if it proves work, 1 if not, and 2 if it is no proof.
#[must_use]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is the report of a command"
)]
pub fn run(options: &VerifyArgs) -> ExitCode {
    let proof = match given(options) {
        Ok(proof) => proof,
        Err(cause) => {
            eprintln!("chat verify: {cause}");
            return ExitCode::from(MISUSED);
        }
    };
    match proof.verify() {
        Ok(()) => {
            let hash = const_hex::encode(proof.hash);
            println!("verified: {hash} begins with {} zero bits", proof.bits);
            ExitCode::SUCCESS
        }
        Err(unproved) => {
            println!("not verified: {unproved}");
            ExitCode::from(REFUTED)
        }
    }
}

/// What a frame shows of a proof.
#[derive(Deserialize)]
struct Frame {
    username: String,
    message: String,
    proof: Proof,
}

/// The proof of a frame.
///
/// # Errors
/// If it shows none, or another line than that of its proof.
pub fn of_frame(frame: &str) -> Result<Proof, String> {
    let frame: Frame = serde_json::from_str(frame).map_err(|error| error.to_string())?;
    let route = if frame.username == WORKER {
        Route::Call
    } else {
        Route::Queue
    };
    if frame.message == question::shown(route, &frame.proof) {
        Ok(frame.proof)
    } else {
        Err("the line is not that of the proof".to_owned())
    }
}

fn given(options: &VerifyArgs) -> Result<Proof, String> {
    if let Some(frame) = &options.json {
        if frame != "-" {
            return of_frame(frame);
        }
        let mut frame = String::new();
        io::stdin()
            .read_to_string(&mut frame)
            .map_err(|error| error.to_string())?;
        return of_frame(&frame);
    }
    let hex = |given: &Option<String>| given.clone().unwrap_or_default();
    let malformed = |error: const_hex::FromHexError| error.to_string();
    Ok(Proof {
        challenge: const_hex::decode_to_array(hex(&options.challenge)).map_err(malformed)?,
        nonce: options.nonce.unwrap_or_default(),
        bits: options.bits,
        hash: const_hex::decode_to_array(hex(&options.hash)).map_err(malformed)?,
        elapsed_ms: 0,
        hashes: 0,
        text: options.text.clone().unwrap_or_default(),
    })
}
