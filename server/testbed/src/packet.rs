//! The MySQL protocol, as far as it is looked at: three bytes length, one byte number, content.

use std::io::{self, Read};

/// Bytes before the content.
pub(crate) const HEADER: usize = 4;
/// First byte of a packet with statements.
const QUERY: u8 = 3;

/// Reads the next packet, its header included.
pub(crate) fn read(from: &mut impl Read, packet: &mut Vec<u8>) -> io::Result<()> {
    packet.resize(HEADER, 0);
    from.read_exact(packet)?;
    let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]);
    let read = from.take(length.into()).read_to_end(packet)?;
    if read == length as usize {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// The text of a packet with statements; `None` if it is another.
pub(crate) fn statements(packet: &[u8]) -> Option<&[u8]> {
    match packet.get(HEADER..)? {
        [QUERY, sql @ ..] => Some(sql),
        _ => None,
    }
}

/// The first packet of a command, with these statements.
pub(crate) fn query(sql: &str) -> Vec<u8> {
    let length = u32::try_from(sql.len() + 1).expect("it is short");
    let mut packet = length.to_le_bytes()[..3].to_vec();
    packet.extend([0, QUERY]);
    packet.extend(sql.as_bytes());
    packet
}
