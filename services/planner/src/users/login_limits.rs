//! Rate limits of login attempts: per login, from any address, and per address, for any login.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// The key of a limit: 16 bits of a hash whose keys are random in each process. It bounds the memory; keys with the same bits
/// share a limit.
type Bucket = u16;

/// The window of the limits, in seconds.
const WINDOW_S: u64 = 60;

/// The state of the tighter limit, for the headers of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitStatus {
    name: &'static str,
    per_minute: u32,
    remaining: u32,
    /// Seconds until all attempts are available again; past the limit, until one is.
    pub reset_s: u64,
}

impl RateLimitStatus {
    /// The response headers (draft-ietf-httpapi-ratelimit-headers).
    #[must_use]
    pub fn headers(self) -> [(&'static str, String); 2] {
        let Self {
            name,
            per_minute,
            remaining,
            reset_s,
        } = self;
        [
            (
                "RateLimit-Policy",
                format!("\"{name}\";q={per_minute};w={WINDOW_S}"),
            ),
            ("RateLimit", format!("\"{name}\";r={remaining};t={reset_s}")),
        ]
    }
}

/// The limits per login and per address.
pub struct LoginLimits {
    by_login: Limit,
    by_address: Limit,
    hash: RandomState,
}

struct Limit {
    limiter: DefaultKeyedRateLimiter<Bucket, StateInformationMiddleware>,
    name: &'static str,
    per_minute: NonZeroU32,
}

impl LoginLimits {
    /// Makes the limits, in attempts per minute, at once or spread.
    #[must_use]
    pub fn new(by_login: NonZeroU32, by_address: NonZeroU32) -> Self {
        Self {
            by_login: Limit::new("login", by_login),
            by_address: Limit::new("address", by_address),
            hash: RandomState::new(),
        }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub fn check(&self, login: &str, address: IpAddr) -> Result<RateLimitStatus, RateLimitStatus> {
        let by_address = self.by_address.check(self.bucket(&network(address)))?;
        let by_login = self.by_login.check(self.bucket(&login))?;
        Ok(if by_login.remaining <= by_address.remaining {
            by_login
        } else {
            by_address
        })
    }

    fn bucket(&self, key: &impl Hash) -> Bucket {
        let [first, second, ..] = self.hash.hash_one(key).to_le_bytes();
        Bucket::from_le_bytes([first, second])
    }
}

/// The key of an address. An IPv6 address counts by its /64, because one customer of a provider has a whole /64.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

impl Limit {
    fn new(name: &'static str, per_minute: NonZeroU32) -> Self {
        let limiter = RateLimiter::keyed(Quota::per_minute(per_minute));
        Self {
            limiter: limiter.with_middleware(),
            name,
            per_minute,
        }
    }

    fn check(&self, bucket: Bucket) -> Result<RateLimitStatus, RateLimitStatus> {
        let status = |remaining, reset_s| RateLimitStatus {
            name: self.name,
            per_minute: self.per_minute.get(),
            remaining,
            reset_s,
        };
        match self.limiter.check_key(&bucket) {
            Ok(state) => Ok(status(state.remaining_burst_capacity(), WINDOW_S)),
            Err(refused) => {
                let wait: Duration = refused.wait_time_from(DefaultClock::default().now());
                // Rounded up, to at least one second, so that the wait is over then.
                Err(status(0, wait.as_secs() + 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn limits(by_login: u32, by_address: u32) -> LoginLimits {
        let count = |count| NonZeroU32::new(count).expect("the test gives more than none");
        LoginLimits::new(count(by_login), count(by_address))
    }

    #[test]
    fn a_login_is_tried_so_often_from_wherever() {
        let limits = limits(3, 100);
        for host in 1..=3 {
            let remaining = limits.check("ivan", Ipv4Addr::new(10, 0, 0, host).into());
            assert_eq!(
                remaining.map(|remaining| remaining.remaining),
                Ok(3 - u32::from(host))
            );
        }
        let refused = limits.check("ivan", Ipv4Addr::new(10, 0, 0, 9).into());
        let refused = refused.expect_err("it was tried so often");
        assert!((1..=20).contains(&refused.reset_s), "{refused:?}");
        assert_eq!(refused.remaining, 0);
    }

    #[test]
    fn an_address_tries_so_often_whatever_logins() {
        let limits = limits(100, 3);
        let in_one_network = |host| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).into();
        for host in 1..=3 {
            assert!(
                limits
                    .check(&format!("user{host}"), in_one_network(host))
                    .is_ok()
            );
        }
        assert!(limits.check("user4", in_one_network(4)).is_err());
    }
}
