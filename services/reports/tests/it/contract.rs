//! The contract, and requests that it does not allow.

use foundation::http::{Endpoint, Service};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use reports::api::ReportApi;
use serde_json::{Value, json};
use testbed::Database;

use crate::service::{api, post, request_report};

#[test]
fn each_number_that_cannot_be_taken_is_told() {
    let database = Database::new();
    let api = api(&database);
    let wanted = json!({ "numbers": [1, -1, 2, 1, 1.5, "3", 1_000_000_000_000_001_u64] });
    let answer = post(&mut api.client(), &wanted);
    assert_eq!(answer.status, 400, "{answer:?}");
    let problem = answer.json();
    let faults = problem["faults"].as_array().expect("it is a list");
    let indexes: Vec<_> = faults.iter().map(|fault| fault["index"].clone()).collect();
    assert_eq!(indexes, [1, 3, 4, 5, 6]);
}

#[test]
fn what_has_the_wrong_form_is_400_what_breaks_a_limit_422_and_all_of_it_is_told() {
    let database = Database::new();
    let api = api(&database);
    let mut client = api.client();
    let late_from =
        json!({ "numbers": [1], "from": "2024-01-02T00:00:00Z", "to": "2024-01-01T00:00:00Z" });
    for (wanted, status, fields) in [
        (json!({}), 400, &["numbers"][..]),
        (json!({ "numbers": "1" }), 400, &["numbers"]),
        (json!({ "numbers": ["1"] }), 400, &["numbers"]),
        (
            json!({ "numbers": [1], "correlation_id": true }),
            400,
            &["correlation_id"],
        ),
        (
            json!({ "numbers": [1], "from": 1, "to": "soon" }),
            400,
            &["from", "to"],
        ),
        (json!({ "numbers": [1], "other": 1 }), 400, &["other"]),
        (json!({ "numbers": [] }), 422, &["numbers"]),
        (
            json!({ "numbers": [1, 1, -1] }),
            422,
            &["numbers", "numbers"],
        ),
        (
            json!({ "phones": [1], "correlation_id": "x".repeat(256) }),
            422,
            &["correlation_id"],
        ),
        (late_from, 422, &["to"]),
        (
            json!({ "phones": [-1], "correlation_id": {}, "from": "x", "to": 1, "other": 1 }),
            400,
            &["phones", "correlation_id", "from", "to", "other"],
        ),
    ] {
        let answer = post(&mut client, &wanted);
        assert_eq!(answer.status, status, "{wanted}: {answer:?}");
        let problem = answer.json();
        let faults = problem["faults"].as_array().expect("it is a list");
        let reported: Vec<_> = faults
            .iter()
            .filter_map(|fault| fault["field"].as_str())
            .collect();
        assert_eq!(reported, fields, "{problem}");
        let detail = problem["detail"].as_str().expect("it is a text");
        let names = if fields.len() == 1 {
            fields[0]
        } else {
            "`faults`"
        };
        assert!(detail.contains(names), "{problem}");
    }
}

#[test]
fn the_contract_and_its_page_are_served() {
    let database = Database::new();
    let api = api(&database);
    let mut client = api.client();
    let contract = client.get("/openapi.json").json();
    let paths = contract["paths"].as_object().expect("it is an object");
    for (method, path) in ReportApi::ENDPOINTS.iter().map(Endpoint::operation) {
        let operation = &paths[path][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path}");
    }
    // The example, with which the page fills in the form, is a valid request.
    let post = &contract["paths"]["/api/v1/report"]["post"];
    let example = &post["requestBody"]["content"]["application/json"]["example"];
    request_report(&mut client, example);
    let schemas = &contract["components"]["schemas"];
    let wanted = schemas["Wanted"]["oneOf"].as_array();
    assert_eq!(wanted.map(Vec::len), Some(2), "{schemas}");
    for (name, list) in [("WithNumbers", "numbers"), ("WithPhones", "phones")] {
        let schema = &schemas[name];
        assert_eq!(schema["required"], json!([list]), "{schema}");
        assert_eq!(schema["additionalProperties"], false, "{schema}");
    }
    let phones = json!({
        "type": "array", "minItems": 1, "maxItems": 1_000, "uniqueItems": true,
        "items": { "type": "integer", "minimum": 0, "maximum": 1_000_000_000_000_000_u64 },
    });
    assert_eq!(schemas["UniquePhones"], phones);
    // Members that are always sent, even as null, are required.
    for (name, count) in [
        ("Task", 8),
        ("Report", 7),
        ("PhoneFigures", 8),
        ("Tasks", 2),
    ] {
        let required = schemas[name]["required"].as_array().map(Vec::len);
        assert_eq!(required, Some(count), "{}", schemas[name]);
    }
    for (name, member) in [
        ("ProblemOfRequest", "faults"),
        ("ProblemOfTask", "task_status"),
    ] {
        assert!(
            schemas[name].to_string().contains(&format!("{member:?}:")),
            "{}",
            schemas[name]
        );
    }
    let answer = client.get("/docs");
    assert_eq!(
        (answer.status, answer.header("Location")),
        (303, Some("/docs/index.html"))
    );
    let page = client.get("/docs/index.html");
    assert_eq!(page.header("Content-Type"), Some("text/html"));
    assert!(String::from_utf8_lossy(&page.body).contains("swagger-ui"));
    assert_eq!(client.get("/docs/nothing").status, 404);
}

/// Arbitrary JSON, often similar to a request.
fn nearly_a_request() -> impl Strategy<Value = Value> {
    let scalar = || {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            (0..50_u64).prop_map(Value::from),
        ]
    };
    let list = proptest::collection::vec(scalar(), 0..5).prop_map(Value::from);
    let name = prop_oneof![
        "numbers",
        "phones",
        "correlation_id",
        "from",
        "to",
        "[a-z]{0,3}"
    ];
    let object = proptest::collection::btree_map(name, prop_oneof![scalar(), list], 0..4);
    prop_oneof![object.prop_map(|members| json!(members)), scalar()]
}

#[test]
fn whatever_is_sent_no_answer_blames_the_server() {
    let database = Database::new();
    let api = api(&database);
    let mut client = api.client();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..400 {
        let tree = nearly_a_request()
            .new_tree(&mut runner)
            .expect("nothing is filtered");
        let answer = post(&mut client, &tree.current());
        let is_expected = matches!(answer.status, 202 | 400 | 422);
        assert!(is_expected, "{}: {answer:?}", tree.current());
    }
    for (body, content_type, status) in [
        (&b"\xff"[..], "application/json", 400),
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"numbers=1", "application/x-www-form-urlencoded", 415),
        (
            b"{\"numbers\":[1],\"correlation_id\":\"\\ud800\"}",
            "application/json",
            400,
        ),
        (
            b"{\"numbers\":[1],\"correlation_id\":\"\\u0000\"}",
            "application/json",
            202,
        ),
        (
            b"{\"numbers\":[1],\"numbers\":[2]}",
            "application/json",
            400,
        ),
    ] {
        let header = format!("Content-Type: {content_type}\r\n");
        let answer = client.request("POST", "/api/v1/report", &header, body);
        assert_eq!(
            answer.status,
            status,
            "{:?}: {answer:?}",
            String::from_utf8_lossy(body)
        );
    }
}
