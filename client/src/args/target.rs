//! Values of options, parsed into types that need no second look.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;

use super::Users;

const PLAIN_NAMES: [&str; 10] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy",
];
/// More users than this make no other load, only longer tables.
const MOST_USERS: usize = 100_000;
/// The server's own limit.
const LONGEST_NAME: usize = 64;
/// More than any program sends.
const HIGHEST_RATE: f64 = 1e9;
/// A day: longer is a slip of the pen.
const LONGEST_DURATION_S: f64 = 86_400.0;

/// A replica: where to connect, and what to ask for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// As given, for tables.
    pub(crate) url: String,
    /// Without brackets, as the resolver wants it.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The `Host` header.
    pub(crate) authority: String,
    /// The path of the messages.
    pub(crate) path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let url = given.trim();
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", rest)) => {
                return Err(format!(
                    "this client speaks plain HTTP only: try http://{rest}"
                ));
            }
            Some((scheme, rest)) => return Err(format!("not {scheme}: try http://{rest}")),
            None => {
                return Err(format!(
                    "a replica's URL begins with http://: try http://{url}"
                ));
            }
        };
        if rest.trim_matches('/').is_empty() {
            return Err("a URL names a host, like http://127.0.0.1:8001".into());
        }
        let uri: Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
        let authority = uri
            .authority()
            .ok_or("a URL names a host, like http://127.0.0.1:8001")?;
        if authority.as_str().contains('@') {
            return Err(
                "no user name and password here: leave out what stands before the @".into(),
            );
        }
        if uri.query().is_some() {
            return Err("no query here: leave out the ? and what follows".into());
        }
        let host = authority.host();
        if host.is_empty() {
            return Err("a URL names a host, like http://127.0.0.1:8001".into());
        }
        if rest.is_empty() {
            return Err("a URL names a host, like http://127.0.0.1:8001".into());
        }
        let url = url.trim_end_matches('/');
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            url: url.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: authority.to_string(),
            path: if path.ends_with("/messages") {
                path.to_owned()
            } else {
                format!("{path}/messages")
            },
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url)
    }
}

/// `10`, or `alice,bob`.
pub(super) fn users(given: &str) -> Result<Users, String> {
    if let Ok(count) = given.trim().parse::<usize>() {
        if !(1..=MOST_USERS).contains(&count) {
            return Err(format!("from 1 to {MOST_USERS} users"));
        }
        let name = |index: usize| match PLAIN_NAMES.get(index) {
            Some(name) => (*name).to_owned(),
            None => format!("user{}", index + 1),
        };
        return Ok(Users((0..count).map(name).collect()));
    }
    let names: Vec<String> = given
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.contains(char::is_control)
        {
            return Err(format!(
                "{name:?} is no user name: 1 to {LONGEST_NAME} characters, none of them a control character"
            ));
        }
        if names[..index].contains(name) {
            return Err(format!("{name:?} stands there twice"));
        }
    }
    Ok(Users(names))
}

/// `10`, `2.5s`, `500ms`, `3m`, `1h`.
pub(super) fn duration(given: &str) -> Result<Duration, String> {
    let given = given.trim();
    let digits = given
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(given.len());
    let (number, unit) = given.split_at(digits);
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
    if seconds <= 0.0 || seconds > LONGEST_DURATION_S {
        return Err("more than nothing, and at most 24h".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A positive number of requests a second.
pub(super) fn rate(given: &str) -> Result<f64, String> {
    match given.trim().parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= HIGHEST_RATE => Ok(rate),
        _ => Err(format!(
            "a number of requests a second, up to {HIGHEST_RATE}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_means_its_messages() {
        for (given, host, port, path) in [
            ("http://127.0.0.1:8001", "127.0.0.1", 8001, "/messages"),
            ("http://127.0.0.1:8001/", "127.0.0.1", 8001, "/messages"),
            (
                "http://localhost:8001/messages",
                "localhost",
                8001,
                "/messages",
            ),
            (
                "http://example.org/chat/",
                "example.org",
                80,
                "/chat/messages",
            ),
            ("http://[::1]:9", "::1", 9, "/messages"),
        ] {
            let target: Target = given.parse().expect(given);
            assert_eq!(
                (target.host.as_str(), target.port, target.path.as_str()),
                (host, port, path)
            );
        }
    }

    #[test]
    fn a_wrong_url_says_what_to_write() {
        for (given, advice) in [
            ("127.0.0.1:8001", "try http://127.0.0.1:8001"),
            ("https://host:1", "try http://host:1"),
            ("ftp://host", "try http://host"),
            ("http://", "names a host"),
            ("http://a:b@host", "before the @"),
            ("http://host/?a=1", "no query"),
        ] {
            let error = given.parse::<Target>().expect_err(given);
            assert!(error.contains(advice), "{given}: {error}");
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
        for (given, milliseconds) in [
            ("10", 10_000),
            ("2.5s", 2_500),
            ("500ms", 500),
            ("1m", 60_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(duration(given), Ok(Duration::from_millis(milliseconds)));
        }
        for wrong in ["", "s", "0", "25h", "-1", "1 day", "1.2.3"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }
}
