//! What the host at the end of a proxy is like.

use crate::packet;

/// How a host behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HostStatus {
    /// It is as the real one.
    #[default]
    TakesWrites,
    /// It says so when asked, and refuses writes, as a secondary does.
    ReadOnly,
    /// It refuses `COMMIT`, for want of space.
    Full,
    /// It takes connections, and says nothing.
    Silent,
    /// It hangs up on all, and on whoever comes.
    Away,
}

impl HostStatus {
    /// What a host like this makes of a packet; `None` if it takes it as it is.
    pub(super) fn changed(self, packet: &[u8]) -> Option<Vec<u8>> {
        if !matches!(self, Self::ReadOnly | Self::Full) {
            return None;
        }
        let sql = str::from_utf8(packet::statements(packet)?).ok()?;
        let changed = match self {
            Self::Full => format!("{}{}", sql.strip_suffix("COMMIT")?, signal(1114)),
            _ if sql.contains("@@GLOBAL.read_only") => sql.replace("@@GLOBAL.read_only", "1"),
            _ if sql.contains("INSERT INTO") || sql.contains("UPDATE counters") => signal(1290),
            _ => return None,
        };
        Some(packet::query(&changed))
    }
}

/// A statement that fails with this error.
#[must_use]
pub fn signal(error: u16) -> String {
    format!("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {error}, MESSAGE_TEXT = 'by the test'")
}
