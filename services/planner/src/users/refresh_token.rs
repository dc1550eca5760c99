//! Refresh tokens, each of which is accepted once.
//!
//! A token consists of the family of its session and a secret. The family identifies the session, so the reuse of a token is
//! detected: it was stolen, or kept by mistake. These cannot be told apart, so the session ends.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::users::passwords::random;

/// How long a token is valid, in days. Each refresh gives a new token that is valid as long.
pub const LIFETIME_DAYS: u16 = 30;

const FAMILY_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// A refresh token.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// The same in all tokens of a session.
    pub family: [u8; FAMILY_BYTES],
    secret: [u8; SECRET_BYTES],
}

impl RefreshToken {
    /// Makes the first token of a session.
    #[must_use]
    pub fn first() -> Self {
        Self {
            family: random(),
            secret: random(),
        }
    }

    /// Makes the token that replaces this one.
    #[must_use]
    pub fn next(&self) -> Self {
        Self {
            family: self.family,
            secret: random(),
        }
    }

    /// Parses what a client sent; `None` if it is not a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (family, secret) = bytes.split_first_chunk()?;
        Some(Self {
            family: *family,
            secret: secret.try_into().ok()?,
        })
    }

    /// The hash of the secret, which is stored. It needs no salt, because the secret is 256 random bits.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let hash = digest(&SHA256, &self.secret);
        hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// The token as it is sent to the client.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.family[..], &self.secret].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_told_and_the_next_has_its_family_alone() {
        let token = RefreshToken::first();
        assert!(RefreshToken::parse(&token.encode()) == Some(token.clone()));
        let next = token.next();
        assert_eq!(next.family, token.family);
        assert_ne!(next.hash(), token.hash());
    }

    #[test]
    fn what_is_shorter_or_longer_is_no_token() {
        let text = RefreshToken::first().encode();
        for no_token in ["", "?", &text[..60], &format!("{text}AAAA")] {
            assert!(RefreshToken::parse(no_token).is_none(), "{no_token}");
        }
    }
}
