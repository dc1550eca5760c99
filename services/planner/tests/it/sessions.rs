//! Sessions: refreshing, listing and ending them.

use std::sync::Barrier;

use mysql::prelude::Queryable;
use planner::users::store;
use serde_json::{Value, json};
use testbed::{Answer, Database, eventually};

use crate::harness::{ADMIN_PASSWORD, Address, PASSWORD, Planner, Tokens, assert_problem};

fn refresh(users: Address, token: &str) -> Answer {
    let body = json!({ "refresh_token": token });
    users.anonymous().post("/token/refresh", &body)
}

fn has_session(users: &Planner, tokens: &Tokens) -> bool {
    users.with_token(&tokens.access).get("/sessions").status == 200
}

#[test]
fn a_refresh_token_is_taken_once_and_the_second_time_ends_its_session() {
    let database = Database::new();
    let users = Planner::users(&database);
    users.admin().create_user("ivan");
    let (first, other) = (
        users.log_in("ivan", PASSWORD),
        users.log_in("ivan", PASSWORD),
    );
    let second = Tokens::of(&refresh(users.address(), &first.refresh));
    let third = Tokens::of(&refresh(users.address(), &second.refresh));
    assert!(has_session(&users, &third) && has_session(&users, &first));
    assert_problem(
        &refresh(users.address(), &first.refresh),
        401,
        "was used before",
    );
    assert_problem(&refresh(users.address(), &third.refresh), 401, "unknown");
    assert!(!has_session(&users, &third) && !has_session(&users, &first));
    assert!(has_session(&users, &other), "it is another login's");
    eventually("it is logged", || {
        users.log().contains("a refresh token was used twice")
    });
}

#[test]
fn sessions_that_are_over_are_removed_some_at_a_time() {
    let database = Database::new();
    let users = Planner::users(&database);
    let tokens = users.log_in("admin", ADMIN_PASSWORD);
    let mut connection = database.connect();
    connection
        .query_drop("BEGIN")
        .expect("the connection is up");
    for number in 0..1_500 {
        let row = format!(
            "INSERT INTO sessions (id, user_id, family, token_hash, created_at, refreshed_at, expires_at)
             VALUES (LPAD('{number}', 16, '0'), 1, LPAD('{number}', 16, '0'), REPEAT('x', 32), NOW(6), NOW(6), NOW(6) - INTERVAL 1 SECOND)"
        );
        connection.query_drop(row).expect("the table is there");
    }
    connection
        .query_drop("COMMIT")
        .expect("the connection is up");
    for is_more in [true, false] {
        assert_eq!(store::remove_expired(&mut connection).ok(), Some(is_more));
    }
    let left: Vec<u64> = database.rows("SELECT COUNT(*) FROM sessions");
    assert_eq!(left, [1]);
    assert!(has_session(&users, &tokens));
}

/// How many of several concurrent requests with the same refresh token succeed.
fn successful_refreshes(users: Address) -> usize {
    const REQUESTS: usize = 8;
    let token = users.log_in("admin", ADMIN_PASSWORD).refresh;
    let gate = Barrier::new(REQUESTS);
    std::thread::scope(|scope| {
        let send = || {
            gate.wait();
            refresh(users, &token).status
        };
        let threads: Vec<_> = (0..REQUESTS).map(|_| scope.spawn(send)).collect();
        let statuses = threads
            .into_iter()
            .map(|thread| thread.join().expect("it is answered"));
        statuses.filter(|&status| status == 200).count()
    })
}

#[test]
fn of_a_refresh_token_that_is_sent_many_times_at_once_one_is_taken() {
    let database = Database::new();
    let users = Planner::users(&database);
    for _ in 0..10 {
        assert_eq!(successful_refreshes(users.address()), 1);
    }
}

#[test]
fn what_is_no_refresh_token_is_refused() {
    let database = Database::new();
    let users = Planner::users(&database);
    let tokens = users.log_in("admin", ADMIN_PASSWORD);
    for no_token in ["", "x", &tokens.access, &"A".repeat(64)] {
        assert_problem(&refresh(users.address(), no_token), 401, "not taken");
    }
    assert!(has_session(&users, &tokens));
}

#[test]
fn a_new_password_ends_all_sessions_and_takes_the_place_of_the_old_one() {
    let database = Database::new();
    let users = Planner::users(&database);
    let path = format!("/users/{}", users.admin().create_user("ivan"));
    let sessions = [(); 2].map(|()| users.log_in("ivan", PASSWORD));
    let mut ivan = users.with_token(&sessions[0].access);
    let new = json!({ "password": "Salmo-salar-1758" });
    assert_eq!(ivan.patch(&path, &new).status, 200);
    for tokens in &sessions {
        assert!(!has_session(&users, tokens));
        assert_problem(&refresh(users.address(), &tokens.refresh), 401, "unknown");
    }
    assert_problem(&users.anonymous().log_in("ivan", PASSWORD), 401, "wrong");
    users.log_in("ivan", "Salmo-salar-1758");
}

#[test]
fn sessions_are_listed_and_ended_one_by_one_by_their_user_alone() {
    let database = Database::new();
    let users = Planner::users(&database);
    users.admin().create_user("ivan");
    let (here, there) = (
        users.log_in("ivan", PASSWORD),
        users.log_in("ivan", PASSWORD),
    );
    let mut ivan = users.with_token(&here.access);
    let listed = ivan.read("/sessions");
    let listed = listed["items"].as_array().expect("a list");
    let of = |current: bool| -> &Value {
        let mut found = listed
            .iter()
            .filter(|session| session["current"] == current);
        found.next().expect("there is one")
    };
    assert_eq!(listed.len(), 2);
    let path = |session: &Value| format!("/sessions/{}", session["id"].as_str().expect("an id"));
    assert_problem(
        &users.admin().delete(&path(of(false))),
        404,
        "no session of yours",
    );
    assert_eq!(ivan.delete(&path(of(false))).status, 204);
    assert_problem(&ivan.delete(&path(of(false))), 404, "no session of yours");
    assert_problem(&ivan.delete("/sessions/x"), 404, "no session of yours");
    assert!(has_session(&users, &here) && !has_session(&users, &there));
    assert_eq!(ivan.delete("/token").status, 204);
    assert!(!has_session(&users, &here));
    assert_problem(&refresh(users.address(), &here.refresh), 401, "unknown");
}
