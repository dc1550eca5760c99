//! Checks the JSON output against the schema that the program prints.

use serde_json::Value;

use crate::outputs::{fails_sometimes, json};
use crate::program::{client, client_at};
use crate::server::Server;

#[test]
fn the_output_is_what_its_schema_says() {
    let server = Server::start(2, fails_sometimes);
    let ended = client_at(
        &server.urls,
        &[
            "-c",
            "5",
            "-n",
            "20",
            "--output-format",
            "json",
            "--threshold",
            "p50<1us",
        ],
    );
    let schema = json(&client(&["schema"]).stdout);
    assert_conforms(&json(&ended.stdout), &schema, &schema, "$");
}

/// Checks a value against the few keywords of JSON schema that ours uses; fails the test at any other.
fn assert_conforms(value: &Value, schema: &Value, root: &Value, path: &str) {
    let list = |value: &Value| value.as_array().cloned().expect("a list");
    for (rule, wanted) in schema.as_object().expect("a schema is an object") {
        match rule.as_str() {
            "$schema" | "title" | "description" | "default" | "$defs" | "format" | "minimum"
            | "maximum" => {}
            "$ref" => {
                let name = wanted
                    .as_str()
                    .and_then(|name| name.strip_prefix("#/$defs/"))
                    .expect("a local name");
                assert_conforms(value, &root["$defs"][name], root, path);
            }
            "anyOf" => {
                assert!(
                    list(wanted).iter().any(|one| one["type"] == "null"),
                    "{path}: only what may be absent"
                );
                if !value.is_null() {
                    assert_conforms(value, &wanted[0], root, path);
                }
            }
            "oneOf" => assert!(
                list(wanted).iter().any(|word| word["const"] == *value),
                "{path}: {value}"
            ),
            "type" => {
                let names = wanted
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![wanted.clone()]);
                assert!(
                    names.iter().any(|name| has_type(value, name)),
                    "{path}: {value} is no {wanted}"
                );
            }
            "properties" => {
                for (name, schema) in wanted.as_object().expect("an object") {
                    assert_conforms(&value[name], schema, root, &format!("{path}.{name}"));
                }
            }
            "required" => {
                for name in list(wanted).iter().filter_map(Value::as_str) {
                    assert!(value.get(name).is_some(), "{path}.{name} is missing");
                }
            }
            "additionalProperties" => {
                for name in value.as_object().expect("an object").keys() {
                    assert!(
                        schema["properties"].get(name).is_some(),
                        "{path}.{name} is not in the schema"
                    );
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    assert_conforms(item, wanted, root, &format!("{path}[{index}]"));
                }
            }
            other => panic!("{path}: the test knows no rule {other}"),
        }
    }
}

/// Returns whether a value has the type of this name.
fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str().expect("a name") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no rule for the type {other}"),
    }
}
