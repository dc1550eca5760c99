//! Requests: where they end, and what their headers and bodies say.

use std::io::{self, ErrorKind, Read, Take};
use std::net::Ipv4Addr;
use std::time::Instant;

use tiny_http::{HTTPVersion, Header, Request};
use uuid::Uuid;

use super::problem::Problem;
use super::response::CLOSE;

/// Bodies up to this many bytes are read by `tiny_http` before it hands a request over.
const READ_AHEAD: usize = 1024;

/// The path and the query of a target, which may be in absolute form, as for a proxy (RFC 9112, section 3.2.2).
pub(super) fn path_and_query(target: &str) -> (&str, &str) {
    let origin_form = match target.split_once("://") {
        Some((_scheme, rest)) if !target.starts_with('/') => {
            rest.find('/').map_or("/", |path| &rest[path..])
        }
        _ => target,
    };
    origin_form.split_once('?').unwrap_or((origin_form, ""))
}

/// Whether [`read_body`] returns without waiting for the client: the body is in memory, or is refused unread.
pub(super) fn needs_no_waiting(request: &Request, limit: usize) -> bool {
    is_in_memory(request) || request.body_length().is_some_and(|length| length > limit)
}

/// Whether the whole body is in memory.
pub(super) fn is_in_memory(request: &Request) -> bool {
    match request.body_length() {
        Some(0) => true,
        Some(length) => {
            length <= READ_AHEAD && header(request, "Expect").is_none() && !wants_upgrade(request)
        }
        None => header(request, "Transfer-Encoding").is_none(),
    }
}

/// Reads the body, at most `limit` bytes whatever length is declared, and begins no read after `deadline`. To be called after
/// [`check_framing`].
pub(super) fn read_body(
    request: &mut Request,
    limit: usize,
    deadline: Instant,
) -> Result<Vec<u8>, Problem> {
    let chunked = header(request, "Transfer-Encoding").is_some();
    let declared = request.body_length().unwrap_or(0);
    if !chunked && declared == 0 {
        return Ok(Vec::new());
    }
    if declared > limit {
        return Err(too_large(limit));
    }
    // Of a chunked body one byte more than allowed, to see that it is too large. With `Connection: upgrade` the reader of
    // tiny_http does not end where the body does.
    let most = if chunked {
        limit.saturating_add(1)
    } else {
        declared
    };
    let mut body = Vec::with_capacity(declared);
    let is_in_memory = is_in_memory(request);
    let mut rest = request.as_reader().take(most as u64);
    let read = if is_in_memory {
        rest.read_to_end(&mut body)
    } else {
        read_in_time(rest, &mut body, deadline)
    };
    match read {
        Ok(length) if length > limit => Err(too_large(limit)),
        Ok(length) if length < declared => Err(ended_early()),
        Ok(_) => Ok(body),
        Err(error) if error.kind() == ErrorKind::TimedOut => Err(too_slow()),
        Err(_gone_or_malformed_chunk) => Err(ended_early()),
    }
}

/// Reads to the end, with a time limit for the whole: the time-out of the socket is for one read, so a client that sends a byte
/// now and then would hold the thread for ever. A complete body is never late.
fn read_in_time(
    mut from: Take<impl Read>,
    into: &mut Vec<u8>,
    deadline: Instant,
) -> io::Result<usize> {
    let mut some = [0; 8 << 10];
    while from.limit() > 0 {
        match from.read(&mut some)? {
            0 => break,
            length => into.extend_from_slice(&some[..length]),
        }
        if from.limit() > 0 && Instant::now() >= deadline {
            return Err(ErrorKind::TimedOut.into());
        }
    }
    Ok(into.len())
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("The body is larger than {limit} bytes. Send a shorter one.");
    Problem::new(413, detail)
}

fn too_slow() -> Problem {
    Problem::new(
        400,
        "The body did not come in time. Send it faster, or a shorter one.",
    )
}

fn ended_early() -> Problem {
    Problem::new(
        400,
        "The body ended before its declared length, or its chunks are malformed.",
    )
}

/// Refuses requests that `tiny_http` reads differently from others, so that a proxy could see another end or another target (RFC
/// 9112, sections 2.2, 2.3, 3.2 and 6.3).
pub(super) fn check_framing(request: &Request) -> Result<(), Problem> {
    let refuse = |detail: &'static str| Err(Problem::new(400, detail));
    // `parse` alone would accept a sign.
    let is_number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok();
    if *request.http_version() < HTTPVersion(1, 0) {
        return refuse("The only HTTP versions taken are 1.0 and 1.1.");
    }
    if !request.headers().iter().all(is_clean) {
        return refuse("A header has no name, or contains a control character.");
    }
    let mut hosts = headers(request, "Host");
    match (hosts.next(), hosts.next()) {
        (None, _) if *request.http_version() == HTTPVersion(1, 0) => {}
        (Some(host), None) if is_host(host) => {}
        _ => {
            return refuse(
                "Send one `Host`, with the name of this server, and the port if need be.",
            );
        }
    }
    let mut lengths = headers(request, "Content-Length");
    let mut encodings = headers(request, "Transfer-Encoding");
    match (lengths.next(), encodings.next()) {
        (Some(_), Some(_)) => {
            refuse("Send either `Content-Length` or `Transfer-Encoding`, not both.")
        }
        (Some(length), None) if !is_number(length) => refuse("`Content-Length` is not a number."),
        // In HTTP/1.0 tiny_http reads it as chunked; with an upgrade it does not.
        (None, Some(_))
            if *request.http_version() == HTTPVersion(1, 0) || wants_upgrade(request) =>
        {
            refuse(
                "In HTTP/1.0, and with `Connection: upgrade`, send a body with `Content-Length`.",
            )
        }
        (None, Some(encoding)) if !encoding.eq_ignore_ascii_case("chunked") => {
            refuse("The only `Transfer-Encoding` taken is `chunked`.")
        }
        _ if lengths.next().is_some() || encodings.next().is_some() => {
            refuse("Send `Content-Length` or `Transfer-Encoding` once.")
        }
        _ => Ok(()),
    }
}

/// Whether a header has no control characters: a proxy may take a single line feed for its end.
fn is_clean(header: &Header) -> bool {
    let name = header.field.as_str().as_str();
    let value = header.value.as_str();
    let taken = |byte: u8| !byte.is_ascii_control() || byte == b'\t';
    !name.is_empty() && name.bytes().all(taken) && value.bytes().all(taken)
}

/// Whether it is a host and perhaps a port (RFC 9110, section 7.2).
fn is_host(value: &str) -> bool {
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (value, ""),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let fits = port.is_empty() || port.parse::<u16>().is_ok();
    // The URL standard allows a comma, after which another host may stand.
    is_port && fits && (is_usual(host) || !host.contains(',') && url::Host::parse(host).is_ok())
}

/// Whether it is an IPv4 address or a plain ASCII name, which need no Unicode tables.
fn is_usual(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-' || byte == b'.';
    host.parse::<Ipv4Addr>().is_ok()
        || (!host.is_empty() && !host.contains("--") && host.bytes().all(is_plain))
}

/// The type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Json,
    /// As HTML forms send it.
    Form,
}

/// Refuses a body of another type, or with a `Content-Encoding`. Without `Content-Type` it is taken for JSON.
pub(super) fn check_content(request: &Request, content: Content) -> Result<(), Problem> {
    let mut codings = headers(request, "Content-Encoding").flat_map(|value| value.split(','));
    if codings.any(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
        return Err(
            Problem::new(415, "Send the body as it is, without a `Content-Encoding`.")
                .with_header("Accept-Encoding", "identity"),
        );
    }
    let declared = header(request, "Content-Type");
    let essence = declared.map(|value| value.split(';').next().unwrap_or_default().trim());
    let is_form = |essence: &str| essence.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let is_json = |essence: &str| {
        essence.eq_ignore_ascii_case("application/json") || {
            let essence = essence.to_ascii_lowercase();
            essence.starts_with("application/") && essence.ends_with("+json")
        }
    };
    match content {
        Content::Json if essence.is_none_or(is_json) => Ok(()),
        Content::Json => Err(Problem::new(
            415,
            "Send the body as JSON, with `Content-Type: application/json`.",
        )),
        Content::Form if essence.is_some_and(is_form) => Ok(()),
        Content::Form => Err(Problem::new(
            415,
            "Send a form, with `Content-Type: application/x-www-form-urlencoded`.",
        )),
    }
}

/// Parses the value of an `Idempotency-Key`.
pub(super) fn parse_key(value: &str) -> Result<Uuid, Problem> {
    let bare = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value);
    match Uuid::try_parse(bare) {
        Ok(key) if bare.len() == uuid::fmt::Hyphenated::LENGTH => Ok(key),
        _ => Err(Problem::new(
            400,
            "`Idempotency-Key` is not a UUID like 123e4567-e89b-42d3-a456-426614174000.",
        )),
    }
}

/// The `Connection` header of the response. Without one, the default of HTTP/1.1 holds.
pub(super) fn connection(request: &Request) -> Option<&'static str> {
    let asked = header(request, "Connection").map(str::to_ascii_lowercase);
    let asked_for = |word| asked.as_ref().is_some_and(|asked| asked.contains(word));
    match request.http_version() {
        _ if asked_for("close") || asked_for("upgrade") => CLOSE,
        HTTPVersion(1, 0) if asked_for("keep-alive") => Some("keep-alive"),
        HTTPVersion(1, 0) => CLOSE,
        _ => None,
    }
}

fn wants_upgrade(request: &Request) -> bool {
    header(request, "Connection")
        .is_some_and(|value| value.to_ascii_lowercase().contains("upgrade"))
}

fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    headers(request, name).next()
}

pub(super) fn headers<'a>(
    request: &'a Request,
    name: &'static str,
) -> impl Iterator<Item = &'a str> {
    request
        .headers()
        .iter()
        .filter(move |header| header.field.equiv(name))
        .map(|header| header.value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_body_that_is_not_complete_is_late() {
        let past = Instant::now();
        for (length, read) in [(4, Ok(4)), (5, Err(ErrorKind::TimedOut))] {
            let body = b"body".take(length);
            let result = read_in_time(body, &mut Vec::new(), past);
            assert_eq!(result.map_err(|error| error.kind()), read);
        }
    }

    #[test]
    fn a_key_is_a_hyphenated_uuid_with_or_without_quotes() {
        let id = "123e4567-e89b-42d3-a456-426614174000";
        let quoted = format!("\"{id}\"");
        for taken in [id, &id.to_uppercase(), &quoted] {
            let key = parse_key(taken).map(|key| key.to_string());
            assert_eq!(key.as_deref(), Ok(id), "{taken}");
        }
        let bare = id.replace('-', "");
        for refused in [
            "",
            "\"",
            "x",
            &quoted[1..],
            &bare,
            &format!("{{{id}}}"),
            &format!("urn:uuid:{id}"),
        ] {
            assert!(parse_key(refused).is_err(), "{refused}");
        }
    }
}
