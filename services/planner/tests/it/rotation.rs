//! Signing keys: a new one takes over, and services that know them go on without the service that makes them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testbed::{Database, Replica, SetAtEnd, eventually};

use crate::harness::{ADMIN_PASSWORD, Address, PASSWORD, Planner, Tokens, assert_problem};

fn rotate(database: &Database, after: &str) {
    let mut command = Planner::users_command(&database.url());
    let mut rotation = Replica::run(command.args(["rotate-key", "--after", after]));
    assert!(rotation.exit_status().success(), "{}", rotation.log());
}

fn kid(token: &str) -> String {
    let header = token.split('.').next().expect("it has one");
    let header = URL_SAFE_NO_PAD.decode(header).expect("it is ours");
    let header: Value = serde_json::from_slice(&header).expect("it is JSON");
    header["kid"].as_str().expect("it names a key").to_owned()
}

/// Comes back with the refresh token, now to this and now to that process, and uses what it gets with all services. Counts
/// those of another key than `before`.
fn use_tokens(
    users: [Address; 2],
    goals: Address,
    before: &str,
    stop: &AtomicBool,
    renewed: &AtomicUsize,
) -> Tokens {
    let mut tokens = users[0].log_in("admin", ADMIN_PASSWORD);
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body = json!({ "refresh_token": tokens.refresh });
        let refreshed = users[turn % 2].stranger().post("/token/refresh", &body);
        tokens = Tokens::of(&refreshed);
        for (service, path) in [
            (users[0], "/sessions"),
            (users[1], "/sessions"),
            (goals, "/goals"),
        ] {
            let answer = service.with_token(&tokens.access).get(path);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        if kid(&tokens.access) != before {
            renewed.fetch_add(1, Ordering::Relaxed);
        }
    }
    tokens
}

#[test]
fn a_key_is_rotated_under_load_and_no_good_token_is_refused() {
    /// Tokens of the new key that each client uses, from either process in turn.
    const RENEWED: usize = 16;
    let (of_users, of_goals) = (Database::new(), Database::new());
    let users = [Planner::users(&of_users), Planner::users(&of_users)];
    let goals = Planner::goals(&of_goals, &users[0].url());
    let before = users[0].log_in("admin", ADMIN_PASSWORD).access;
    let old = kid(&before);
    let stop = AtomicBool::new(false);
    let renewed: [_; 3] = std::array::from_fn(|_| AtomicUsize::new(0));
    let (at, goals_at) = (users.each_ref().map(Planner::at), goals.at());
    let after = std::thread::scope(|scope| {
        let _stop = SetAtEnd(&stop);
        let load = renewed.each_ref().map(|renewed| {
            let (old, stop) = (&old, &stop);
            scope.spawn(move || use_tokens(at, goals_at, old, stop, renewed))
        });
        rotate(&of_users, "6s");
        eventually("each uses tokens of the new key", || {
            let enough = |renewed: &AtomicUsize| renewed.load(Ordering::Relaxed) >= RENEWED;
            renewed.iter().all(enough) || load.iter().any(ScopedJoinHandle::is_finished)
        });
        stop.store(true, Ordering::Relaxed);
        load.map(|load| load.join().expect("no good token is refused"))
    });
    assert!(after.iter().all(|tokens| kid(&tokens.access) != old));
    assert_eq!(
        goals.with_token(&before).get("/goals").status,
        200,
        "it is not over"
    );
    assert_eq!(goals.metric("planner_goals_public_keys"), 2);
}

#[test]
fn goals_goes_on_while_users_is_down_and_knows_no_key_before_it_was_up() {
    let (of_users, of_goals) = (Database::new(), Database::new());
    let mut users = Planner::users(&of_users);
    let goals = Planner::goals(&of_goals, &users.url());
    users.admin().create_user("ivan");
    let token = users.log_in("ivan", PASSWORD).access;
    // Nobody listens there.
    let alone = Planner::goals(&of_goals, "http://127.0.0.1:9");
    assert_problem(
        &alone.with_token(&token).get("/goals"),
        503,
        "has not been reached yet",
    );
    assert_problem(
        &alone.stranger().get("/readyz"),
        503,
        "has not been reached yet",
    );
    assert_problem(&alone.stranger().get("/goals"), 401, "Log in");
    users.replica.kill();
    let mut ivan = goals.with_token(&token);
    assert_eq!(ivan.post("/goals", &json!({ "title": "x" })).status, 201);
    let failures = "planner_goals_public_keys_failures_total";
    eventually("a fetch fails", || goals.metric(failures) > 0);
    assert_eq!(ivan.get("/goals").status, 200);
    eventually("it is ready without that", || {
        goals.stranger().get("/readyz").status == 200
    });
}

#[test]
fn tokens_of_unknown_keys_lead_to_one_fetch_a_second_at_most() {
    let (of_users, of_goals) = (Database::new(), Database::new());
    let users = Planner::users(&of_users);
    let goals = Planner::goals(&of_goals, &users.url());
    let good = users.log_in("admin", ADMIN_PASSWORD).access;
    let (_, rest) = good.split_once('.').expect("it has parts");
    let fetches = "planner_users_requests_total{method=\"GET\",route=\"/.well-known/jwks.json\",status=\"200\"}";
    let mut forger = |number: u32| {
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": number.to_string() });
        let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        let answer = goals.with_token(&forged).get("/goals");
        assert_problem(&answer, 401, "a key that is not known");
    };
    let start = std::time::Instant::now();
    (0..200).for_each(&mut forger);
    let most = 3 + start.elapsed().as_secs();
    assert!(
        users.metric(fetches) <= most,
        "{} in {:?}",
        users.metric(fetches),
        start.elapsed()
    );
}
