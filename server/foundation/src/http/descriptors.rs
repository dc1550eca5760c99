//! File descriptors: the limit, and a reserve for when connections have taken all others.

use std::fs;

use rlimit::Resource;

/// Descriptors reserved for connections to the database, and for telling clients that there is no room. Of a very low limit, an
/// eighth.
const MAX_RESERVED: u64 = 128;

/// The part of the limit that must be free before connections are accepted again, as a divisor. With less, the next few
/// connections would exhaust it.
const ROOM: u64 = 16;

/// States of connections, as the kernel numbers them: open on both sides; closed by the client, but not by this side.
const ESTABLISHED: &str = "01";
const CLOSE_WAIT: &str = "08";

/// Raises the limit to the most that the system grants, less the reserve. If that is forbidden, the limit stays as it is, and the
/// log says so.
pub(crate) fn claim() {
    set_limit(|most| most - reserved(most));
}

/// Makes the reserve usable, until [`claim`].
pub(super) fn release_reserved() {
    set_limit(|most| most);
}

fn set_limit(of: impl Fn(u64) -> u64) {
    let set = Resource::NOFILE
        .get()
        .and_then(|(_, most)| Resource::NOFILE.set(of(most), most));
    if let Err(error) = set {
        tracing::warn!(%error, "cannot set the limit of open files");
    }
}

/// Whether there is room for new connections; also if the system does not tell.
pub(super) fn has_room() -> bool {
    is_enough(open())
}

fn is_enough(open: Option<u64>) -> bool {
    most().is_none_or(|most| open.is_none_or(|open| open + most / ROOM <= most - reserved(most)))
}

/// Whether there is no room because of connections to `port` that their clients have closed and that stay open here: they are
/// more than the others, and without them, two descriptors each, there would be room. `tiny_http` waits for itself, for ever, if
/// a request line asks for HTTP/2 or HTTP/3.
pub(super) fn are_held_by_closed_connections(port: u16) -> bool {
    let (closed, established) = connections(port);
    closed > established && is_enough(open().map(|open| open.saturating_sub(2 * closed)))
}

/// How many connections to `port` are closed by their clients alone, and how many are open on both sides.
fn connections(port: u16) -> (u64, u64) {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let (mut closed, mut established) = (0, 0);
    for line in tables.iter().flatten().flat_map(|table| table.lines()) {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().and_then(|local| local.split_once(':'));
        if local.is_some_and(|(_, local)| u16::from_str_radix(local, 16) == Ok(port)) {
            match columns.nth(1) {
                Some(CLOSE_WAIT) => closed += 1,
                Some(ESTABLISHED) => established += 1,
                _ => {}
            }
        }
    }
    (closed, established)
}

/// The hard limit of descriptors, if the system tells.
pub(super) fn most() -> Option<u64> {
    Resource::NOFILE.get_hard().ok()
}

/// The size of the table of descriptors: all open ones have smaller numbers. None if the system does not tell, or has no
/// descriptor left for reading it.
pub(super) fn table_size() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let size = status
        .lines()
        .find_map(|line| line.strip_prefix("FDSize:"))?;
    size.trim().parse().ok()
}

/// How many descriptors are open, if the system tells.
pub(super) fn open() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Since Linux 6.2 the size of the folder is their number; before, it is 0.
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some(fs::read_dir(FOLDER).ok()?.count() as u64),
        known => Some(known),
    }
}

fn reserved(most: u64) -> u64 {
    MAX_RESERVED.min(most / 8)
}
