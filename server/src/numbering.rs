//! Gives each message of a batch its number. Pure: all that it needs was read under the lock.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::message::{Message, RequestId, Submission};

/// The state of the database, read under the lock: it holds until the transaction ends.
#[derive(Debug)]
pub struct LockedState {
    /// How many messages there are, which is the highest `seq`.
    pub total: u64,
    /// How many messages each of the users has that were asked for.
    pub of_user: HashMap<String, u64>,
    /// The date of the last message of all.
    pub last_sent_at: DateTime<Utc>,
    /// The last nine messages, oldest first.
    pub tail: Vec<Message<'static>>,
    /// The messages among those looked up that are stored already.
    pub found: HashMap<Uuid, Message<'static>>,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

impl LockedState {
    /// Whether enough was read to number this message, which was not tried before.
    #[must_use]
    pub fn can_number(&self, submission: &Submission) -> bool {
        matches!(submission.request_id, RequestId::Server(_))
            && self.of_user.contains_key(submission.message.user())
    }
}

/// The outcome for one message of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// It is new, and stored as `Numbered::new[index]`.
    New(usize),
    /// The same request with the same message is stored already, with this `seq`.
    Repeat(u64),
    /// The same request id stands for another message.
    KeyReused,
}

/// A batch with its numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Numbered<'a> {
    /// The messages to store, consecutive from `LockedState::total + 1`.
    pub new: Vec<Message<'a>>,
    /// For each of `new`, the index of its submission.
    pub origin: Vec<usize>,
    /// The outcome for each submission, in order.
    pub assignments: Vec<Assignment>,
    /// The new count of each user of `new`.
    pub counts: HashMap<&'a str, u64>,
}

impl Numbered<'_> {
    /// How many submissions repeat an earlier request.
    #[must_use]
    pub fn repeats(&self) -> usize {
        self.assignments.len() - self.new.len()
    }

    /// How many messages there are when these are stored.
    #[must_use]
    pub fn total(&self, state: &LockedState) -> u64 {
        state.total + self.new.len() as u64
    }
}

/// Numbers the submissions in their order. All get one date: the clock's, or that of the last message if the clock went back.
#[must_use]
pub fn number<'a>(
    submissions: impl IntoIterator<Item = &'a Submission>,
    state: &LockedState,
) -> Numbered<'a> {
    let sent_at = state.now.max(state.last_sent_at);
    let mut numbered = Numbered::default();
    let mut first_with = HashMap::new();
    for (index, submission) in submissions.into_iter().enumerate() {
        let (user, text) = (submission.message.user(), submission.message.text());
        let id = submission.request_id.uuid();
        let first = match state.found.get(&id) {
            Some(found) => Some((Assignment::Repeat(found.seq), &*found.user, &*found.text)),
            None => first_with.get(&id).copied(),
        };
        let assignment = match first {
            Some((assignment, of, what)) if (of, what) == (user, text) => assignment,
            Some(_) => Assignment::KeyReused,
            None => {
                let place = numbered.new.len();
                first_with.insert(id, (Assignment::New(place), user, text));
                let count = numbered
                    .counts
                    .entry(user)
                    .or_insert_with(|| state.of_user.get(user).copied().unwrap_or_default());
                *count += 1;
                numbered.new.push(Message {
                    seq: state.total + 1 + place as u64,
                    user: user.into(),
                    user_seq: *count,
                    text: text.into(),
                    sent_at,
                });
                numbered.origin.push(index);
                Assignment::New(place)
            }
        };
        numbered.assignments.push(assignment);
    }
    numbered
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::NewMessage;

    fn submission(user: u8, text: u8, id: u8) -> Submission {
        Submission {
            message: NewMessage::new(format!("user {user}"), format!("text {text}"))
                .expect("within the limits"),
            request_id: RequestId::Client(Uuid::from_u128(id.into())),
        }
    }

    fn state(total: u64, counts: [u64; 3], found: Option<(u8, u8, u8)>, now: i64) -> LockedState {
        let found = found.map(|(user, text, id)| {
            let found = Message {
                seq: 1,
                user: format!("user {user}").into(),
                user_seq: 1,
                text: format!("text {text}").into(),
                sent_at: DateTime::UNIX_EPOCH,
            };
            (Uuid::from_u128(id.into()), found)
        });
        LockedState {
            total,
            of_user: (0..3)
                .map(|user| (format!("user {user}"), counts[user]))
                .collect(),
            tail: Vec::new(),
            last_sent_at: DateTime::from_timestamp(1000, 0).expect("within range"),
            found: found.into_iter().collect(),
            now: DateTime::from_timestamp(now, 0).expect("within range"),
        }
    }

    proptest! {
        /// Few users, texts and ids, so that all kinds of collisions occur.
        #[test]
        fn numbers_are_consecutive_and_each_request_is_stored_once(
            requests in prop::collection::vec((0..3_u8, 0..2_u8, 0..12_u8), 0..40),
            found in prop::option::of((0..3_u8, 0..2_u8, 0..12_u8)),
            (total, counts) in (0..100_u64, any::<[u8; 3]>()),
            now in 0..2000_i64,
        ) {
            let state = state(total, counts.map(u64::from), found, now);
            let submissions: Vec<Submission> = requests.iter().map(|&(user, text, id)| submission(user, text, id)).collect();
            let numbered = number(&submissions, &state);

            prop_assert!(numbered.new.iter().map(|message| message.seq).eq(total + 1..=numbered.total(&state)));
            let mut counts = state.of_user.clone();
            for message in &numbered.new {
                let count = counts.get_mut(message.user.as_ref()).expect("all three are there");
                *count += 1;
                prop_assert_eq!(message.user_seq, *count);
                prop_assert_eq!(numbered.counts[message.user.as_ref()] >= *count, true);
                prop_assert!(message.sent_at >= state.now);
                prop_assert!(message.sent_at >= state.last_sent_at);
            }
            for (user, count) in &numbered.counts {
                prop_assert_eq!(*count, counts[*user], "the counter is not that of the last message");
            }

            prop_assert_eq!(numbered.assignments.len(), submissions.len());
            let mut seen: HashMap<u8, (u8, u8)> = found.into_iter().map(|(user, text, id)| (id, (user, text))).collect();
            for (&(user, text, id), assignment) in requests.iter().zip(&numbered.assignments) {
                let first = *seen.entry(id).or_insert((user, text));
                let is_found = found.is_some_and(|(_, _, found)| found == id);
                match *assignment {
                    Assignment::KeyReused => prop_assert_ne!(first, (user, text)),
                    Assignment::Repeat(seq) => prop_assert_eq!((first, is_found, seq), ((user, text), true, 1)),
                    Assignment::New(index) => {
                        prop_assert_eq!((first, is_found), ((user, text), false));
                        let origin = requests[numbered.origin[index]];
                        prop_assert_eq!(origin, (user, text, id));
                        prop_assert_eq!(numbered.new[index].text.as_ref(), format!("text {text}"));
                    }
                }
            }
        }
    }
}
