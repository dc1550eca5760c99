//! A database that does not answer, and one under many concurrent requests.

use std::time::Instant;

use serde_json::json;
use testbed::{Database, HttpClient, OwnDatabase, PATIENCE, eventually};

use crate::harness::{ADMIN_PASSWORD, PASSWORD, Planner, Tokens, assert_problem};
use crate::relay::Relay;

/// The clients of the benchmark in the README.
const CONNECTIONS: usize = 200;

#[test]
fn two_hundred_connections_on_a_cold_cache_or_none_are_all_answered() {
    let database = Database::new();
    for mode in ["on", "off"] {
        let users = Planner::users_with(&database, &["--cache", mode]);
        let mut clients: Vec<HttpClient> = (0..CONNECTIONS).map(|_| users.client()).collect();
        for _ in 0..3 {
            for (id, client) in clients.iter_mut().enumerate() {
                // Half of the requests read the same user; most others read users that do not exist.
                let id = if id % 2 == 0 { 1 } else { id };
                let request = format!("GET /user/id-{id} HTTP/1.1\r\nHost: x\r\n\r\n");
                client.send_raw(request.as_bytes());
            }
            for (id, client) in clients.iter_mut().enumerate() {
                let expected = if id % 2 == 0 || id == 1 { 200 } else { 404 };
                assert_eq!(client.receive().status, expected, "cache {mode}, {id}");
            }
        }
    }
}

#[test]
fn while_the_database_is_frozen_nothing_old_is_shown_and_all_is_well_once_it_goes_on() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let options = ["--request-timeout=5s", "--database-timeout=60s"];
    let users = Planner::users_with(server.database(), &options);
    let mut anonymous = users.anonymous();
    eventually("it is in memory", || {
        anonymous.get("/user/id-1").status == 200 && users.metric("planner_users_cache_entries") > 0
    });
    server
        .process()
        .expect("it runs")
        .freeze()
        .expect("it runs");
    // The cache may be used for 100 ms more; later requests wait for the database, until their deadline.
    eventually("the cache is not used any more", || {
        anonymous.get("/user/id-1").status == 503
    });
    let start = Instant::now();
    assert_problem(&anonymous.get("/user/id-1"), 503, "Try again");
    // It is answered before the timeout of the database.
    assert!(start.elapsed() < PATIENCE);
    assert_problem(
        &users.anonymous().log_in("admin", ADMIN_PASSWORD),
        503,
        "Try again",
    );
    server.process().expect("it runs").thaw().expect("it runs");
    eventually("the user is shown", || {
        anonymous.get("/user/id-1").status == 200
    });
    eventually("logins work", || {
        users.anonymous().log_in("admin", ADMIN_PASSWORD).status == 200
    });
}

#[test]
fn what_may_have_been_done_is_504_and_a_refresh_is_finished_where_the_database_is_back() {
    let database = Database::new();
    let relay = Relay::to(&database);
    let users = Planner::run(&mut Planner::users_command(&relay.url(&database)));
    let tokens = users.log_in("admin", ADMIN_PASSWORD);
    let refresh = |tokens: &Tokens| {
        let body = json!({ "refresh_token": tokens.refresh });
        users.anonymous().post("/token/refresh", &body)
    };
    relay.lose_commits(1);
    let tokens = Tokens::of(&refresh(&tokens));
    assert_eq!(relay.commits_to_lose(), 0);
    let tokens = Tokens::of(&refresh(&tokens));

    let mut admin = users.with_token(&tokens.access);
    let user =
        json!({ "login": "ivan", "password": PASSWORD, "first_name": "I", "last_name": "P" });
    let name = json!({ "first_name": "Ivan" });
    let unknown = [
        ("POST", "/users", &user, "look before you send it again"),
        ("PATCH", "/users/2", &name, "look before you send it again"),
        (
            "DELETE",
            "/users/2",
            &json!({}),
            "look before you send it again",
        ),
        (
            "POST",
            "/token",
            &json!({ "login": "admin", "password": ADMIN_PASSWORD }),
            "Log in again",
        ),
    ];
    for (method, path, body, expected) in unknown {
        relay.lose_commits(1);
        let answer = admin.send(method, path, "", &body.to_string());
        assert_eq!(relay.commits_to_lose(), 0);
        assert_problem(&answer, 504, expected);
        assert_eq!(answer.header("Retry-After"), None);
    }
    assert_eq!(database.rows::<u64>("SELECT COUNT(*) FROM users"), [1]);

    relay.lose_commits(2);
    assert_problem(&refresh(&tokens), 504, "Log in again");
    assert_eq!(relay.commits_to_lose(), 0);
    assert_problem(&refresh(&tokens), 401, "was used before");
}
