//! The body of `POST /messages`: a body that is accepted is JSON, is within the limits, and has the strings that another parser
//! reads.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use server::message::{NewMessage, TEXT_LIMIT, USER_LIMIT};

fuzz_target!(|body: &[u8]| {
    let Ok(message) = NewMessage::parse(body) else {
        return;
    };
    let (user, text) = (message.user(), message.text());
    assert!((1..=USER_LIMIT).contains(&user.chars().count()));
    assert!((1..=TEXT_LIMIT).contains(&text.chars().count()));
    assert!(user == user.trim() && !user.contains(char::is_control) && !text.contains('\0'));

    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_slice(body).expect("an accepted body is a JSON object");
    for (name, value) in [("user", user), ("text", text)] {
        let same: String = serde_json::from_str(fields[name].get()).expect("a string");
        assert_eq!(same, value);
    }
    let rendered = serde_json::json!({ "user": user, "text": text }).to_string();
    assert_eq!(NewMessage::parse(rendered.as_bytes()), Ok(message));
});
