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
/// Zero bits of a proof that does not say how many it has.
const BITS: u8 = 24;

/// What is to be checked.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct VerifyArgs {
    /// A frame of the chat that shows a proof, as it came; `-` reads it from standard input
    #[arg(long, env = "CHAT_VERIFY_JSON", group = "what", value_name = "FRAME", conflicts_with_all = ["challenge", "text", "nonce", "hash"])]
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

    /// Zero bits that the hash must begin with: 24 if it is not said, and for a frame as many as it says itself
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..), value_name = "COUNT")]
    pub bits: Option<u8>,
}

/// Checks a proof, and says how that went. The exit status is 0 if it proves work, 1 if not, and 2 if it is no proof.
#[must_use]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is the report of a command"
)]
pub fn run(options: &VerifyArgs) -> ExitCode {
    let (proof, line) = match given(options) {
        Ok(given) => given,
        Err(cause) => {
            eprintln!("chat verify: {cause}");
            return ExitCode::from(MISUSED);
        }
    };
    match check(&proof, line.as_ref(), options.bits.unwrap_or(1)) {
        Ok(()) => {
            let hash = const_hex::encode(proof.hash);
            println!("verified: {hash} begins with {} zero bits", proof.bits);
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("not verified: {why}");
            ExitCode::from(REFUTED)
        }
    }
}

fn check(proof: &Proof, line: Option<&Line>, bits: u8) -> Result<(), String> {
    if line.is_some_and(|line| !line.is_of(proof)) {
        return Err("the line is not that of the proof".to_owned());
    }
    if proof.bits < bits {
        return Err(format!(
            "it says that {} zero bits are enough, and {bits} are asked for",
            proof.bits
        ));
    }
    proof.verify().map_err(|unproved| unproved.to_string())
}

/// What a frame shows of a proof.
#[derive(Deserialize)]
struct Frame {
    proof: Proof,
    #[serde(flatten)]
    line: Line,
}

/// What is said of it.
#[derive(Deserialize)]
struct Line {
    username: String,
    message: String,
}

impl Line {
    fn is_of(&self, proof: &Proof) -> bool {
        let route = if self.username == WORKER {
            Route::Call
        } else {
            Route::Queue
        };
        self.message == question::shown(route, proof)
    }
}

fn of_frame(frame: &str) -> Result<(Proof, Option<Line>), String> {
    let frame: Frame = serde_json::from_str(frame)
        .map_err(|error| format!("this is no frame that shows a proof: {error}"))?;
    Ok((frame.proof, Some(frame.line)))
}

fn given(options: &VerifyArgs) -> Result<(Proof, Option<Line>), String> {
    if let Some(frame) = &options.json {
        if frame != "-" {
            return of_frame(frame);
        }
        let mut frame = String::new();
        io::stdin()
            .read_to_string(&mut frame)
            .map_err(|error| format!("cannot read the frame: {error}"))?;
        return of_frame(&frame);
    }
    let proof = Proof {
        challenge: hex("--challenge", options.challenge.as_deref())?,
        nonce: options.nonce.unwrap_or_default(),
        bits: options.bits.unwrap_or(BITS),
        hash: hex("--hash", options.hash.as_deref())?,
        elapsed_ms: 0,
        hashes: 0,
        text: options.text.clone().unwrap_or_default(),
    };
    Ok((proof, None))
}

fn hex<const BYTES: usize>(option: &str, given: Option<&str>) -> Result<[u8; BYTES], String> {
    const_hex::decode_to_array(given.unwrap_or_default())
        .map_err(|_malformed| format!("{option} takes {BYTES} bytes in hexadecimal"))
}
