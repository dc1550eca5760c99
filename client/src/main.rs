//! The program: everything is in the library beside it, so that tests reach it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    client::main()
}
