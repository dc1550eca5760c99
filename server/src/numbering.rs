//! Which number each message of a batch gets. Pure: everything it needs was read under the lock.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::message::{Message, Post};

/// What stands in the database, read under the lock: true until the transaction ends.
#[derive(Debug)]
pub struct Ledger {
    /// How many messages there are, which is the highest `seq`.
    pub total: u64,
    /// How many messages each user of the batch has. A user without messages may be absent.
    pub of_user: HashMap<String, u64>,
    /// The last nine messages, oldest first.
    pub tail: Vec<Message<'static>>,
    /// The messages among those looked up that are stored already.
    pub found: HashMap<Uuid, Found>,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

/// A message that is stored already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its number among all messages.
    pub seq: u64,
    /// Who sent it.
    pub user: String,
    /// What was sent.
    pub text: String,
}

/// What becomes of one message of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is stored now, as `Numbered::new[index]`.
    New(usize),
    /// The same request with the same message is stored already, with this `seq`.
    Repeat(u64),
    /// The same request id stands for another message.
    KeyReused,
}

/// A batch with its numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Numbered<'a> {
    /// The messages to store, consecutive from `Ledger::total + 1`.
    pub new: Vec<Message<'a>>,
    /// Which of the posts each of `new` is.
    pub origin: Vec<usize>,
    /// One for each post, in order.
    pub fates: Vec<Fate>,
    /// The new count of each user of `new`.
    pub counts: HashMap<&'a str, u64>,
}

impl Numbered<'_> {
    /// How many posts ask for what was asked before.
    #[must_use]
    pub fn repeats(&self) -> usize {
        self.fates.len() - self.new.len()
    }

    /// How many messages there are with these.
    #[must_use]
    pub fn total(&self, ledger: &Ledger) -> u64 {
        ledger.total + self.new.len() as u64
    }
}

/// Numbers the posts in their order. All get one date: the clock's, or that of the last message if the clock went back.
#[must_use]
pub fn number<'a>(posts: impl IntoIterator<Item = &'a Post>, ledger: &Ledger) -> Numbered<'a> {
    let sent_at = ledger
        .tail
        .last()
        .map_or(ledger.now, |last| last.sent_at.max(ledger.now));
    let mut numbered = Numbered {
        new: Vec::new(),
        origin: Vec::new(),
        fates: Vec::new(),
        counts: HashMap::new(),
    };
    let mut first_with = HashMap::new();
    for (index, post) in posts.into_iter().enumerate() {
        let (user, text) = (post.message.user(), post.message.text());
        let id = post.request_id.uuid();
        let fate = if let Some(found) = ledger.found.get(&id) {
            if found.user == user && found.text == text {
                Fate::Repeat(found.seq)
            } else {
                Fate::KeyReused
            }
        } else if let Some(&place) = first_with.get(&id) {
            let first: &Message<'_> = &numbered.new[place];
            if first.user == user && first.text == text {
                Fate::New(place)
            } else {
                Fate::KeyReused
            }
        } else {
            let place = numbered.new.len();
            first_with.insert(id, place);
            let count = numbered
                .counts
                .entry(user)
                .or_insert_with(|| ledger.of_user.get(user).copied().unwrap_or_default());
            *count += 1;
            numbered.new.push(Message {
                seq: ledger.total + 1 + place as u64,
                user: user.into(),
                user_seq: *count,
                text: text.into(),
                sent_at,
            });
            numbered.origin.push(index);
            Fate::New(place)
        };
        numbered.fates.push(fate);
    }
    numbered
}
