//! Signing keys: rotation, sealing, and the goals' service while the users' service is down.

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

/// Refreshes at both processes in turn, and uses each access token with all services. Counts in `renewed` the tokens of another
/// key than `before`.
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
        let refreshed = users[turn % 2].anonymous().post("/token/refresh", &body);
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
    /// Tokens of the new key that each client uses.
    const RENEWED: usize = 16;
    let (users_database, goals_database) = (Database::new(), Database::new());
    let users = [
        Planner::users(&users_database),
        Planner::users(&users_database),
    ];
    let goals = Planner::goals(&goals_database, &users[0].url());
    let before = users[0].log_in("admin", ADMIN_PASSWORD).access;
    let old = kid(&before);
    let stop = AtomicBool::new(false);
    let renewed: [_; 3] = std::array::from_fn(|_| AtomicUsize::new(0));
    let (at, goals_at) = (users.each_ref().map(Planner::address), goals.address());
    let after = std::thread::scope(|scope| {
        let _stop = SetAtEnd(&stop);
        let load = renewed.each_ref().map(|renewed| {
            let (old, stop) = (&old, &stop);
            scope.spawn(move || use_tokens(at, goals_at, old, stop, renewed))
        });
        rotate(&users_database, "6s");
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

/// For each key, in the order of signing: when it begins to sign, and until when its tokens are accepted, in seconds from now.
fn keys(database: &Database) -> Vec<(f64, Option<f64>)> {
    let from_now = |column| format!("TIMESTAMPDIFF(MICROSECOND, NOW(6), {column}) / 1000000e0");
    let (signs, verifies) = (from_now("signs_from"), from_now("verifies_until"));
    database.rows(&format!(
        "SELECT {signs}, {verifies} FROM signing_keys ORDER BY signs_from"
    ))
}

#[test]
fn a_rotation_takes_the_place_of_one_that_does_not_sign_yet() {
    for (first, second) in [("1h", "1s"), ("1s", "1h"), ("1s", "1s"), ("1s", "2s")] {
        let database = Database::new();
        let users = Planner::users(&database);
        let before = users.log_in("admin", ADMIN_PASSWORD).access;
        rotate(&database, first);
        rotate(&database, second);
        let keys = keys(&database);
        let (newest, older) = keys.split_last().expect("there are keys");
        assert_eq!(newest.1, None, "{first}, {second}: {keys:?}");
        assert_eq!(newest.0 > 60.0, second == "1h", "{keys:?}");
        // Each signs until the next one does. Its tokens are accepted for 15 minutes and twice the clock leeway after that.
        for (index, key) in older.iter().enumerate() {
            let until = key.1.expect("another follows");
            let followed = keys[index + 1].0;
            assert!((909.0..911.5).contains(&(until - followed)), "{keys:?}");
            assert!(keys[index + 1].0 - key.0 >= 0.99, "{keys:?}");
        }
        if second != "1h" {
            eventually("the newest key signs", || {
                kid(&users.log_in("admin", ADMIN_PASSWORD).access) == newest_kid(&database)
            });
        }
        assert_eq!(users.with_token(&before).get("/sessions").status, 200);
    }
}

fn newest_kid(database: &Database) -> String {
    let newest = "SELECT kid FROM signing_keys WHERE verifies_until IS NULL";
    database.rows::<String>(newest).remove(0)
}

#[test]
fn a_key_is_not_rotated_by_who_cannot_open_the_others() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let database = Database::new();
    let with = |secret: &str, arguments: &[&str]| {
        let mut command = Planner::users_command(&database.url());
        Replica::run(command.env("KEY_SECRET", secret).args(arguments))
    };
    with(SECRET, &[]).wait_until_ready();
    for (secret, expected) in [
        (
            "another secret of thirty-two characters",
            "sealed with another KEY_SECRET",
        ),
        ("", "set KEY_SECRET"),
    ] {
        let mut refused = with(secret, &["rotate-key"]);
        assert_eq!(refused.exit_status().code(), Some(1), "{}", refused.log());
        assert!(refused.log().contains(expected), "{}", refused.log());
    }
    assert_eq!(keys(&database).len(), 1);
    assert!(with(SECRET, &["rotate-key"]).exit_status().success());
    with(SECRET, &[]).wait_until_ready();
}

#[test]
fn a_key_that_is_over_keeps_no_process_from_starting() {
    let database = Database::new();
    drop(Planner::users(&database));
    rotate(&database, "1s");
    database.rows::<u8>(
        "UPDATE signing_keys SET private_key = '', verifies_until = NOW(6) - INTERVAL 1 SECOND
         WHERE verifies_until IS NOT NULL",
    );
    let users = Planner::users(&database);
    let fresh = users.log_in("admin", ADMIN_PASSWORD).access;
    assert_eq!(users.with_token(&fresh).get("/sessions").status, 200);
}

#[test]
fn a_key_that_is_not_sealed_is_warned_of_until_another_is_made() {
    const WARNING: &str = "run `planner users rotate-key`";
    let database = Database::new();
    let users = Planner::users(&database);
    assert!(users.log().contains(&format!("set it, then {WARNING}")));
    drop(users);
    let mut command = Planner::users_command(&database.url());
    command.env("KEY_SECRET", "0123456789abcdef0123456789abcdef");
    let users = Planner::run(&mut command);
    assert!(users.log().contains(WARNING) && !users.log().contains("set it"));
    drop(users);
    let rotated = Replica::run(
        Planner::users_command(&database.url())
            .args(["rotate-key"])
            .env("KEY_SECRET", "0123456789abcdef0123456789abcdef"),
    )
    .exit_status();
    assert!(rotated.success());
    assert!(!Planner::run(&mut command).log().contains(WARNING));
}

#[test]
fn goals_goes_on_while_users_is_down_and_knows_no_key_before_it_was_up() {
    let (users_database, goals_database) = (Database::new(), Database::new());
    let mut users = Planner::users(&users_database);
    let goals = Planner::goals(&goals_database, &users.url());
    users.admin().create_user("ivan");
    let token = users.log_in("ivan", PASSWORD).access;
    // Nobody listens there.
    let alone = Planner::goals(&goals_database, &format!("http://x:{PASSWORD}@127.0.0.1:9"));
    assert!(alone.log().contains("http://x:***@127.0.0.1:9/.well-known"));
    assert_problem(
        &alone.with_token(&token).get("/goals"),
        503,
        "was not reached yet",
    );
    assert_problem(
        &alone.anonymous().get("/readyz"),
        503,
        "was not reached yet",
    );
    assert_problem(&alone.anonymous().get("/goals"), 401, "Log in");
    users.replica.kill();
    let mut ivan = goals.with_token(&token);
    assert_eq!(ivan.post("/goals", &json!({ "title": "x" })).status, 201);
    let failures = "planner_goals_public_keys_failures_total";
    eventually("a fetch fails", || goals.metric(failures) > 0);
    assert_eq!(ivan.get("/goals").status, 200);
    eventually("it is ready without that", || {
        goals.anonymous().get("/readyz").status == 200
    });
}

#[test]
fn tokens_of_unknown_keys_lead_to_one_fetch_a_second_at_most() {
    let (users_database, goals_database) = (Database::new(), Database::new());
    let users = Planner::users(&users_database);
    let goals = Planner::goals(&goals_database, &users.url());
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
