//! Logins: their forms, their timing, and their rate limits.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Answer, Database};

use crate::harness::{ADMIN_PASSWORD, Client, PASSWORD, Planner, Tokens, assert_problem};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

fn send_form(client: &mut Client, form: &str) -> Answer {
    client.send("POST", "/token", FORM, form)
}

#[test]
fn a_login_is_a_form_as_oauth_has_it_or_json() {
    let database = Database::new();
    let users = Planner::users(&database);
    let mut anonymous = users.anonymous();
    let right =
        format!("grant_type=password&username=admin&password={ADMIN_PASSWORD}&scope=&client_id=x");
    for answer in [
        send_form(&mut anonymous, &right),
        anonymous.log_in("admin", ADMIN_PASSWORD),
    ] {
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        assert_eq!(
            (&body["token_type"], &body["expires_in"]),
            (&json!("bearer"), &json!(900))
        );
        assert_eq!(answer.header("Cache-Control"), Some("no-store"));
        let access = Tokens::of(&answer).access;
        assert_eq!(users.with_token(&access).get("/sessions").status, 200);
    }
    let other_grant = right.replace("grant_type=password", "grant_type=client_credentials");
    assert_problem(
        &send_form(&mut anonymous, &other_grant),
        400,
        "`grant_type`",
    );
    let no_form = FORM.replace("www-form-urlencoded", "form");
    let other_kind = anonymous.send("POST", "/token", &no_form, &right);
    assert_problem(&other_kind, 415, "json");
    assert_problem(
        &send_form(&mut anonymous, "username=admin"),
        400,
        "missing field `password`",
    );
    let both = json!({ "login": "admin", "password": ADMIN_PASSWORD, "x": 1 });
    assert_problem(&anonymous.post("/token", &both), 400, "unknown field `x`");
}

#[test]
fn a_wrong_login_and_a_wrong_password_are_answered_alike() {
    let database = Database::new();
    let users = Planner::users(&database);
    users.admin().create_user("ivan");
    let mut anonymous = users.anonymous();
    let answers = [
        ("ivan", "wrong-password"),
        ("nobody", "wrong-password"),
        ("", ""),
        ("a\0b", "x"),
    ]
    .map(|(login, password)| anonymous.log_in(login, password));
    for answer in &answers {
        assert_problem(answer, 401, "Login or password are wrong");
        assert_eq!(
            answer.header("WWW-Authenticate"),
            Some("Bearer realm=\"planner\"")
        );
        assert_eq!(answer.body, answers[0].body);
    }
}

#[test]
fn a_login_that_nobody_has_takes_as_long_as_a_wrong_password() {
    const ROUNDS: usize = 40;
    let database = Database::new();
    let users = Planner::users(&database);
    users.admin().create_user("ivan");
    let mut anonymous = users.anonymous();
    let mut time = |login: &str| {
        let start = Instant::now();
        assert_eq!(anonymous.log_in(login, "wrong-password").status, 401);
        start.elapsed()
    };
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        known.push(time("ivan"));
        unknown.push(time(&format!("nobody{round}")));
    }
    // The slowest are left out, because other work on the machine may have delayed them.
    let sum_of_most = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times.truncate(3 * ROUNDS / 4);
        times.iter().sum::<Duration>().as_secs_f64()
    };
    let (known, unknown) = (sum_of_most(known), sum_of_most(unknown));
    // Without a hash to compare with, an unknown login would be more than ten times as fast.
    assert!(
        (0.5..2.0).contains(&(known / unknown)),
        "{known} s and {unknown} s"
    );
}

#[test]
fn a_login_that_is_tried_too_often_is_refused_for_a_while_and_others_are_not() {
    let database = Database::new();
    // One more attempt every 30 s, which is longer than three attempts take.
    let users = Planner::users_with(&database, &["--logins-a-minute=2"]);
    let mut admin = users.admin();
    admin.create_user("ivan");
    let mut anonymous = users.anonymous();
    for left in (0..2).rev() {
        let answer = anonymous.log_in("ivan", "wrong-password");
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.header("RateLimit-Policy"),
            Some("\"login\";q=2;w=60")
        );
        assert_eq!(
            answer.header("RateLimit"),
            Some(format!("\"login\";r={left};t=60").as_str())
        );
    }
    let refused = anonymous.log_in("ivan", PASSWORD);
    assert_problem(&refused, 429, "Too many logins. Try again in");
    let wait: u64 = refused
        .header("Retry-After")
        .expect("it says when")
        .parse()
        .expect("seconds");
    assert!((1..=31).contains(&wait), "{wait}");
    let policy = refused.header("RateLimit-Policy");
    assert_eq!(policy, Some("\"login\";q=2;w=60"));
    let left = format!("\"login\";r=0;t={wait}");
    assert_eq!(refused.header("RateLimit"), Some(&*left));
    assert_eq!(anonymous.log_in("admin", ADMIN_PASSWORD).status, 200);
}

#[test]
fn an_address_that_tries_too_many_logins_is_refused() {
    let database = Database::new();
    let options = ["--logins-a-minute-from-address=2"];
    let users = Planner::users_with(&database, &options);
    let mut anonymous = users.anonymous();
    for login in 0..2 {
        assert_eq!(
            anonymous
                .log_in(&format!("user{login}"), "wrong-password")
                .status,
            401
        );
    }
    assert_problem(
        &anonymous.log_in("admin", ADMIN_PASSWORD),
        429,
        "Too many logins",
    );
}
