//! Parses the values of options into types that are always valid.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use url::{Host, Url};

use crate::traffic::MAX_SEED;

const PLAIN_NAMES: [&str; 10] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy",
];
/// The greatest number of users. More would not change the load, and only make the tables longer.
const MAX_USERS: usize = 100_000;
/// The greatest length of a user's name in characters: the server's limit.
const MAX_NAME_LENGTH: usize = 64;
/// The greatest rate in requests per second: more than any program can send.
const MAX_RATE: f64 = 1e9;
/// The greatest duration in seconds, a day: a longer one is most likely a mistake.
const MAX_DURATION_S: f64 = 86_400.0;

/// The advice for a URL without a host.
const EXAMPLE: &str = "a replica's URL names a host, like http://127.0.0.1:8001";

/// The address of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The URL in the standard's normal form: `http://host`, with `:port` if that is not 80.
    pub(crate) url: String,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl Target {
    /// Returns the value of the `Host` header.
    pub(crate) fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

impl FromStr for Target {
    type Err = String;

    /// Parses `http://host[:port]` and nothing more. The standard's parser accepts malformed URLs and reads some of them
    /// differently from what they look like, so these are rejected first.
    fn from_str(value: &str) -> Result<Self, String> {
        let value = value.trim();
        let Some((scheme, rest)) = value.split_once("://") else {
            return Err(format!(
                "a replica's URL begins with http://: try http://{value}"
            ));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => {
                return Err(format!(
                    "this client speaks plain HTTP only: try http://{rest}"
                ));
            }
            _ => return Err(format!("not {scheme}: try http://{rest}")),
        }
        if rest.starts_with(['/', '\\']) {
            return Err(EXAMPLE.to_owned());
        }
        let url = Url::parse(value).map_err(|error| format!("{error}: {EXAMPLE}"))?;
        let surplus = [
            (
                url.query().is_some(),
                "no query here: leave out the ? and what follows",
            ),
            (
                url.fragment().is_some(),
                "no fragment here: leave out the # and what follows",
            ),
            (
                url.path() != "/",
                "no path here, /messages is understood: leave out what follows the host and its port",
            ),
            (
                value.contains('@'),
                "no user name and password here: leave out what stands before the @",
            ),
            (
                url.port() == Some(0),
                "nobody listens at port 0: name the replica's port",
            ),
        ];
        if let Some((_, advice)) = surplus.into_iter().find(|(is_present, _)| *is_present) {
            return Err(advice.to_owned());
        }
        Ok(Self {
            url: url.origin().ascii_serialization(),
            host: url.host().ok_or(EXAMPLE)?.to_owned(),
            port: url.port_or_known_default().ok_or(EXAMPLE)?,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url)
    }
}

/// The names of the users that send.
#[derive(Debug, Clone)]
pub(crate) struct Users(pub(crate) Vec<String>);

/// Parses a number of users or their names: `10`, or `alice,bob`.
pub(super) fn users(value: &str) -> Result<Users, String> {
    if let Ok(count) = value.trim().parse::<usize>() {
        if !(1..=MAX_USERS).contains(&count) {
            return Err(format!("from 1 to {MAX_USERS} users"));
        }
        let name = |index: usize| match PLAIN_NAMES.get(index) {
            Some(name) => (*name).to_owned(),
            None => format!("user{}", index + 1),
        };
        return Ok(Users((0..count).map(name).collect()));
    }
    let names: Vec<String> = value
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    let mut known = HashSet::with_capacity(names.len());
    for name in &names {
        if name.is_empty()
            || name.chars().count() > MAX_NAME_LENGTH
            || name.contains(char::is_control)
        {
            return Err(format!(
                "{name:?} is no user name: 1 to {MAX_NAME_LENGTH} characters, none of them a control character"
            ));
        }
        if !known.insert(name) {
            return Err(format!("{name:?} stands there twice"));
        }
    }
    Ok(Users(names))
}

/// Parses a duration: `10`, `2.5s`, `500ms`, `3m`, `1h`.
pub(super) fn duration(value: &str) -> Result<Duration, String> {
    let value = value.trim();
    let digits = value
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let factor = match unit.trim() {
        "" | "s" => 1.0,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("no unit of time: {other:?}; use us, ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|error: std::num::ParseFloatError| {
        format!("{error}: try 10, 2.5s, 500ms or 3m")
    })?;
    let seconds = number * factor;
    if seconds <= 0.0 || seconds > MAX_DURATION_S {
        return Err("more than nothing, and at most 24h".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Parses a seed, which is small enough for every JSON reader to keep it exactly.
pub(super) fn seed(value: &str) -> Result<u64, String> {
    match value.trim().parse() {
        Ok(seed) if seed <= MAX_SEED => Ok(seed),
        _ => Err(format!("a whole number, at most {MAX_SEED}")),
    }
}

/// Parses a positive number of requests per second.
pub(super) fn rate(value: &str) -> Result<f64, String> {
    match value.trim().parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= MAX_RATE => Ok(rate),
        _ => Err(format!("a number of requests a second, up to {MAX_RATE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        for (value, authority, port) in [
            ("http://127.0.0.1:8001", "127.0.0.1:8001", 8001),
            ("http://127.0.0.1:8001/", "127.0.0.1:8001", 8001),
            (" HTTP://LocalHost:65535", "localhost:65535", 65535),
            ("http://example.org", "example.org", 80),
            ("http://example.org:80/", "example.org", 80),
            ("http://[::1]:9", "[::1]:9", 9),
            ("http://[::1]", "[::1]", 80),
            (
                "http://bücher.example:8001",
                "xn--bcher-kva.example:8001",
                8001,
            ),
        ] {
            let target: Target = value.parse().expect(value);
            assert_eq!((target.authority(), target.port), (authority, port));
            assert_eq!(target.url, format!("http://{authority}"));
        }
    }

    #[test]
    fn a_wrong_url_says_what_to_write() {
        for (value, advice) in [
            ("127.0.0.1:8001", "try http://127.0.0.1:8001"),
            ("https://host:1", "try http://host:1"),
            ("ftp://host", "try http://host"),
            ("http://", "names a host"),
            ("http://a:b@host", "before the @"),
            ("http://host/?a=1", "no query"),
            ("http://host/#a", "no fragment"),
            ("http://host:280011", "invalid port number"),
            ("http://host:8001x", "invalid port number"),
            ("http://host:-1", "invalid port number"),
            ("http://[::1]:65536", "invalid port number"),
            ("http://host:0", "port 0"),
            ("http://host:8001/messages", "no path"),
            ("http://host:8001//", "no path"),
            ("http://:8001", "names a host"),
            ("http:///host", "names a host"),
            ("http:host", "try http://"),
            ("http://@host", "before the @"),
            ("http://[::1", "invalid IPv6 address"),
            ("http://a b", "invalid"),
            ("HTTPS://host:1", "try http://host:1"),
        ] {
            let error = value.parse::<Target>().expect_err(value);
            assert!(error.contains(advice), "{value}: {error}");
        }
    }

    #[test]
    fn users_are_a_number_or_names() {
        assert_eq!(users("2").expect("a number").0, ["alice", "bob"]);
        assert_eq!(users("12").expect("a number").0[11], "user12");
        assert_eq!(users("zoë, bob").expect("names").0, ["zoë", "bob"]);
        for wrong in ["0", "100001", "a,,b", "a,a", ""] {
            assert!(users(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn times_have_units() {
        for (value, milliseconds) in [
            ("10", 10_000),
            ("2.5s", 2_500),
            ("500ms", 500),
            ("1m", 60_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(duration(value), Ok(Duration::from_millis(milliseconds)));
        }
        for wrong in ["", "s", "0", "25h", "-1", "1 day", "1.2.3"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }
}
