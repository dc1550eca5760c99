//! Tells the program of which commit it is.

use std::path::Path;
use std::process::Command;

/// For builds without the repository, as of an archive or in a container: `BUILD=… cargo build`.
const GIVEN: &str = "BUILD";

fn main() {
    println!("cargo::rerun-if-env-changed={GIVEN}");
    let build = std::env::var(GIVEN)
        .ok()
        .filter(|given| !given.is_empty())
        .or_else(commit);
    let build = build.as_deref().unwrap_or("unknown");
    println!("cargo::rustc-env=DUMMY_MESSENGER_BUILD={build}");
}

/// None without git, or if this is no repository of its own but stands in one of others. The services use this file as well.
fn commit() -> Option<String> {
    let root = git(&["rev-parse", "--show-toplevel"])?;
    if !Path::new(&root).join("server/build.rs").exists() {
        return None;
    }
    // Grows whenever HEAD moves. A file that is absent would have this run at every build.
    let log = git(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "logs/HEAD",
    ])?;
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
