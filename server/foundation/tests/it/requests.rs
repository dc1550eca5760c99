//! Routing of requests, and the answers.

use testbed::{Database, eventually};

use crate::harness::{assert_problem, note_text, start, store};

#[test]
fn a_note_that_a_body_stored_is_shown_by_its_path() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    let stored = store(&mut client, "plants", "Water\nthem: \u{1f33b}.");
    let shown = client.get("/notes/plants");
    assert_eq!((stored.status, shown.status), (200, 200));
    assert_eq!(shown.header("Content-Type"), Some("application/json"));
    assert_eq!(shown.body, stored.body);
    assert_eq!(shown.json()["text"], "Water\nthem: \u{1f33b}.");
}

#[test]
fn a_parameter_of_the_path_is_decoded_once() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for (name, path) in [
        ("to do", "/notes/to%20do"),
        ("a/b", "/notes/a%2Fb"),
        ("a/b", "/notes/a%2fb"),
        ("..", "/notes/%2e%2E"),
        ("5%2F6", "/notes/5%252F6"),
        ("5%", "/notes/5%"),
        ("1+1", "/notes/1+1"),
        ("què?", "/notes/qu%C3%A8%3F?no=query"),
    ] {
        store(&mut client, name, path);
        assert_eq!(note_text(&mut client, path), path, "{name}");
    }
}

#[test]
fn a_parameter_of_the_path_that_is_not_utf_8_is_refused() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for path in ["/notes/%FF", "/notes/a%C3", "/notes/%ED%A0%80"] {
        assert_problem(&client.get(path), 400, "`name` in the path is not UTF-8");
    }
}

#[test]
fn a_handler_answers_a_missing_resource_with_its_own_problem() {
    let database = Database::new();
    let replica = start(&database);
    let answer = replica.client().get("/notes/nothing");
    assert_problem(&answer, 404, "no note of this name");
}

#[test]
fn a_path_that_is_no_endpoint_is_answered_with_the_endpoints() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for path in ["/", "/notes/", "/notes/a/b", "/note", "//notes", "*"] {
        assert_problem(&client.get(path), 404, "Try /notes, /notes/{name}.");
    }
}

#[test]
fn a_method_that_a_path_does_not_allow_is_answered_with_the_allowed_ones() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for (method, path, allowed) in [
        ("GET", "/notes", "POST"),
        ("PUT", "/notes", "POST"),
        ("POST", "/notes/a", "GET, HEAD"),
        ("DELETE", "/notes/a", "GET, HEAD"),
        ("POST", "/readyz", "GET, HEAD"),
    ] {
        let answer = client.request(method, path, "", b"{}");
        assert_problem(&answer, 405, allowed);
        assert_eq!(answer.header("Allow"), Some(allowed), "{method} {path}");
    }
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    store(&mut client, "a", "x");
    for (path, status) in [("/notes/a", 200), ("/notes/nothing", 404)] {
        let head = client.request("HEAD", path, "", b"");
        let get = client.get(path);
        assert_eq!((head.status, get.status), (status, status), "{path}");
        let length = get.body.len().to_string();
        assert_eq!(head.header("Content-Length"), Some(length.as_str()));
    }
}

#[test]
fn a_service_without_a_contract_has_none_to_show() {
    let database = Database::new();
    let replica = start(&database);
    let answer = replica.client().get("/openapi.json");
    assert_problem(&answer, 404, "no contract");
}

#[test]
fn a_service_says_that_it_is_up_and_ready() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    assert_eq!(client.get("/healthz").json()["status"], "up");
    eventually("it is ready", || {
        client.get("/readyz").json()["status"] == "ready"
    });
}
