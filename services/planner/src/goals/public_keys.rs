//! The public keys of the users' service: fetched now and then, and where a token names one that is not known yet. Those that
//! were fetched last are kept while that service is away.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foundation::telemetry::{Reporter, size};
use parking_lot::{Mutex, RwLock};
use prometheus::{IntCounter, IntGauge};
use ureq::Agent;
use url::Url;

use crate::error::{Error, TokenError};
use crate::token::{Caller, UnverifiedToken, now};
use crate::users::signing_keys::JwkSet;

/// Between two fetches: less than the time from making a key to signing with it, so a token's key is known before the token.
const INTERVAL: Duration = Duration::from_secs(5);
/// Tokens that name unknown keys lead to no more fetches than one in this time, whoever sends them.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time of a fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request waits for a fetch that another has begun. A service that is well has answered by then; while it is not,
/// requests with unknown keys must not hold the threads of all.
const MAX_FETCH_WAIT: Duration = Duration::from_millis(100);
/// Keys take some 200 bytes each.
const MAX_RESPONSE_BYTES: u64 = 64 << 10;

type Keys = HashMap<String, Vec<u8>>;

/// The keys by which tokens are verified.
pub struct PublicKeys {
    shared: Arc<Shared>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

struct Shared {
    keys: RwLock<Arc<Keys>>,
    /// When a fetch ended last. Locked during it, so that all who wait for one have the same.
    last_fetch: Mutex<Option<Instant>>,
    url: String,
    /// The same, for the log.
    redacted_url: String,
    agent: Agent,
    outage: Reporter,
    known: IntGauge,
    failures: IntCounter,
}

impl PublicKeys {
    /// Fetches the keys, or says in the log that they could not be fetched yet, and begins to follow them.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(users_url: &Url, known: IntGauge, failures: IntCounter) -> std::io::Result<Self> {
        let config = Agent::config_builder()
            .timeout_global(Some(FETCH_TIMEOUT))
            .max_redirects(0)
            .build();
        let key_set_url = |url: &Url| {
            let base = url.as_str().trim_end_matches('/');
            format!("{base}/.well-known/jwks.json")
        };
        let mut redacted_url = users_url.clone();
        if redacted_url.password().is_some() {
            // It has a host, so it takes one.
            let _ = redacted_url.set_password(Some("***"));
        }
        let shared = Arc::new(Shared {
            keys: RwLock::default(),
            last_fetch: Mutex::new(None),
            url: key_set_url(users_url),
            redacted_url: key_set_url(&redacted_url),
            agent: config.into(),
            outage: Reporter::default(),
            known,
            failures,
        });
        shared.fetch_if_older_than(Duration::ZERO, FETCH_TIMEOUT);
        let (fetcher, (stop, stopped)) = (Arc::clone(&shared), channel());
        let thread = std::thread::Builder::new()
            .name("public keys".to_owned())
            .spawn(move || fetcher.fetch_periodically(&stopped))?;
        Ok(Self {
            shared,
            stop,
            thread,
        })
    }

    /// Whose token it is.
    pub fn verify(&self, token: &str) -> Result<Caller, Error> {
        let token = UnverifiedToken::parse(token).map_err(Error::InvalidToken)?;
        let mut keys = self.shared.keys();
        let mut fetch_ended = true;
        if !keys.contains_key(token.kid()) {
            fetch_ended = self
                .shared
                .fetch_if_older_than(MIN_INTERVAL, MAX_FETCH_WAIT);
            keys = self.shared.keys();
        }
        let key = keys.get(token.kid()).ok_or_else(|| {
            if fetch_ended && !keys.is_empty() {
                Error::InvalidToken(TokenError::UnknownKey)
            } else {
                self.shared.keys_unavailable()
            }
        })?;
        token.verify(key, now()).map_err(Error::InvalidToken)
    }

    /// Whether any key is known.
    pub fn check(&self) -> Result<(), Error> {
        if self.shared.keys().is_empty() {
            return Err(self.shared.keys_unavailable());
        }
        Ok(())
    }

    /// Ends the thread.
    pub fn finish(self) {
        drop(self.stop);
        // Its panic was logged.
        let _ = self.thread.join();
    }
}

impl Shared {
    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    fn keys_unavailable(&self) -> Error {
        Error::KeysUnavailable(self.outage.report(|incident| {
            tracing::warn!(instance = %incident, url = self.redacted_url, "a token cannot be checked: its public key was not fetched yet");
        }))
    }

    fn fetch_periodically(&self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            self.fetch_if_older_than(MIN_INTERVAL, FETCH_TIMEOUT);
        }
    }

    /// Fetches the keys, unless that was done within `age`; or waits for who does, no longer than `patience`: false if that was
    /// not over by then.
    fn fetch_if_older_than(&self, age: Duration, max_wait: Duration) -> bool {
        let Some(mut last_fetch) = self.last_fetch.try_lock_for(max_wait) else {
            return false;
        };
        if last_fetch.is_some_and(|at| at.elapsed() < age) {
            return true;
        }
        let result = self.fetch();
        *last_fetch = Some(Instant::now());
        match result {
            Ok(keys) => {
                self.known.set(size(keys.len()));
                *self.keys.write() = Arc::new(keys);
            }
            Err(error) => {
                self.failures.inc();
                self.outage.report(|incident| {
                    tracing::warn!(instance = %incident, url = self.redacted_url, %error, "cannot fetch public keys: those that were fetched before, if any, stay in use");
                });
            }
        }
        true
    }

    fn fetch(&self) -> Result<Keys, Box<dyn std::error::Error>> {
        let mut response = self.agent.get(&self.url).call()?;
        let body = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES);
        let set: JwkSet = serde_json::from_slice(&body.read_to_vec()?)
            .map_err(|error| format!("it names no keys as RFC 7517 writes them: {error}"))?;
        let ed25519 = set
            .keys
            .into_iter()
            .filter(|key| key.kty == "OKP" && key.crv == "Ed25519");
        let decoded =
            ed25519.filter_map(|key| Some((key.kid, URL_SAFE_NO_PAD.decode(key.x).ok()?)));
        let keys: Keys = decoded.collect();
        if keys.is_empty() {
            return Err("it names no key".into());
        }
        Ok(keys)
    }
}
