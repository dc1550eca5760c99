//! File descriptors: as many as the system grants, and some kept back for when connections have taken all others.

use std::fs;

use rlimit::Resource;

/// Descriptors kept back for connections to the database, and for telling clients that there is no room. An eighth of a very low
/// limit.
const MAX_RESERVED: u64 = 128;

/// How much of the limit must be free again before connections are taken: one part in so many. With less, the next few
/// connections would exhaust it again.
const ROOM: u64 = 16;

/// States of connections, as the kernel numbers them: open on both sides; closed by the other side, and not by this one.
const ESTABLISHED: &str = "01";
const CLOSE_WAIT: &str = "08";

/// Raises the limit to the most that the system grants, less what is kept back. Where that is forbidden, the limit stays
/// as it is, and the log says so.
pub(crate) fn claim() {
    set_limit(|most| most - reserved(most));
}

/// Lets what was kept back be used, until [`claim`].
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

/// Whether there is room for new connections. Where the system does not tell, there is.
pub(super) fn has_room() -> bool {
    is_enough(open())
}

fn is_enough(open: Option<u64>) -> bool {
    most().is_none_or(|most| open.is_none_or(|open| open + most / ROOM <= most - reserved(most)))
}

/// Whether connections to `port` that their clients have closed, and that stay open here for ever, are what there is no
/// room for: they are more than the others, and without them, two descriptors each, there would be room. `tiny_http`
/// waits for itself when a request line asks for HTTP/2 or HTTP/3.
pub(super) fn are_held_by_the_dead(port: u16) -> bool {
    let (dead, living) = connections(port);
    dead > living && is_enough(open().map(|open| open.saturating_sub(2 * dead)))
}

/// How many connections to `port` their clients have closed, and this side has not; and how many are open on both sides.
fn connections(port: u16) -> (u64, u64) {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let (mut dead, mut living) = (0, 0);
    for line in tables.iter().flatten().flat_map(|table| table.lines()) {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().and_then(|local| local.split_once(':'));
        if local.is_some_and(|(_, local)| u16::from_str_radix(local, 16) == Ok(port)) {
            match columns.nth(1) {
                Some(CLOSE_WAIT) => dead += 1,
                Some(ESTABLISHED) => living += 1,
                _ => {}
            }
        }
    }
    (dead, living)
}

/// How many descriptors there may be at most, where the system tells.
pub(super) fn most() -> Option<u64> {
    Resource::NOFILE.get_hard().ok()
}

/// How many places there are in the table of descriptors: the numbers of all that are open are less. None where the system
/// does not tell, or has no descriptor left for it.
pub(super) fn table_size() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let size = status
        .lines()
        .find_map(|line| line.strip_prefix("FDSize:"))?;
    size.trim().parse().ok()
}

/// How many descriptors are open, where the system tells.
pub(super) fn open() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Linux tells since 6.2; before, they have to be counted.
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some(fs::read_dir(FOLDER).ok()?.count() as u64),
        known => Some(known),
    }
}

fn reserved(most: u64) -> u64 {
    MAX_RESERVED.min(most / 8)
}
