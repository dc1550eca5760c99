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

use crate::error::{Error, Invalid};
use crate::token::{Caller, Unverified, now};
use crate::users::signing_keys::JwkSet;

/// Between two fetches: less than the time from making a key to signing with it, so a token's key is known before the token.
const INTERVAL: Duration = Duration::from_secs(5);
/// Tokens that name unknown keys lead to no more fetches than one in this time, whoever sends them.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time of a fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request waits for a fetch that another has begun. A service that is well has answered by then; while it is not,
/// requests with unknown keys must not hold the threads of all.
const MAX_WAIT: Duration = Duration::from_millis(100);
/// Keys take some 200 bytes each.
const MAX_BYTES: u64 = 64 << 10;

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
    fetched: Mutex<Option<Instant>>,
    url: String,
    /// The same, for the log.
    shown: String,
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
        let at = |url: &Url| {
            let base = url.as_str().trim_end_matches('/');
            format!("{base}/.well-known/jwks.json")
        };
        let mut shown = users_url.clone();
        if shown.password().is_some() {
            // It has a host, so it takes one.
            let _ = shown.set_password(Some("***"));
        }
        let shared = Arc::new(Shared {
            keys: RwLock::default(),
            fetched: Mutex::new(None),
            url: at(users_url),
            shown: at(&shown),
            agent: config.into(),
            outage: Reporter::default(),
            known,
            failures,
        });
        shared.fetch_if_older_than(Duration::ZERO, FETCH_TIMEOUT);
        let (following, (stop, stopped)) = (Arc::clone(&shared), channel());
        let thread = std::thread::Builder::new()
            .name("public keys".to_owned())
            .spawn(move || following.follow(&stopped))?;
        Ok(Self {
            shared,
            stop,
            thread,
        })
    }

    /// Whose token it is.
    pub fn verify(&self, token: &str) -> Result<Caller, Error> {
        let token = Unverified::parse(token).map_err(Error::BadToken)?;
        let mut keys = self.shared.keys();
        let mut is_over = true;
        if !keys.contains_key(token.kid()) {
            is_over = self.shared.fetch_if_older_than(MIN_INTERVAL, MAX_WAIT);
            keys = self.shared.keys();
        }
        let key = keys.get(token.kid()).ok_or_else(|| {
            if is_over && !keys.is_empty() {
                Error::BadToken(Invalid::UnknownKey)
            } else {
                self.shared.no_keys()
            }
        })?;
        token.verify(key, now()).map_err(Error::BadToken)
    }

    /// Whether any key is known.
    pub fn check(&self) -> Result<(), Error> {
        if self.shared.keys().is_empty() {
            return Err(self.shared.no_keys());
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

    fn no_keys(&self) -> Error {
        Error::NoKeys(self.outage.report(|incident| {
            tracing::warn!(instance = %incident, url = self.shown, "a token cannot be checked: its public key was not fetched yet");
        }))
    }

    fn follow(&self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            self.fetch_if_older_than(MIN_INTERVAL, FETCH_TIMEOUT);
        }
    }

    /// Fetches the keys, unless that was done within `age`; or waits for who does, no longer than `patience`: false if that was
    /// not over by then.
    fn fetch_if_older_than(&self, age: Duration, patience: Duration) -> bool {
        let Some(mut fetched) = self.fetched.try_lock_for(patience) else {
            return false;
        };
        if fetched.is_some_and(|fetched| fetched.elapsed() < age) {
            return true;
        }
        let result = self.fetch();
        *fetched = Some(Instant::now());
        match result {
            Ok(keys) => {
                self.known.set(size(keys.len()));
                *self.keys.write() = Arc::new(keys);
            }
            Err(error) => {
                self.failures.inc();
                self.outage.report(|incident| {
                    tracing::warn!(instance = %incident, url = self.shown, %error, "cannot fetch public keys: those that were fetched before, if any, stay in use");
                });
            }
        }
        true
    }

    fn fetch(&self) -> Result<Keys, Box<dyn std::error::Error>> {
        let mut response = self.agent.get(&self.url).call()?;
        let body = response.body_mut().with_config().limit(MAX_BYTES);
        let set: JwkSet = serde_json::from_slice(&body.read_to_vec()?)
            .map_err(|error| format!("it names no keys as RFC 7517 writes them: {error}"))?;
        let of_use = set
            .keys
            .into_iter()
            .filter(|key| key.kty == "OKP" && key.crv == "Ed25519");
        let decoded = of_use.filter_map(|key| Some((key.kid, URL_SAFE_NO_PAD.decode(key.x).ok()?)));
        let keys: Keys = decoded.collect();
        if keys.is_empty() {
            return Err("it names no key".into());
        }
        Ok(keys)
    }
}
