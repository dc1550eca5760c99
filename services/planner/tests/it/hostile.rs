//! Malformed requests: none is answered with a 5xx status.

use testbed::Database;

use crate::harness::{ADMIN_PASSWORD, Planner};

const BODIES: [&str; 20] = [
    "",
    "{",
    "[]",
    "null",
    "\"x\"",
    "{}}",
    "{\"title\":1}",
    "{\"login\":null,\"password\":null}",
    "{\"title\":\"\\ud800\"}",
    "{\"login\":\"a\",\"login\":\"b\",\"password\":\"x\"}",
    "{\"refresh_token\":{}}",
    "{\"status\":\"\"}",
    "{\"status\":[]}",
    "{\"due\":\"99999-01-01\",\"title\":\"x\"}",
    "{\"assignee_id\":-1,\"title\":\"x\"}",
    "{\"assignee_id\":1e99,\"title\":\"x\"}",
    "{\"assignee_id\":0,\"title\":\"x\"}",
    "{\"password\":\"'; DROP TABLE users; --\"}",
    "grant_type=password&username=%ff&password=%",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

const WITH_BODY: [(bool, &str, &str); 9] = [
    (true, "POST", "/token"),
    (true, "POST", "/token/refresh"),
    (true, "POST", "/users"),
    (true, "PATCH", "/users/1"),
    (true, "PATCH", "/users/0"),
    (false, "POST", "/goals"),
    (false, "PATCH", "/goals/1"),
    (false, "POST", "/goals/1/tasks"),
    (false, "PATCH", "/goals/1/tasks/1"),
];

const QUERIES: [&str; 14] = [
    "limit=",
    "limit=-1",
    "limit=1e9",
    "limit=18446744073709551616",
    "after=-1",
    "after=%00",
    "after=99999999999999999999",
    "login=%ff%fe",
    "login=%F0%9F%98%80%00",
    "first_name=%25%25",
    "first_name=**************************************************ab",
    "last_name=%E2%80%AE*",
    "a[b]=c",
    "&&&=&",
];

const HEADERS: [&str; 8] = [
    "Content-Type: text/plain\r\n",
    "Content-Type: multipart/form-data\r\n",
    "Content-Encoding: gzip\r\n",
    "If-Match: \"\r\n",
    "If-Match: W/W/\"1\", ,,\r\n",
    "If-None-Match: *, *, \"\r\n",
    "Authorization: Bearer\r\n",
    "Authorization: Bearer \"..\"\r\n",
];

const PATHS: [(bool, &str); 12] = [
    (true, "/users"),
    (true, "/users/"),
    (true, "/users/%2e%2e"),
    (true, "/users/%ff"),
    (true, "/user/id-"),
    (true, "/user/id-1%0d%0a"),
    (true, "/sessions/%00"),
    (true, "/docs/..%2f..%2fetc%2fpasswd"),
    (false, "/goals/9999999999999999999999"),
    (false, "/goals/1/tasks/x"),
    (false, "/goals//tasks/1/history"),
    (false, "/goals/1/tasks/1/history"),
];

/// All requests: whether to the users' service, method, target, headers, body.
fn requests() -> Vec<(bool, &'static str, String, &'static str, &'static str)> {
    let mut all = Vec::new();
    for (to_users, method, path) in WITH_BODY {
        all.extend(BODIES.map(|body| (to_users, method, path.to_owned(), "", body)));
        all.extend(HEADERS.map(|header| (to_users, method, path.to_owned(), header, "{}")));
    }
    for (to_users, path) in [
        (true, "/users"),
        (false, "/goals"),
        (false, "/goals/1/tasks"),
    ] {
        all.extend(QUERIES.map(|query| (to_users, "GET", format!("{path}?{query}"), "", "")));
    }
    for (to_users, path) in PATHS {
        all.extend(
            ["GET", "DELETE", "PUT"].map(|method| (to_users, method, path.to_owned(), "", "")),
        );
    }
    all
}

#[test]
fn no_malformed_request_is_answered_with_a_fault_of_the_server() {
    let (users_database, goals_database) = (Database::new(), Database::new());
    let users = Planner::users(&users_database);
    let goals = Planner::goals(&goals_database, &users.url());
    let token = users.log_in("admin", ADMIN_PASSWORD).access;
    let requests = requests();
    assert!(requests.len() >= 300, "{}", requests.len());
    for (to_users, method, target, headers, body) in requests {
        let service = if to_users { &users } else { &goals };
        for mut client in [service.with_token(&token), service.anonymous()] {
            let answer = client.send(method, &target, headers, body);
            let asked = format!("{method} {target} {headers:?} {body:?}: {answer:?}");
            assert!(answer.status < 500, "{asked}");
            if answer.status >= 400 {
                let kind = answer.header("Content-Type");
                assert_eq!(kind, Some("application/problem+json"), "{asked}");
                assert!(answer.json()["detail"].is_string(), "{asked}");
            }
        }
    }
    assert!(!users.log().contains("panicked") && !goals.log().contains("panicked"));
}
