//! Any Unicode that a client sends is data: none of it is interpreted as SQL or JSON, and it comes back byte for byte.

use std::net::SocketAddr;
use std::thread::ScopedJoinHandle;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use testbed::{Database, HttpClient, Replica};

const THREADS: u64 = 8;
/// Characters of a text and of a user, by the contract.
const MAX_TEXT: usize = 4096;
const MAX_USER: usize = 64;

/// Characters with a meaning in SQL, JSON, HTTP or a terminal; neighbours of NUL, of the surrogates and of the ends of planes.
const SPECIAL: &str = "'\"\\`%_-;/*#@:(){}[]<>&=?!$,.\u{1}\u{8}\t\n\r\u{1a}\u{1b}\u{1f} \u{7f}\u{85}\u{a0}\u{ad}\
    \u{d7ff}\u{e000}\u{fdd0}\u{feff}\u{fffd}\u{fffe}\u{ffff}\u{10000}\u{1ffff}\u{10ffff}\u{2028}\u{202e}\u{200d}";
const WORDS: [&str; 10] = [
    "'; DROP TABLE messages; --",
    "\\'",
    "\\\\",
    "''",
    "/*!50000 x */",
    "X'41'",
    "_utf8mb4",
    "\\u0000",
    "%00",
    "${x}",
];

/// A string of up to `max` characters, of all planes and kinds.
fn any_string(random: &mut StdRng, max: usize) -> String {
    if random.random_ratio(1, 20) {
        let word = WORDS[random.random_range(0..WORDS.len())];
        return word.chars().take(max).collect();
    }
    let special: Vec<char> = SPECIAL.chars().collect();
    let one = |random: &mut StdRng| match random.random_range(0..6) {
        0 => special[random.random_range(0..special.len())],
        1 => random.random_range(' '..='~'),
        2 => random.random_range('\u{300}'..='\u{36f}'),
        3 => random.random_range('\u{1}'..='\u{ffff}'),
        _ => random.random_range('\u{1}'..='\u{10ffff}'),
    };
    let length = random.random_range(1..=max);
    (0..length).map(|_| one(random)).collect()
}

fn any_user(random: &mut StdRng) -> String {
    let max = random.random_range(1..=MAX_USER);
    let name = any_string(random, max);
    let name: String = name.chars().filter(|one| !one.is_control()).collect();
    let name = name.trim();
    if name.is_empty() {
        "x".to_owned()
    } else {
        name.to_owned()
    }
}

/// A text of many strings, up to its limit; also returns how many they are.
fn any_text(random: &mut StdRng) -> (String, usize) {
    let (mut text, mut left, mut strings) = (String::new(), MAX_TEXT, 0);
    while left > 0 {
        let max = left.min(12);
        let string = any_string(random, max);
        left -= string.chars().count();
        text.push_str(&string);
        strings += 1;
    }
    (text, strings)
}

/// Sends messages until this many strings were sent. Returns each message with its number.
fn send(address: SocketAddr, seed: u64, strings: usize) -> Vec<(u64, Vec<u8>, Vec<u8>)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut client = HttpClient::connect(address);
    let (mut sent, mut messages) = (0, Vec::new());
    while sent < strings {
        let user = any_user(&mut random);
        let (text, count) = any_text(&mut random);
        let own = client.post(&user, &text).own();
        assert_eq!(own["user"], user.as_str(), "seed {seed}");
        assert_eq!(own["text"], text.as_str(), "seed {seed}");
        let seq = own["seq"].as_u64().expect("a number");
        messages.push((seq, user.into_bytes(), text.into_bytes()));
        sent += 1 + count;
    }
    messages
}

fn send_and_compare(strings: usize) {
    let database = Database::new();
    let replica = Replica::start(&database);
    let address = replica.address();
    let mut sent: Vec<_> = std::thread::scope(|scope| {
        let share = strings.div_ceil(THREADS.try_into().expect("few"));
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| scope.spawn(move || send(address, seed, share)))
            .collect();
        let ended = threads.into_iter().map(ScopedJoinHandle::join);
        ended
            .flat_map(|sent| sent.expect("all is answered"))
            .collect()
    });
    sent.sort_unstable();
    let stored: Vec<(u64, Vec<u8>, Vec<u8>)> = database
        .rows("SELECT seq, CAST(user AS BINARY), CAST(text AS BINARY) FROM messages ORDER BY seq");
    assert!(stored == sent, "what is stored is not what was sent");
    database.assert_in_order();
}

#[test]
fn fifty_thousand_random_strings_come_back_byte_for_byte() {
    send_and_compare(50_000);
}

#[test]
#[ignore = "takes a minute; the test above does the same with fewer strings"]
fn a_million_random_strings_come_back_byte_for_byte() {
    send_and_compare(1_000_000);
}
