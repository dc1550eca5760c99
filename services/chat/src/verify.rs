//! Checks proofs on the command line.

use std::io::{self, Read};
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use crate::message::WORKER;
use crate::proof::Proof;
use crate::question::{self, Route};

/// The exit status if the proof is not valid.
const NOT_VERIFIED: u8 = 1;
/// The exit status if the input is not a proof.
const INVALID_INPUT: u8 = 2;
/// Zero bits of a proof that does not state them.
const DEFAULT_BITS: u8 = 24;

/// Options of the check.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct VerifyArgs {
    /// A frame of the chat with a proof, unchanged; `-` reads it from standard input
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

    /// Zero bits that the hash must begin with; by default 24, and for a frame as many as it states itself
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..), value_name = "COUNT")]
    pub bits: Option<u8>,
}

/// Checks a proof, and prints the result. The exit status is 0 if the proof is valid, 1 if not, and 2 if the input is no proof.
#[must_use]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is the report of a command"
)]
pub fn run(options: &VerifyArgs) -> ExitCode {
    let (proof, line) = match read_proof(options) {
        Ok(parsed) => parsed,
        Err(cause) => {
            eprintln!("chat verify: {cause}");
            return ExitCode::from(INVALID_INPUT);
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
            ExitCode::from(NOT_VERIFIED)
        }
    }
}

fn check(proof: &Proof, line: Option<&Line>, bits: u8) -> Result<(), String> {
    if line.is_some_and(|line| !line.matches(proof)) {
        return Err("the line is not that of the proof".to_owned());
    }
    if proof.bits < bits {
        return Err(format!(
            "it says that {} zero bits are enough, and {bits} are asked for",
            proof.bits
        ));
    }
    proof.verify().map_err(|invalid| invalid.to_string())
}

/// A frame with a proof.
#[derive(Deserialize)]
struct Frame {
    proof: Proof,
    #[serde(flatten)]
    line: Line,
}

/// Who shows the proof, and the text.
#[derive(Deserialize)]
struct Line {
    username: String,
    message: String,
}

impl Line {
    fn matches(&self, proof: &Proof) -> bool {
        let route = if self.username == WORKER {
            Route::Call
        } else {
            Route::Queue
        };
        self.message == question::proof_line(route, proof)
    }
}

fn parse_frame(frame: &str) -> Result<(Proof, Option<Line>), String> {
    let frame: Frame = serde_json::from_str(frame)
        .map_err(|error| format!("this is no frame that shows a proof: {error}"))?;
    Ok((frame.proof, Some(frame.line)))
}

fn read_proof(options: &VerifyArgs) -> Result<(Proof, Option<Line>), String> {
    if let Some(frame) = &options.json {
        if frame != "-" {
            return parse_frame(frame);
        }
        let mut frame = String::new();
        io::stdin()
            .read_to_string(&mut frame)
            .map_err(|error| format!("cannot read the frame: {error}"))?;
        return parse_frame(&frame);
    }
    let proof = Proof {
        challenge: hex("--challenge", options.challenge.as_deref())?,
        nonce: options.nonce.unwrap_or_default(),
        bits: options.bits.unwrap_or(DEFAULT_BITS),
        hash: hex("--hash", options.hash.as_deref())?,
        elapsed_ms: 0,
        hashes: 0,
        text: options.text.clone().unwrap_or_default(),
    };
    Ok((proof, None))
}

fn hex<const BYTES: usize>(option: &str, value: Option<&str>) -> Result<[u8; BYTES], String> {
    const_hex::decode_to_array(value.unwrap_or_default())
        .map_err(|_malformed| format!("{option} takes {BYTES} bytes in hexadecimal"))
}
