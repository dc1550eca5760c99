//! How often one may try to log in: for each login, whoever tries it, and for each address, whatever login it tries.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Limits count by 16 bits of a hash that is another in each process, so that their memory is bounded whatever is tried.
/// Who shares the bits shares the limit.
type Bucket = u16;

/// The minute in which the limits count.
const WINDOW_S: u64 = 60;

/// What is left of the tighter limit: for the headers of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    name: &'static str,
    a_minute: u32,
    left: u32,
    /// In how many seconds more is left.
    pub seconds: u64,
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

/// Tries of a login, and tries from an address.
pub struct LoginLimits {
    of_login: Limit,
    of_address: Limit,
    hash: RandomState,
}

struct Limit {
    limiter: DefaultKeyedRateLimiter<Bucket, StateInformationMiddleware>,
    name: &'static str,
    a_minute: NonZeroU32,
}

impl LoginLimits {
    /// So many tries a minute, all at once or spread.
    #[must_use]
    pub fn new(of_login: NonZeroU32, of_address: NonZeroU32) -> Self {
        Self {
            of_login: Limit::new("login", of_login),
            of_address: Limit::new("address", of_address),
            hash: RandomState::new(),
        }
    }

    /// Counts a try. Past a limit, gives that one as an error.
    pub fn check(&self, login: &str, address: IpAddr) -> Result<Allowance, Allowance> {
        let of_address = self.of_address.check(self.bucket(&network(address)))?;
        let of_login = self.of_login.check(self.bucket(&login))?;
        Ok(if of_login.left <= of_address.left {
            of_login
        } else {
            of_address
        })
    }

    fn bucket(&self, key: &impl Hash) -> Bucket {
        let [first, second, ..] = self.hash.hash_one(key).to_le_bytes();
        Bucket::from_le_bytes([first, second])
    }
}

/// One customer of a provider has a whole /64 of IPv6.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

impl Limit {
    fn new(name: &'static str, a_minute: NonZeroU32) -> Self {
        let limiter = RateLimiter::keyed(Quota::per_minute(a_minute));
        Self {
            limiter: limiter.with_middleware(),
            name,
            a_minute,
        }
    }

    fn check(&self, bucket: Bucket) -> Result<Allowance, Allowance> {
        let allowance = |left, seconds| Allowance {
            name: self.name,
            a_minute: self.a_minute.get(),
            left,
            seconds,
        };
        match self.limiter.check_key(&bucket) {
            Ok(state) => Ok(allowance(state.remaining_burst_capacity(), WINDOW_S)),
            Err(refused) => {
                let wait: Duration = refused.wait_time_from(DefaultClock::default().now());
                // Whole seconds, at least one, after which the time is over.
                Err(allowance(0, wait.as_secs() + 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn limits(of_login: u32, of_address: u32) -> LoginLimits {
        let count = |count| NonZeroU32::new(count).expect("the test gives more than none");
        LoginLimits::new(count(of_login), count(of_address))
    }

    #[test]
    fn a_login_is_tried_so_often_from_wherever() {
        let limits = limits(3, 100);
        for host in 1..=3 {
            let left = limits.check("ivan", Ipv4Addr::new(10, 0, 0, host).into());
            assert_eq!(left.map(|left| left.left), Ok(3 - u32::from(host)));
        }
        let refused = limits.check("ivan", Ipv4Addr::new(10, 0, 0, 9).into());
        let refused = refused.expect_err("it was tried so often");
        assert!((1..=20).contains(&refused.seconds), "{refused:?}");
        assert_eq!(refused.left, 0);
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
