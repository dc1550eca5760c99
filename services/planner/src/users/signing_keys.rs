//! The keys that sign access tokens. They are stored in the database, so that all processes sign with the same keys; sealed
//! (encrypted) if there is a secret.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::TokenError;
use crate::token::{self, Caller, UnverifiedToken};
use crate::users::passwords::random;

const SEED_BYTES: usize = 32;

/// A key as stored in the database.
#[derive(Clone)]
pub struct StoredKey {
    /// The key id.
    pub kid: String,
    /// The key that verifies tokens.
    pub public_key: Vec<u8>,
    /// The seed of the private key; if sealed: nonce, encrypted seed, tag.
    pub private_key: Vec<u8>,
    /// Whether it is sealed.
    pub sealed: bool,
    /// When it begins to sign, in seconds of the Unix epoch.
    pub signs_from: i64,
    /// Until when its tokens are accepted, in seconds of the Unix epoch; `None` for the newest key.
    pub verifies_until: Option<i64>,
}

/// Encrypts private keys with AES-256-GCM, by a secret of the operator.
pub struct Seal(LessSafeKey);

/// Why the stored keys cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    /// The key is sealed, and there is no secret.
    #[error(
        "a signing key in the database is sealed: set KEY_SECRET to the secret that it was sealed with"
    )]
    NoSecret,
    /// The key is sealed with another secret.
    #[error("a signing key in the database is sealed with another KEY_SECRET")]
    WrongSecret,
    /// The private and the public key do not belong together.
    #[error("a signing key in the database is damaged")]
    Damaged,
    /// There is no key.
    #[error("there is no signing key in the database: the first start makes one")]
    None,
}

impl Seal {
    /// Derives the encryption key from a secret.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        let key = Salt::new(HKDF_SHA256, b"planner")
            .extract(secret.as_bytes())
            .expand(&[b"signing keys"], &AES_256_GCM)
            .map(UnboundKey::from);
        Self(LessSafeKey::new(key.expect("HKDF gives 32 bytes")))
    }

    fn seal(&self, seed: &[u8], kid: &str) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = seed.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(kid),
                &mut sealed,
            )
            .expect("32 bytes are not too long");
        [&nonce[..], &sealed].concat()
    }

    fn open(&self, sealed: &[u8], kid: &str) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let seed = self.0.open_in_place(nonce, Aad::from(kid), &mut sealed);
        seed.ok().map(|seed| seed.to_vec())
    }
}

impl StoredKey {
    /// Generates a key, which signs from the start of the epoch.
    #[must_use]
    pub fn generate(seal: Option<&Seal>) -> Self {
        let seed: [u8; SEED_BYTES] = random();
        let kid = Uuid::new_v4().to_string();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed");
        Self {
            public_key: pair.public_key().as_ref().to_vec(),
            private_key: seal.map_or_else(|| seed.to_vec(), |seal| seal.seal(&seed, &kid)),
            sealed: seal.is_some(),
            kid,
            signs_from: 0,
            verifies_until: None,
        }
    }

    fn open(self, seal: Option<&Seal>) -> Result<SigningKey, UnusableKey> {
        let seed = match (self.sealed, seal) {
            (false, _) => self.private_key,
            (true, None) => return Err(UnusableKey::NoSecret),
            (true, Some(seal)) => seal
                .open(&self.private_key, &self.kid)
                .ok_or(UnusableKey::WrongSecret)?,
        };
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &self.public_key);
        Ok(SigningKey {
            pair: pair.map_err(|_rejected| UnusableKey::Damaged)?,
            kid: self.kid,
            signs_from: self.signs_from,
            verifies_until: self.verifies_until,
        })
    }
}

struct SigningKey {
    kid: String,
    pair: Ed25519KeyPair,
    signs_from: i64,
    verifies_until: Option<i64>,
}

impl SigningKey {
    fn verifies_at(&self, now: i64) -> bool {
        self.verifies_until.is_none_or(|until| now < until)
    }
}

/// The keys in use, oldest first.
pub struct SigningKeys {
    keys: RwLock<Arc<[SigningKey]>>,
    seal: Option<Seal>,
}

/// A public key (RFC 8037, section 2).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    /// `OKP`
    pub kty: String,
    /// `Ed25519`
    pub crv: String,
    /// `EdDSA`
    pub alg: String,
    /// `sig`
    pub r#use: String,
    /// The key id, which tokens name in their header.
    pub kid: String,
    /// The public key, in base64url.
    pub x: String,
}

/// Public keys (RFC 7517, section 5).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JwkSet {
    /// All keys whose tokens are or will be accepted.
    pub keys: Vec<Jwk>,
}

impl SigningKeys {
    /// Opens these keys.
    pub fn new(stored: Vec<StoredKey>, seal: Option<Seal>) -> Result<Self, UnusableKey> {
        let keys = Self {
            keys: RwLock::new(Arc::new([])),
            seal,
        };
        keys.replace(stored)?;
        Ok(keys)
    }

    /// Opens these keys, and uses them from now on.
    ///
    /// # Errors
    /// [`UnusableKey`]; the previous keys stay in use.
    pub fn replace(&self, stored: Vec<StoredKey>) -> Result<(), UnusableKey> {
        let opened = stored.into_iter().map(|key| key.open(self.seal.as_ref()));
        let mut opened = opened.collect::<Result<Vec<_>, _>>()?;
        if opened.is_empty() {
            return Err(UnusableKey::None);
        }
        opened.sort_by_key(|key| key.signs_from);
        *self.keys.write() = opened.into();
        Ok(())
    }

    /// Signs an access token for `caller`, with the newest key that has begun to sign.
    #[must_use]
    pub fn sign(&self, caller: &Caller, now: u64) -> String {
        let keys = Arc::clone(&self.keys.read());
        let signs = |key: &&SigningKey| key.signs_from <= now.cast_signed();
        // If the database's clock is ahead of this one, no key may have begun to sign.
        let key = keys.iter().rev().find(signs).unwrap_or(&keys[0]);
        token::sign(&key.pair, &key.kid, caller, now)
    }

    /// The caller whose token it is.
    pub fn verify(&self, token: &str, now: u64) -> Result<Caller, TokenError> {
        let token = UnverifiedToken::parse(token)?;
        let keys = Arc::clone(&self.keys.read());
        let known =
            |key: &&SigningKey| key.kid == token.kid() && key.verifies_at(now.cast_signed());
        let key = keys.iter().find(known).ok_or(TokenError::UnknownKey)?;
        token.verify(key.pair.public_key().as_ref(), now)
    }

    /// The public keys whose tokens are or will be accepted.
    #[must_use]
    pub fn public_keys(&self, now: u64) -> JwkSet {
        let keys = Arc::clone(&self.keys.read());
        let verify = keys.iter().filter(|key| key.verifies_at(now.cast_signed()));
        let public = verify.map(|key| Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            r#use: "sig".to_owned(),
            kid: key.kid.clone(),
            x: URL_SAFE_NO_PAD.encode(key.pair.public_key()),
        });
        JwkSet {
            keys: public.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::token::Role;

    fn caller() -> Caller {
        Caller {
            user: UserId(1),
            role: Role::Admin,
            session: Uuid::from_u128(1),
        }
    }

    #[test]
    fn a_sealed_key_is_opened_by_its_secret_alone() {
        let stored = StoredKey::generate(Some(&Seal::new("one")));
        let open = |seal| SigningKeys::new(vec![stored.clone()], seal).err();
        assert_eq!(open(Some(Seal::new("one"))), None);
        assert_eq!(open(Some(Seal::new("two"))), Some(UnusableKey::WrongSecret));
        assert_eq!(open(None), Some(UnusableKey::NoSecret));
        let of_another = StoredKey {
            public_key: StoredKey::generate(None).public_key,
            ..StoredKey::generate(None)
        };
        let damaged = SigningKeys::new(vec![of_another], None).err();
        assert_eq!(damaged, Some(UnusableKey::Damaged));
    }

    #[test]
    fn a_new_key_is_public_before_it_signs_and_an_old_one_until_its_tokens_are_over() {
        let old = StoredKey {
            verifies_until: Some(200),
            ..StoredKey::generate(None)
        };
        let new = StoredKey {
            signs_from: 100,
            ..StoredKey::generate(None)
        };
        let kids = [old.kid.clone(), new.kid.clone()];
        let keys = SigningKeys::new(vec![new, old], None).expect("they are whole");
        let signed_by = |now| {
            let token = keys.sign(&caller(), now);
            assert_eq!(keys.verify(&token, now), Ok(caller()));
            let token = UnverifiedToken::parse(&token).expect("it is ours");
            kids.iter().position(|kid| kid == token.kid())
        };
        assert_eq!((signed_by(99), signed_by(100)), (Some(0), Some(1)));
        assert_eq!(
            (
                keys.public_keys(0).keys.len(),
                keys.public_keys(200).keys.len()
            ),
            (2, 1)
        );
        let of_old = keys.sign(&caller(), 99);
        assert_eq!(keys.verify(&of_old, 199), Ok(caller()));
        assert_eq!(keys.verify(&of_old, 200), Err(TokenError::UnknownKey));
    }
}
