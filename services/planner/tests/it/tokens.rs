//! Access tokens: which ones the services accept.

use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use testbed::Database;

use crate::harness::{ADMIN_PASSWORD, Planner, assert_problem};

/// The parts of a token of the service, and the key that signed it.
struct Forge {
    header: Value,
    claims: Value,
    key: Ed25519KeyPair,
    public: Vec<u8>,
}

fn json_of(part: &str) -> Value {
    let part = URL_SAFE_NO_PAD.decode(part).expect("it is ours");
    serde_json::from_slice(&part).expect("it is JSON")
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

impl Forge {
    fn of(token: &str, database: &Database) -> Self {
        let parts: Vec<_> = token.split('.').collect();
        let select = "SELECT private_key, public_key FROM signing_keys";
        let (seed, public): (Vec<u8>, Vec<u8>) = database.rows(select).remove(0);
        Self {
            header: json_of(parts[0]),
            claims: json_of(parts[1]),
            key: Ed25519KeyPair::from_seed_unchecked(&seed).expect("it is a seed"),
            public,
        }
    }

    /// A token with these changes of header and claims, signed by `sign`.
    fn token(&self, header: Value, claims: Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let with = |of: &Value, other: Value| {
            let mut of = of.clone();
            for (name, value) in other.as_object().expect("an object") {
                of[name] = value.clone();
            }
            encoded(&of)
        };
        let signed = format!(
            "{}.{}",
            with(&self.header, header),
            with(&self.claims, claims)
        );
        let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A token with these changes, signed with the right key.
    fn signed(&self, header: Value, claims: Value) -> String {
        self.token(header, claims, |text| self.key.sign(text).as_ref().to_vec())
    }

    /// Tokens that must be refused, with a name for each.
    fn forgeries(&self) -> Vec<(&'static str, String)> {
        let now = self.claims["iat"].as_u64().expect("a time");
        let other = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any 32 bytes are a seed");
        let sign_with_other_key = |text: &[u8]| other.sign(text).as_ref().to_vec();
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &self.public);
        let sign_with_public_key = |text: &[u8]| hmac::sign(&secret, text).as_ref().to_vec();
        let jwk = json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(ring::signature::KeyPair::public_key(&other)) } });
        vec![
            (
                "another key",
                self.token(json!({}), json!({}), sign_with_other_key),
            ),
            (
                "a key that it brings along",
                self.token(jwk, json!({}), sign_with_other_key),
            ),
            (
                "an unknown key",
                self.token(json!({ "kid": "x" }), json!({}), sign_with_other_key),
            ),
            (
                "alg none",
                self.token(json!({ "alg": "none" }), json!({}), |_| Vec::new()),
            ),
            (
                "alg None",
                self.token(json!({ "alg": "None" }), json!({}), |_| Vec::new()),
            ),
            (
                "no signature",
                self.token(json!({}), json!({}), |_| Vec::new()),
            ),
            (
                "HS256 with the public key",
                self.token(json!({ "alg": "HS256" }), json!({}), sign_with_public_key),
            ),
            (
                "EdDSA that is HS256",
                self.token(json!({}), json!({}), sign_with_public_key),
            ),
            ("expired", self.signed(json!({}), json!({ "exp": now - 6 }))),
            (
                "not yet valid",
                self.signed(json!({}), json!({ "nbf": now + 60 })),
            ),
            (
                "made in the future",
                self.signed(json!({}), json!({ "iat": now + 60 })),
            ),
            (
                "wrong audience",
                self.signed(json!({}), json!({ "aud": "other" })),
            ),
            (
                "wrong issuer",
                self.signed(json!({}), json!({ "iss": "other" })),
            ),
            ("no subject", self.signed(json!({}), json!({ "sub": "" }))),
            (
                "another kind of token",
                self.signed(json!({ "typ": "JWT" }), json!({})),
            ),
            (
                "something critical",
                self.signed(json!({ "crit": ["b64"], "b64": false }), json!({})),
            ),
            ("nothing", String::new()),
            ("no token", "x.y.z".to_owned()),
        ]
    }
}

#[test]
fn no_forged_token_is_taken_by_any_service() {
    let (users_database, goals_database) = (Database::new(), Database::new());
    let users = Planner::users(&users_database);
    let goals = Planner::goals(&goals_database, &users.url());
    let tokens = users.log_in("admin", ADMIN_PASSWORD);
    let forge = Forge::of(&tokens.access, &users_database);
    for (service, path) in [(&users, "/sessions"), (&goals, "/goals")] {
        for good in [
            &tokens.access,
            &forge.signed(
                json!({}),
                json!({ "jti": "00000000-0000-0000-0000-000000000000" }),
            ),
        ] {
            assert_eq!(service.with_token(good).get(path).status, 200);
        }
        for (what, forged) in forge.forgeries() {
            let answer = service.with_token(&forged).get(path);
            assert_eq!(answer.status, 401, "{what}");
            assert_problem(&answer, 401, "Log in");
        }
        let answer = service.with_token(&tokens.refresh).get(path);
        assert_problem(&answer, 401, "no access token of this service");
        for (header, expected) in [
            (String::new(), "Authorization: Bearer TOKEN"),
            (
                format!("Authorization: Basic {}\r\n", tokens.access),
                "Bearer TOKEN",
            ),
            (
                format!("Authorization: {}\r\n", tokens.access),
                "Bearer TOKEN",
            ),
        ] {
            let answer = service.anonymous().send("GET", path, &header, "");
            assert_problem(&answer, 401, expected);
            assert_eq!(
                answer.header("WWW-Authenticate"),
                Some("Bearer realm=\"planner\"")
            );
        }
    }
}

#[test]
fn tokens_with_unknown_keys_hold_up_nobody_while_the_users_service_does_not_answer() {
    let (users_database, goals_database) = (Database::new(), Database::new());
    let users = Planner::users(&users_database);
    let goals = Planner::goals(&goals_database, &users.url());
    let good = users.log_in("admin", ADMIN_PASSWORD).access;
    let forge = Forge::of(&good, &users_database);
    users.replica.freeze();
    // Until keys may be fetched again.
    thread::sleep(Duration::from_millis(1_200));
    let started = Instant::now();
    thread::scope(|scope| {
        for number in 0..30 {
            let unknown = forge.signed(json!({ "kid": number.to_string() }), json!({}));
            let mut client = goals.with_token(&unknown);
            scope.spawn(move || assert!([401, 503].contains(&client.get("/goals").status)));
        }
    });
    // One request fetches, for two seconds. If each fetched, it would take a minute.
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(goals.with_token(&good).get("/goals").status, 200);
    users.replica.thaw();
}

#[test]
fn a_token_whose_role_is_altered_gives_no_right() {
    let database = Database::new();
    let users = Planner::users(&database);
    users.admin().create_user("ivan");
    let tokens = users.log_in("ivan", crate::harness::PASSWORD);
    let forge = Forge::of(&tokens.access, &database);
    let signature = tokens.access.rsplit('.').next().expect("it has one");
    let mut claims = forge.claims.clone();
    claims["role"] = "admin".into();
    let altered = format!(
        "{}.{}.{signature}",
        encoded(&forge.header),
        encoded(&claims)
    );
    assert_problem(
        &users.with_token(&altered).delete("/users/1"),
        401,
        "signature",
    );
}
