//! The handshake of a socket (RFC 6455, section 4.2).

use foundation::http::{Exchange, Problem};
use serde::Deserialize;
use tungstenite::handshake::derive_accept_key;
use url::Url;

use crate::message::RoomName;

/// Characters of a key: 16 bytes in base64.
const KEY_LENGTH: usize = 24;

/// The parameters of a client's request for a socket.
pub(super) struct SocketRequest {
    pub(super) client: u64,
    pub(super) room: RoomName,
    /// The number of the last message that the client has; with `None` it gets the last ones of the room.
    pub(super) after: Option<u64>,
}

#[derive(Deserialize)]
struct Query {
    group_name: String,
    after: Option<u64>,
}

/// Checks a handshake. Returns the value of `Sec-WebSocket-Accept`, and the parameters.
pub(super) fn accept(
    exchange: &Exchange,
    allowed_origins: &[String],
) -> Result<(String, SocketRequest), Problem> {
    let client = exchange.parameter("client_id")?;
    let client = Some(client).filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
    let client = client.and_then(|id| id.parse().ok());
    let client = client.ok_or_else(|| {
        Problem::new(
            400,
            "`client_id` in the path takes a whole number from 0 on.",
        )
    })?;
    let query: Query = exchange.parameters()?;
    let room = RoomName::parse(&query.group_name)
        .map_err(|refused| Problem::new(400, refused.to_string()))?;
    let key = websocket_key(exchange)?;
    check_origin(exchange, allowed_origins)?;
    let request = SocketRequest {
        client,
        room,
        after: query.after,
    };
    Ok((derive_accept_key(key.as_bytes()), request))
}

fn websocket_key(exchange: &Exchange) -> Result<&str, Problem> {
    // In the first header only, because the HTTP server decides by it whether another request follows.
    let has_token = |name, token: &str| {
        let mut tokens = exchange
            .headers(name)
            .take(1)
            .flat_map(|value| value.split(','));
        tokens.any(|listed| listed.trim().eq_ignore_ascii_case(token))
    };
    if !exchange.may_upgrade()
        || !has_token("Connection", "upgrade")
        || !has_token("Upgrade", "websocket")
    {
        return Err(upgrade_required(
            "This is for sockets: ask to upgrade to `websocket`, with `GET` in HTTP/1.1, and in one `Connection` header.",
        ));
    }
    if !exchange.headers("Sec-WebSocket-Version").eq(["13"]) {
        return Err(upgrade_required(
            "The only version of WebSocket taken is 13.",
        ));
    }
    let mut keys = exchange.headers("Sec-WebSocket-Key");
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => Ok(key),
        _ => Err(Problem::new(
            400,
            "Send one `Sec-WebSocket-Key` of 16 bytes in base64.",
        )),
    }
}

fn upgrade_required(detail: &'static str) -> Problem {
    // Sections 4.2.2 and 4.4, and RFC 9110, section 15.5.22.
    Problem::new(426, detail)
        .with_header("Upgrade", "websocket")
        .with_header("Sec-WebSocket-Version", "13")
}

fn is_key(key: &str) -> bool {
    let in_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let digits = key.strip_suffix("==").unwrap_or_default();
    key.len() == KEY_LENGTH && digits.bytes().all(in_base64)
}

/// Refuses pages of other sites, which could otherwise write in the name of the user who views them (section 10.2). Clients other
/// than browsers send no origin.
fn check_origin(exchange: &Exchange, allowed: &[String]) -> Result<(), Problem> {
    let Some(origin) = exchange.headers("Origin").next() else {
        return Ok(());
    };
    let host = exchange.headers("Host").next().unwrap_or_default();
    if is_own(origin, host)
        || allowed
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin))
    {
        return Ok(());
    }
    Err(Problem::new(
        403,
        "Pages of this origin may not open sockets here.",
    ))
}

/// Whether an origin is that of this host. The scheme is not compared, because a proxy may terminate TLS.
fn is_own(origin: &str, host: &str) -> bool {
    let Ok(origin) = Url::parse(origin) else {
        return false;
    };
    let own = Url::parse(&format!("{}://{host}", origin.scheme()));
    own.is_ok_and(|own| own.origin() == origin.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_16_bytes_in_base64() {
        for (key, taken) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("dGhlIHNhbXBsZSBub25jZQ=", false),
            ("dGhlIHNhbXBsZSBub25jZ===", false),
            ("dGhlIHNhbXBsZSBub25j ZQ==", false),
            ("", false),
        ] {
            assert_eq!(is_key(key), taken, "{key}");
        }
    }

    #[test]
    fn an_origin_is_the_own_whether_it_names_the_default_port_or_not() {
        for (origin, host, own) in [
            ("http://a.example", "A.example", true),
            ("http://a.example", "a.example:80", true),
            ("https://a.example", "a.example:443", true),
            ("http://[::1]", "[::1]:80", true),
            ("http://a.example:8000", "a.example:8000", true),
            ("http://a.example", "a.example:443", false),
            ("https://a.example", "a.example:80", false),
            ("http://a.example", "a.example:8080", false),
            ("http://a.example", "b.example", false),
            ("null", "null", false),
        ] {
            assert_eq!(is_own(origin, host), own, "{origin} on {host}");
        }
    }
}
