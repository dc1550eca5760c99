//! How the simulated host behind a proxy behaves.

use crate::packet;

/// How a simulated host behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HostStatus {
    /// As the real database.
    #[default]
    TakesWrites,
    /// Reports `read_only` and refuses writes, as a secondary does.
    ReadOnly,
    /// Refuses `COMMIT`, as with a full disk.
    Full,
    /// Accepts connections, and never sends anything.
    Silent,
    /// Closes all connections, and new ones at once.
    Away,
}

impl HostStatus {
    /// The packet to send instead of this one to simulate the status; `None` to send it unchanged.
    pub(super) fn rewritten(self, packet: &[u8]) -> Option<Vec<u8>> {
        if !matches!(self, Self::ReadOnly | Self::Full) {
            return None;
        }
        let sql = str::from_utf8(packet::statements(packet)?).ok()?;
        let rewritten = match self {
            Self::Full => format!("{}{}", sql.strip_suffix("COMMIT")?, signal(1114)),
            _ if sql.contains("@@GLOBAL.read_only") => sql.replace("@@GLOBAL.read_only", "1"),
            _ if sql.contains("INSERT INTO") || sql.contains("UPDATE counters") => signal(1290),
            _ => return None,
        };
        Some(packet::query(&rewritten))
    }
}

/// An SQL statement that fails with this error code.
#[must_use]
pub fn signal(error: u16) -> String {
    format!("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {error}, MESSAGE_TEXT = 'by the test'")
}
