//! The query of `GET /messages` and the value of `Idempotency-Key`: what is taken says the same when it is written anew.
#![no_main]

use libfuzzer_sys::fuzz_target;
use server::api::PageRequest;
use server::message::RequestId;

fuzz_target!(|value: &str| {
    if let Ok(page) = PageRequest::parse(value) {
        assert!((1..=100).contains(&page.limit));
        let before = page
            .before
            .map_or_else(String::new, |before| format!("before={before}&"));
        let rendered = format!("{before}limit={}", page.limit);
        assert_eq!(PageRequest::parse(&rendered), Ok(page));
    }
    if let Ok(id) = RequestId::parse(value) {
        let rendered = format!("\"{}\"", id.uuid().hyphenated());
        assert!(
            value.eq_ignore_ascii_case(&rendered)
                || value.eq_ignore_ascii_case(rendered.trim_matches('"'))
        );
        assert_eq!(RequestId::parse(&rendered), Ok(id));
    }
});
