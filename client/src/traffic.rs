//! Plans a run: which user sends which text to which replica. The plan is pure: it depends on the seed, the settings and the tag
//! of the run, and not on time or answers, so that a run can be repeated with the same traffic.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// The words of all texts. They vary enough to reveal a server that changes what it stores: quotes, backslashes, composed and
/// decomposed accents, right-to-left scripts, characters of four bytes.
const WORDS: [&str; 24] = [
    "hello",
    "there",
    "see",
    "you",
    "at",
    "seven",
    "lunch",
    "yes",
    "no",
    "maybe",
    "\"quoted\"",
    "back\\slash",
    "it's",
    "100%",
    "grüße",
    "cafe\u{301}",
    "привет",
    "שלום",
    "你好",
    "🎉",
    "👩\u{200d}🚀",
    "<b>",
    "a;b",
    "tea\tcup",
];

/// The greatest seed. JSON readers that store numbers as doubles (a browser, jq 1.6) round greater ones.
pub(crate) const MAX_SEED: u64 = (1 << 53) - 1;

/// The plan of a whole run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The beginning of each text, so that the texts of two runs on one database differ.
    pub(crate) tag: String,
    pub(crate) users: usize,
    pub(crate) replicas: usize,
    /// The length of each text in characters; without it, a text is a few words.
    pub(crate) text_length: Option<usize>,
}

/// One message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The number of the request in its coroutine, from 0, warm-up included.
    pub(crate) request: u32,
    /// The index of the user who sends it.
    pub(crate) user: usize,
    /// The index of the replica that gets it.
    pub(crate) replica: usize,
    /// The text, which is unique in the run.
    pub(crate) text: String,
}

impl Plan {
    /// Returns the messages of one coroutine. Each coroutine has its own stream of random numbers, so that its plan does not
    /// depend on the speed of the others.
    pub(crate) fn coroutine(&self, coroutine: u32) -> Script {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(u64::from(coroutine));
        Script {
            plan: self.clone(),
            coroutine,
            request: 0,
            random,
        }
    }

    /// Returns the least length in characters at which texts are still unique, if no coroutine and no request have greater
    /// numbers than these.
    pub(crate) fn min_text_length(&self, coroutine: u32, request: u32) -> usize {
        self.unique_prefix(coroutine, request).len()
    }

    /// Returns the unique beginning of a request's text: ASCII, followed by a space or the end of the text.
    fn unique_prefix(&self, coroutine: u32, request: u32) -> String {
        format!("{}-{coroutine}-{request}", self.tag)
    }
}

/// The messages of one coroutine, an endless iterator.
#[derive(Debug)]
pub(crate) struct Script {
    plan: Plan,
    coroutine: u32,
    request: u32,
    random: ChaCha8Rng,
}

impl Iterator for Script {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let user = self.random.random_range(0..self.plan.users);
        let replica = self.random.random_range(0..self.plan.replicas);
        let mut text = self.plan.unique_prefix(self.coroutine, self.request);
        for _ in 0..self.random.random_range(1..=4) {
            text.push(' ');
            text.push_str(WORDS[self.random.random_range(0..WORDS.len())]);
        }
        if let Some(length) = self.plan.text_length {
            fit_length(&mut text, length);
        }
        let request = self.request;
        self.request += 1;
        Some(Planned {
            request,
            user,
            replica,
            text,
        })
    }
}

/// Repeats the words of a text, and cuts it, to this length in characters.
fn fit_length(text: &mut String, length: usize) {
    let words = text.find(' ').unwrap_or(text.len());
    let (chars, chars_of_words) = (text.chars().count(), text[words..].chars().count());
    let missing = length.saturating_sub(chars).div_ceil(chars_of_words);
    text.push_str(&text[words..].repeat(missing));
    if let Some((end, _)) = text.char_indices().nth(length) {
        text.truncate(end);
    }
}

/// Draws a seed, up to [`MAX_SEED`].
pub(crate) fn random_seed() -> u64 {
    rand::random_range(0..=MAX_SEED)
}

/// Draws a tag that no other run has: 40 random bits.
pub(crate) fn random_tag() -> String {
    format!("{:010x}", rand::random::<u64>() >> 24)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn plan(seed: u64) -> Plan {
        Plan {
            seed,
            tag: "tag".to_owned(),
            users: 10,
            replicas: 3,
            text_length: None,
        }
    }

    #[test]
    fn one_seed_is_one_plan_however_the_coroutines_are_interleaved() {
        let plan = plan(7);
        let (mut one, mut other) = (plan.coroutine(0), plan.coroutine(1));
        let interleaved: Vec<_> = (0..50)
            .flat_map(|_| [one.next(), other.next()])
            .flatten()
            .collect();
        let apart: Vec<_> = plan.coroutine(1).take(50).collect();
        assert!(interleaved.iter().skip(1).step_by(2).eq(apart.iter()));
        assert_ne!(
            plan.coroutine(0).next(),
            super::tests::plan(8).coroutine(0).next()
        );
    }

    #[test]
    fn the_plan_of_seed_1_stays_what_it_was() {
        let first: Vec<_> = plan(1)
            .coroutine(0)
            .take(2)
            .map(|planned| (planned.user, planned.replica))
            .collect();
        assert_eq!(first, PINNED);
    }

    const PINNED: [(usize, usize); 2] = [(5, 1), (2, 2)];

    #[test]
    fn texts_have_the_length_that_is_asked_for_and_stay_unique() {
        let least = plan(1).min_text_length(19, 49);
        for length in [least, least + 1, 20, 4000] {
            let plan = Plan {
                text_length: Some(length),
                ..plan(1)
            };
            let texts: HashSet<String> = (0..20)
                .flat_map(|coroutine| plan.coroutine(coroutine).take(50))
                .map(|planned| planned.text)
                .collect();
            assert_eq!(texts.len(), 1000);
            assert!(texts.iter().all(|text| text.chars().count() == length));
        }
    }

    #[test]
    fn texts_are_unique_and_every_user_and_replica_is_met() {
        let plan = plan(1);
        let all: Vec<_> = (0..20)
            .flat_map(|coroutine| plan.coroutine(coroutine).take(50))
            .collect();
        let texts: HashSet<_> = all.iter().map(|planned| &planned.text).collect();
        assert_eq!(texts.len(), 1000);
        for user in 0..10 {
            assert!(all.iter().filter(|planned| planned.user == user).count() > 50);
        }
        for replica in 0..3 {
            assert!(
                all.iter()
                    .filter(|planned| planned.replica == replica)
                    .count()
                    > 250
            );
        }
    }
}
