//! Deserializes JSON objects, and the fields of queries and forms.

use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde_path_to_error::Error as FieldError;

/// Deserializes a JSON object. An array is refused, although serde accepts one for a struct.
///
/// # Errors
/// What is wrong with it.
pub fn parse_object<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    // serde_json would check only those strings that the type has (RFC 8259, section 8.1).
    let json = str::from_utf8(json).map_err(|_where| "the body is not UTF-8")?;
    if !json.trim_ascii_start().starts_with('{') {
        return Err("the body is not a JSON object".to_owned());
    }
    serde_json::from_str(json).map_err(|error| {
        // Again, for the name of the field: to keep track of it has a cost.
        let mut json = serde_json::Deserializer::from_str(json);
        let with_field = serde_path_to_error::deserialize::<_, T>(&mut json).err();
        with_field.map_or_else(|| error.to_string(), |error| describe(&error))
    })
}

/// Deserializes the fields of a query or a form, each once, decoded.
///
/// # Errors
/// What is wrong with them.
pub(super) fn parse_fields<T: DeserializeOwned>(fields: &[u8]) -> Result<T, String> {
    let fields = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(fields));
    serde_path_to_error::deserialize(fields).map_err(|error| describe(&error))
}

/// Says what is wrong, and with which field.
fn describe<E: Display>(error: &FieldError<E>) -> String {
    let (field, wrong) = (error.path().to_string(), error.inner().to_string());
    if NO_NUMBER.contains(&&*wrong) {
        format!("`{field}` is not a whole number, or too large or too small")
    } else if field == "." || wrong.contains(&format!("`{field}`")) {
        wrong
    } else {
        format!("`{field}`: {wrong}")
    }
}

/// What the standard library says about digits that are no valid number.
const NO_NUMBER: [&str; 4] = [
    "invalid digit found in string",
    "cannot parse integer from empty string",
    "number too large to fit in target type",
    "number too small to fit in target type",
];

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_error_in_a_field_names_the_field() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only errors are checked")]
        struct Fields {
            limit: Option<u8>,
            id: Option<Uuid>,
        }
        for (fields, expected) in [
            ("limit=x", "`limit` is not a whole number"),
            ("limit=", "`limit` is not a whole number"),
            ("limit=-1", "`limit` is not a whole number"),
            ("limit=256", "`limit` is not a whole number, or too large"),
            ("id=7", "`id`: UUID parsing failed"),
            ("limit=1&limit=1", "duplicate field `limit`"),
            ("x=1", "unknown field `x`"),
        ] {
            let error = parse_fields::<Fields>(fields.as_bytes()).expect_err(fields);
            assert!(error.contains(expected), "{error}");
        }
        for (json, expected) in [
            (r#"{"id": "7"}"#, "`id`: UUID parsing failed"),
            (r#"{"limit": "x"}"#, "`limit`: invalid type: string"),
            (r#"{"limit": 1} 2"#, "trailing characters"),
            (r#"{"x": 1}"#, "unknown field `x`"),
            ("[]", "not a JSON object"),
        ] {
            let error = parse_object::<Fields>(json.as_bytes()).expect_err(json);
            assert!(error.contains(expected), "{error}");
        }
    }
}
