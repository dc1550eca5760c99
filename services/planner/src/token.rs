//! Access tokens: JSON Web Tokens (RFC 7519) in the profile of RFC 9068, signed with Ed25519 (RFC 8037).
//!
//! Only one algorithm is accepted, whatever a token says (RFC 8725, section 3.1). Before the signature is verified, only the
//! header is read: it must name this algorithm, this type, and a known key.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foundation::http::Exchange;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::{Error, TokenError};
use crate::ids::UserId;

/// How long an access token is valid, in seconds. The users' service refuses the token of an ended session at once, other
/// services when it expires.
pub const LIFETIME_S: u64 = 15 * 60;
/// How far the clocks of the signer and the verifier may differ, in seconds.
pub const LEEWAY_S: u64 = 5;
/// Longer tokens are refused; tokens that are signed here are shorter.
const MAX_TOKEN_BYTES: usize = 2048;

const ALGORITHM: &str = "EdDSA";
/// Keeps other tokens of the same key from being accepted as access tokens (RFC 9068, section 2.1).
const TYPE: &str = "at+jwt";
const ISSUER: &str = "planner-users";
const AUDIENCE: &str = "planner";
const CLIENT: &str = "planner";

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May change what is their own.
    User,
    /// May change everything.
    Admin,
}

/// The user that sent a request, as its token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// The user's role.
    pub role: Role,
    /// The session of the token.
    pub session: Uuid,
}

impl Caller {
    /// Whether the caller is this user or an admin.
    #[must_use]
    pub fn is_user_or_admin(&self, user: UserId) -> bool {
        self.user == user || self.role == Role::Admin
    }
}

/// The bearer token of a request (RFC 6750, section 2.1).
pub fn bearer_token(exchange: &Exchange) -> Result<&str, Error> {
    let mut values = exchange.headers("Authorization");
    let (scheme, token) = values
        .next()
        .and_then(|value| value.split_once(' '))
        .ok_or(Error::NoToken)?;
    if !scheme.eq_ignore_ascii_case("Bearer") || values.next().is_some() {
        return Err(Error::NoToken);
    }
    Ok(token.trim())
}

/// The current time, in seconds of the Unix epoch.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    /// Extensions that must be understood (RFC 7515, section 4.1.11). None is supported, so a token that has any is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    client_id: String,
    sub: String,
    sid: Uuid,
    role: Role,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: Uuid,
}

/// Signs an access token for `caller`, valid from `now`, in seconds of the Unix epoch.
#[must_use]
pub fn sign(key_pair: &Ed25519KeyPair, kid: &str, caller: &Caller, now: u64) -> String {
    let header = Header {
        alg: ALGORITHM.to_owned(),
        typ: TYPE.to_owned(),
        kid: kid.to_owned(),
        crit: None,
    };
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        client_id: CLIENT.to_owned(),
        sub: caller.user.to_string(),
        sid: caller.session,
        role: caller.role,
        iat: now,
        nbf: now,
        exp: now + LIFETIME_S,
        jti: Uuid::new_v4(),
    };
    let mut token = format!("{}.{}", encode_part(&header), encode_part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key_pair.sign(token.as_bytes()));
    token.extend([".", &signature]);
    token
}

fn encode_part(part: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).expect("it has strings and numbers only"))
}

/// A parsed token whose signature is not verified yet.
pub struct UnverifiedToken<'t> {
    signed: &'t str,
    claims: Vec<u8>,
    signature: Vec<u8>,
    kid: String,
}

impl<'t> UnverifiedToken<'t> {
    /// Parses a token, and checks its header.
    pub fn parse(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let decode = |part| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_error| TokenError::Malformed)
        };
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_error| TokenError::Malformed)?;
        if header.alg != ALGORITHM || header.typ != TYPE || header.crit.is_some() {
            return Err(TokenError::Kind);
        }
        Ok(Self {
            signed,
            claims: decode(claims)?,
            signature: decode(signature)?,
            kid: header.kid,
        })
    }

    /// The name of the key that signed it, according to its header.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The caller, if this key signed the token and it is valid at `now`, in seconds of the Unix epoch.
    pub fn verify(&self, public_key: &[u8], now: u64) -> Result<Caller, TokenError> {
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(self.signed.as_bytes(), &self.signature)
            .map_err(|_unspecified| TokenError::Signature)?;
        let claims: Claims =
            serde_json::from_slice(&self.claims).map_err(|_error| TokenError::Malformed)?;
        if claims.iss != ISSUER || claims.aud != AUDIENCE {
            return Err(TokenError::Audience);
        }
        if claims.exp.saturating_add(LEEWAY_S) <= now {
            return Err(TokenError::Expired);
        }
        if claims.nbf.max(claims.iat) > now.saturating_add(LEEWAY_S) {
            return Err(TokenError::NotYetValid);
        }
        let user = claims.sub.parse().map_err(|_error| TokenError::Malformed)?;
        Ok(Caller {
            user: UserId(user),
            role: claims.role,
            session: claims.sid,
        })
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair;
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key_pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("any 32 bytes are a seed")
    }

    fn caller() -> Caller {
        Caller {
            user: UserId(7),
            role: Role::User,
            session: Uuid::from_u128(1),
        }
    }

    fn verify(token: &str, now: u64) -> Result<Caller, TokenError> {
        let token = UnverifiedToken::parse(token)?;
        assert_eq!(token.kid(), "k");
        token.verify(key_pair(1).public_key().as_ref(), now)
    }

    /// A token with one field of its header or claims replaced, signed with the right key.
    fn altered(part: usize, name: &str, value: Value) -> String {
        let token = sign(&key_pair(1), "k", &caller(), NOW);
        let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        let json = URL_SAFE_NO_PAD.decode(&parts[part]).expect("it is ours");
        let mut json: Value = serde_json::from_slice(&json).expect("it is JSON");
        json[name] = value;
        parts[part] = encode_part(&json);
        let signed = format!("{}.{}", parts[0], parts[1]);
        let signature = URL_SAFE_NO_PAD.encode(key_pair(1).sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    #[test]
    fn a_token_holds_from_its_making_to_its_end_and_no_longer() {
        let token = sign(&key_pair(1), "k", &caller(), NOW);
        let end = NOW + LIFETIME_S + LEEWAY_S;
        for (now, expected) in [
            (NOW - LEEWAY_S - 1, Err(TokenError::NotYetValid)),
            (NOW - LEEWAY_S, Ok(caller())),
            (end - 1, Ok(caller())),
            (end, Err(TokenError::Expired)),
        ] {
            assert_eq!(verify(&token, now), expected, "{now}");
        }
    }

    #[test]
    fn what_another_key_signed_is_not_taken() {
        let token = sign(&key_pair(2), "k", &caller(), NOW);
        assert_eq!(verify(&token, NOW), Err(TokenError::Signature));
    }

    #[test]
    fn what_is_signed_and_of_another_kind_is_not_taken() {
        for (part, name, value, expected) in [
            (0, "alg", json!("none"), TokenError::Kind),
            (0, "alg", json!("HS256"), TokenError::Kind),
            (0, "typ", json!("JWT"), TokenError::Kind),
            (0, "crit", json!(["exp"]), TokenError::Kind),
            (1, "aud", json!("other"), TokenError::Audience),
            (1, "iss", json!("other"), TokenError::Audience),
            (1, "sub", json!("root"), TokenError::Malformed),
            (1, "exp", json!("never"), TokenError::Malformed),
        ] {
            let token = altered(part, name, value);
            assert_eq!(verify(&token, NOW), Err(expected), "{name}");
        }
    }

    #[test]
    fn a_token_of_which_anything_is_changed_is_not_taken() {
        let token = sign(&key_pair(1), "k", &caller(), NOW);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).expect("it is ASCII");
            let verified = UnverifiedToken::parse(&altered)
                .and_then(|token| token.verify(key_pair(1).public_key().as_ref(), NOW));
            assert!(verified.is_err(), "{altered}");
        }
        for no_token in ["", ".", "..", "a.b.c", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(UnverifiedToken::parse(no_token).is_err());
        }
    }
}
