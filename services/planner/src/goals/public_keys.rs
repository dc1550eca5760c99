//! The public keys of the users' service: fetched periodically, and when a token names an unknown key. While that service is
//! unavailable, the last ones stay in use.

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

/// Time between two fetches: shorter than a new key waits before it signs, so that a token's key is known before the token.
const INTERVAL: Duration = Duration::from_secs(5);
/// Tokens with unknown keys cause at most one fetch in this time.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout of a fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request waits for a fetch that another one began. A healthy users' service answers sooner; if it does not, requests
/// with unknown keys must not occupy all threads.
const MAX_FETCH_WAIT: Duration = Duration::from_millis(100);
/// A key takes about 200 bytes.
const MAX_RESPONSE_BYTES: u64 = 64 << 10;

type Keys = HashMap<String, Vec<u8>>;

/// The keys that verify tokens.
pub struct PublicKeys {
    shared: Arc<Shared>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

struct Shared {
    keys: RwLock<Arc<Keys>>,
    /// When the last fetch ended. Locked during a fetch, so that all who wait share one fetch.
    last_fetch: Mutex<Option<Instant>>,
    url: String,
    /// The URL without its password, for the log.
    redacted_url: String,
    agent: Agent,
    outage: Reporter,
    known: IntGauge,
    failures: IntCounter,
}

impl PublicKeys {
    /// Fetches the keys, logs if that fails, and starts the thread that fetches them periodically.
    ///
    /// # Errors
    /// If the thread cannot be started.
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
            // It cannot fail, because the URL has a host.
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

    /// The caller whose token it is.
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

    /// Stops the thread.
    pub fn finish(self) {
        drop(self.stop);
        // A panic of the thread was logged.
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

    /// Fetches the keys, unless the last fetch ended within `age`. If another thread is fetching, waits at most
    /// `max_wait` for it, and returns false if that fetch has not ended by then.
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
