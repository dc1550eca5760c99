//! What a limit of logins leaves, for the headers that tell of it.

/// The minute in which the limits count.
pub(crate) const WINDOW_S: u64 = 60;

/// What is left of the tighter limit: for the headers of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub(crate) name: &'static str,
    pub(crate) a_minute: u32,
    pub(crate) left: u32,
    /// In how many seconds more is left.
    pub(crate) seconds: u64,
}

impl Allowance {
    /// The headers that tell of it (draft-ietf-httpapi-ratelimit-headers).
    #[must_use]
    pub fn headers(self) -> [(&'static str, String); 2] {
        let Self {
            name,
            a_minute,
            left,
            seconds,
        } = self;
        [
            (
                "RateLimit-Policy",
                format!("\"{name}\";q={a_minute};w={WINDOW_S}"),
            ),
            ("RateLimit", format!("\"{name}\";r={left};t={seconds}")),
        ]
    }
}
