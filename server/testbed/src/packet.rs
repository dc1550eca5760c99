//! The part of the MySQL protocol that the proxy needs. A packet is: length (3 bytes), sequence number (1 byte), payload.

use std::io::{self, Read};

/// Bytes before the payload.
pub(crate) const HEADER: usize = 4;
/// First byte of the payload of a packet with statements.
const QUERY: u8 = 3;

/// Reads the next packet, including its header.
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

/// The SQL of a packet with statements; `None` for other packets.
pub(crate) fn statements(packet: &[u8]) -> Option<&[u8]> {
    match packet.get(HEADER..)? {
        [QUERY, sql @ ..] => Some(sql),
        _ => None,
    }
}

/// A packet with these statements, the first of a command.
pub(crate) fn query(sql: &str) -> Vec<u8> {
    let length = u32::try_from(sql.len() + 1).expect("it is short");
    let mut packet = length.to_le_bytes()[..3].to_vec();
    packet.extend([0, QUERY]);
    packet.extend(sql.as_bytes());
    packet
}
