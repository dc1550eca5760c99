use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// How the line begins that ends a whole history.
const END: &str = r#"{"requests":"#;

/// The lines of a client's history that are requests: all but its head and its end.
///
/// # Errors
/// If the file cannot be read.
pub fn requests_of(history: &Path) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let lines = BufReader::new(File::open(history)?).lines().skip(1);
    Ok(lines.filter(|line| !line.as_ref().is_ok_and(|line| line.starts_with(END))))
}
