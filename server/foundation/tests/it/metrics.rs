//! `GET /metrics`: the labels by which requests and connections are counted.

use testbed::{Database, eventually};

use crate::harness::{metric, start, store};

#[test]
fn a_thousand_names_are_counted_as_one_route() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for name in 0..1000 {
        client.get(&format!("/notes/{name}"));
    }
    let route = r#"requests_total{method="GET",route="/notes/{name}",status="404"}"#;
    eventually("all are counted", || metric(&replica, route) == Some(1000));
    let shown = client.get("/metrics").body;
    let shown = String::from_utf8_lossy(&shown);
    let routes = shown.matches(r#"_requests_total{method="GET",route="/notes"#);
    assert_eq!(routes.count(), 1, "{shown}");
}

#[test]
fn paths_that_are_no_endpoints_are_counted_together() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for path in ["/a", "/b", "/notes/a/b"] {
        client.get(path);
    }
    let other = r#"requests_total{method="other",route="other",status="404"}"#;
    eventually("all are counted", || metric(&replica, other) == Some(3));
}

#[test]
fn a_pool_shows_its_connections_by_its_name() {
    let database = Database::new();
    let replica = start(&database);
    store(&mut replica.client(), "a", "x");
    for (series, value) in [
        (r#"database_connections{pool="notes",state="idle"}"#, 1),
        (r#"database_connections_limit{pool="notes"}"#, 4),
    ] {
        assert_eq!(metric(&replica, series), Some(value), "{series}");
    }
}
