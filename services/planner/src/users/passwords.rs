//! Password hashing: argon2id, on one thread per core, with a lower priority than all other work.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use foundation::telemetry::Reporter;
use foundation::thread_pool::ThreadPool;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::process::setpriority_process;

use crate::error::Error;
use crate::users::user::Password;

/// OWASP's first recommendation for argon2id (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

/// The most queued requests per core: at some 30 ms each, the last of them waits for a quarter of a second. This bounds how long
/// a flood of wrong logins delays other logins.
const MAX_QUEUED_PER_CORE: usize = 8;
/// Hashing threads get about a tenth of a core that other threads want as well (`man 7 sched`), and all of an idle core. So wrong
/// logins take little from requests with good tokens.
const NICE: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// Hashes and checks passwords. Each takes 19 MiB and some tens of milliseconds of a core, so at most one per core runs at a
/// time, and the queue is bounded.
pub struct Passwords {
    threads: ThreadPool<Job>,
    max_in_flight: usize,
    /// Each job, queued or running, holds a clone until it ends, even by a panic.
    in_flight: Arc<()>,
    /// The hash that an unknown user's password is compared with, so that it takes as long.
    dummy_hash: String,
    refusals: Reporter,
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = ThreadPool::new("password", cores, |job: Job| {
            // On Linux this concerns only the thread. Lowering the priority needs no privilege.
            let _ = setpriority_process(None, NICE);
            job();
        });
        Self {
            threads,
            max_in_flight: cores * (1 + MAX_QUEUED_PER_CORE),
            in_flight: Arc::default(),
            dummy_hash: hash(""),
            refusals: Reporter::default(),
        }
    }
}

impl Passwords {
    /// The hash of a password, with a new salt. Waits in the queue.
    pub fn hash(&self, password: &Password, deadline: Instant) -> Result<String, Error> {
        let password = password.clone();
        self.run_in_pool(deadline, move || hash(&password.0))
    }

    /// Whether `hash` is of this password. Without a hash the result is false, and takes as long. Waits in the queue.
    pub fn verify(
        &self,
        password: &Password,
        hash: Option<&str>,
        deadline: Instant,
    ) -> Result<bool, Error> {
        let password = password.clone();
        let compared = hash.unwrap_or(&self.dummy_hash).to_owned();
        let is_right = self.run_in_pool(deadline, move || verify(&password.0, &compared))?;
        Ok(is_right && hash.is_some())
    }

    fn run_in_pool<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.in_flight);
        // One reference is the field itself. At the limit, two simultaneous jobs may both be refused.
        if Arc::strong_count(&permit) > self.max_in_flight + 1 {
            return Err(self.busy());
        }
        let (result_sender, result) = sync_channel(1);
        self.threads.submit(Box::new(move || {
            // After the deadline nobody waits for the result.
            if Instant::now() < deadline {
                let _ = result_sender.send(work());
            }
            drop(permit);
        }));
        let result = result.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        result.map_err(|_late| self.busy())
    }

    fn busy(&self) -> Error {
        Error::Busy(self.refusals.report(|incident| {
            tracing::warn!(instance = %incident, "refusing logins: too many passwords wait to be checked");
        }))
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let params = params.expect("the constants are within the limits of argon2");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Whether `hash` is of this password, on the calling thread: for use at start.
#[must_use]
pub fn verify(password: &str, hash: &str) -> bool {
    let matches = |hash| argon2().verify_password(password.as_bytes(), &hash).is_ok();
    PasswordHash::new(hash).is_ok_and(matches)
}

/// The hash of a password, with a new salt, on the calling thread: for use at start.
#[must_use]
pub fn hash(password: &str) -> String {
    let salt: [u8; SALT_BYTES] = random();
    let hash = argon2().hash_password_with_salt(password.as_bytes(), &salt);
    hash.expect("salt and costs are within the limits of argon2")
        .to_string()
}

/// Cryptographically secure random bytes.
///
/// # Panics
/// If the system has no source of randomness, without which nothing here would be secure.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.expect("getrandom(2) does not fail on a running system");
    bytes
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;

    fn password(text: &str) -> Password {
        Password(text.to_owned())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn a_hash_names_its_costs_and_is_of_its_password_alone() {
        let passwords = Passwords::default();
        let hash = passwords
            .hash(&password("long enough"), soon())
            .expect("it is free");
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        for (tried, right) in [("long enough", true), ("long enougH", false)] {
            let verified = passwords.verify(&password(tried), Some(&hash), soon());
            assert_eq!(verified, Ok(right));
        }
        assert_eq!(
            passwords.verify(&password("long enough"), None, soon()),
            Ok(false)
        );
    }

    #[test]
    fn so_many_hash_at_once_as_there_are_cores_and_so_many_wait() {
        let passwords = Passwords::default();
        let (end, ended) = channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        std::thread::scope(|scope| {
            for _ in 0..passwords.max_in_flight {
                let ended = Arc::clone(&ended);
                // Waits until the test drops the sender.
                let work = move || {
                    let _ = ended.lock().recv();
                };
                scope.spawn(|| passwords.run_in_pool(soon(), work).expect("its turn comes"));
            }
            while Arc::strong_count(&passwords.in_flight) <= passwords.max_in_flight {
                std::thread::yield_now();
            }
            let one_more = passwords.run_in_pool(soon(), || ());
            assert!(matches!(one_more, Err(Error::Busy(_))));
            drop(end);
        });
        assert_eq!(passwords.run_in_pool(soon(), || 7), Ok(7));
    }

    #[test]
    fn what_is_not_begun_until_its_deadline_is_given_up() {
        let passwords = Passwords::default();
        let late = passwords.run_in_pool(Instant::now(), || ());
        assert!(matches!(late, Err(Error::Busy(_))));
    }
}
