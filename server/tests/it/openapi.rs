//! The contract that the server publishes, compared with what the server does.

use std::collections::BTreeSet;

use foundation::http::{Endpoint, Service};
use serde_json::{Map, Value, json};
use server::api::Messenger;

use testbed::{Answer, Database, Replica, eventually};

/// `/openapi.json`.
struct Contract(Value);

impl Contract {
    fn of(replica: &Replica) -> Self {
        let answer = replica.client().get("/openapi.json");
        assert_eq!(answer.header("Content-Type"), Some("application/json"));
        Self(answer.json())
    }

    /// The value itself, or the one that its `$ref` points to.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(place) => self
                .0
                .pointer(place.trim_start_matches('#'))
                .expect("a reference leads somewhere"),
            None => value,
        }
    }

    fn assert_valid(&self, schema: &Value, instance: &Value, what: &str) {
        let schema = json!({ "allOf": [schema], "components": self.0["components"] });
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .expect("a schema");
        let faults: Vec<_> = validator
            .iter_errors(instance)
            .map(|error| error.to_string())
            .collect();
        assert!(faults.is_empty(), "{what}: {faults:?}");
    }

    /// Fails unless the contract has this answer to this request.
    fn assert_describes(&self, method: &str, path: &str, answer: &Answer) {
        let what = format!("{method} {path} {}", answer.status);
        let operation = &self.0["paths"][path.split('?').next().unwrap_or_default()][method];
        let response = self.resolve(&operation["responses"][answer.status.to_string()]);
        assert!(response.is_object(), "{what} is not described");
        self.assert_conforms(response, answer, &what);
    }

    fn assert_conforms(&self, response: &Value, answer: &Answer, what: &str) {
        let kind = answer.header("Content-Type").expect("all answers have one");
        let essence = kind.split(';').next().unwrap_or_default();
        let schema = &response["content"][essence]["schema"];
        assert!(schema.is_object(), "{what}: {kind} is not described");
        if essence != "text/plain" {
            self.assert_valid(schema, &answer.json(), what);
        }
        for (name, header) in response["headers"].as_object().unwrap_or(&Map::new()) {
            let value = answer
                .header(name)
                .unwrap_or_else(|| panic!("{what}: no {name}"));
            let value = value
                .parse::<u64>()
                .map_or_else(|_| value.into(), Value::from);
            self.assert_valid(&self.resolve(header)["schema"], &value, what);
        }
    }
}

#[test]
fn the_contract_lists_what_is_served() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let contract = Contract::of(&replica);
    assert_eq!(contract.0["info"]["version"], env!("CARGO_PKG_VERSION"));

    let mut client = replica.client();
    let paths = contract.0["paths"].as_object().expect("paths");
    let own = Messenger::ENDPOINTS.iter().map(Endpoint::operation);
    let common = ["/healthz", "/metrics", "/openapi.json", "/readyz"];
    let served: BTreeSet<&str> = own.map(|(_, path)| path).chain(common).collect();
    assert!(paths.keys().eq(served), "{:?}", paths.keys());
    for (path, operations) in paths {
        let mut methods: Vec<_> = operations
            .as_object()
            .expect("operations")
            .keys()
            .map(|method| method.to_uppercase())
            .collect();
        methods.sort();
        let answer = client.request("PUT", path, "", b"");
        assert_eq!(
            answer.header("Allow"),
            Some(methods.join(", ").as_str()),
            "{path}"
        );
        let described = &contract.0["components"]["responses"]["MethodNotAllowed"];
        contract.assert_conforms(described, &answer, path);
    }
    let described = &contract.0["components"]["responses"]["NotFound"];
    contract.assert_conforms(described, &client.get("/nowhere"), "/nowhere");
}

#[test]
fn the_examples_of_the_contract_are_valid() {
    let database = Database::new();
    let contract = Contract::of(&Replica::start(&database));
    let mut seen = 0;
    let mut pending = vec![&contract.0];
    while let Some(value) = pending.pop() {
        for example in value["examples"]
            .as_object()
            .into_iter()
            .flat_map(Map::values)
        {
            contract.assert_valid(&value["schema"], &example["value"], &example.to_string());
            seen += 1;
        }
        match value {
            Value::Object(fields) => pending.extend(fields.values()),
            Value::Array(items) => pending.extend(items),
            _ => {}
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn what_is_answered_is_what_the_contract_says() {
    let database = Database::new();
    let replica = Replica::start_with(
        &database,
        &["--request-timeout=5s", "--database-timeout=2s"],
    );
    let contract = Contract::of(&replica);
    let mut client = replica.client();
    let key = "123e4567-e89b-42d3-a456-426614174000";
    let posts = [
        (200, client.post("ann", "hi")),
        (
            200,
            client.post_with_key("\u{10ffff}", "\u{1}\u{10ffff}", key),
        ),
        (422, client.post_with_key("ann", "another", key)),
        (422, client.post(" ann", "hi")),
        (400, client.post_with_key("ann", "hi", "x")),
        (400, client.request("POST", "/messages", "", b"{")),
        (
            415,
            client.request("POST", "/messages", "Content-Type: text/plain\r\n", b"{}"),
        ),
        (
            413,
            replica
                .client()
                .request("POST", "/messages", "", &vec![b' '; 70_000]),
        ),
    ];
    for (status, answer) in posts {
        assert_eq!(answer.status, status);
        contract.assert_describes("post", "/messages", &answer);
    }
    for (status, path) in [
        (200, "/messages"),
        (200, "/messages?before=2&limit=1"),
        (400, "/messages?x"),
        (422, "/messages?limit=0"),
        (200, "/healthz"),
        (200, "/readyz"),
        (200, "/metrics"),
        (200, "/openapi.json"),
    ] {
        eventually(path, || {
            let answer = client.get(path);
            contract.assert_describes("get", path, &answer);
            // On a loaded machine the time-out of the readiness check may be too short.
            if path != "/readyz" {
                assert_eq!(answer.status, status, "{path}");
            }
            answer.status == status
        });
    }
    let _holder = database.hold_the_lock();
    let answer = client.post("ann", "waits for the lock");
    assert_eq!(answer.status, 503);
    contract.assert_describes("post", "/messages", &answer);
}
