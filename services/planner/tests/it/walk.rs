//! The walk in the README does what is written there.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use testbed::{Database, skip};

use crate::harness::Planner;

/// The texts before and after the walk in the README.
const BLOCK: [&str; 2] = ["```console\n$ ", "\n```"];

/// Each is followed by a value that differs from run to run (a time or a token), up to a quotation mark.
const VARIES: [&str; 5] = [
    "\"created_at\":\"",
    "\"changed_at\":\"",
    "\"access_token\":\"",
    "\"refresh_token\":\"",
    "Bearer ",
];

fn masked(text: &str) -> String {
    VARIES.iter().fold(text.to_owned(), |text, mark| {
        let mut parts = text.split(mark);
        let mut shown = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(['"', '\'']).unwrap_or(part.len());
            shown.extend([mark, "…", &part[end..]]);
        }
        shown
    })
}

#[test]
fn the_walk_of_the_readme_does_what_is_written_there() {
    let (users_database, goals_database) = (Database::new(), Database::new());
    let users =
        Planner::run(Planner::users_command(&users_database.url()).env_remove("ADMIN_PASSWORD"));
    let goals = Planner::goals(&goals_database, &users.url());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    if Command::new("curl").arg("--version").output().is_err() {
        return skip("there is no curl");
    }
    let walked = Command::new("bash")
        .arg(folder.join("walk.sh"))
        .args([users.url(), goals.url()])
        .output()
        .expect("bash is there");
    let walked = String::from_utf8(walked.stdout).expect("it is UTF-8");
    let walked = walked.replace(&users.url(), "http://127.0.0.1:8000");
    let walked = walked.replace(&goals.url(), "http://127.0.0.1:8001");
    let readme = fs::read_to_string(folder.join("README.md")).expect("the file is there");
    let (_, block) = readme.split_once(BLOCK[0]).expect("the README has it");
    let (block, _) = block.split_once(BLOCK[1]).expect("it ends");
    assert_eq!(masked(&walked).trim(), format!("$ {block}").trim());
}
