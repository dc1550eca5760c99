//! Generates histories: some coroutines, a log, and the replies that a correct server gives.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::history::{
    FinishedRequest, History, JudgeSettings, MAX_PAGE_MESSAGES, Op, Outcome, PageAnswer, PageReply,
    Phase, Reason, Recorder, WINDOW, digest,
};

const TAG: &str = "self";

/// The parameters of a generated history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) coroutines: u32,
    /// How many requests each coroutine sends.
    pub(crate) requests: u32,
    pub(crate) users: usize,
    pub(crate) replicas: u16,
    /// How many messages the log has before the first request.
    pub(crate) before: usize,
    /// The percentage of requests with an unknown outcome.
    pub(crate) unknown: u32,
    /// The percentage of requests that fail.
    pub(crate) failed: u32,
    /// How many messages others write per hundred requests.
    pub(crate) others: u32,
    /// The number of messages in a full reply.
    pub(crate) window: usize,
    /// Set if the history has a page of each replica.
    pub(crate) pages: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            coroutines: 6,
            requests: 25,
            users: 4,
            replicas: 3,
            before: 7,
            unknown: 3,
            failed: 3,
            others: 0,
            window: WINDOW,
            pages: true,
        }
    }
}

/// A message on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    pub(crate) seq: u64,
    pub(crate) user: String,
    pub(crate) user_seq: u64,
    pub(crate) text: String,
    pub(crate) sent_at: String,
}

/// A request and its outcome.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) coroutine: u32,
    pub(crate) number: u32,
    pub(crate) user: usize,
    pub(crate) text: String,
    pub(crate) replica: u16,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) outcome: Outcome,
    /// The place of its message in the log.
    pub(crate) place: Option<usize>,
    /// The reply, if it differs from what the log gives.
    pub(crate) reply: Option<Vec<Message>>,
}

/// A history under construction.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) requests: Vec<Request>,
    pub(crate) log: Vec<Message>,
    /// The places in the log that no reply shows.
    pub(crate) hidden: Vec<usize>,
    /// The page of each replica at the end, if it differs from what the log gives.
    pub(crate) page: Option<Vec<Message>>,
    pub(crate) shape: Shape,
    pub(crate) random: ChaCha8Rng,
}

impl Model {
    /// Generates a valid history. Each answered request takes effect at one instant between its start and its end, and one of
    /// unknown outcome at any time after its start, or never. The log is in the order of these instants.
    pub(crate) fn generate(shape: Shape, mut random: ChaCha8Rng) -> Self {
        let mut requests = Vec::new();
        // The instants of effect, and the requests; none for messages of others.
        let mut effects: Vec<(u64, Option<usize>)> = Vec::new();
        for coroutine in 0..shape.coroutines {
            let mut now = random.random_range(1..50);
            for number in 0..shape.requests {
                let (request, effect) = make_request(shape, (coroutine, number), now, &mut random);
                now = request.end + random.random_range(1..30);
                if let Some(instant) = effect {
                    effects.push((instant, Some(requests.len())));
                }
                if random.random_range(0..100) < shape.others {
                    effects.push((request.end, None));
                }
                requests.push(request);
            }
        }
        effects.sort_by_key(|(instant, _)| *instant);
        let authors = std::iter::repeat_n((0, None), shape.before).chain(effects);
        let mut model = Self {
            requests,
            log: Vec::new(),
            hidden: Vec::new(),
            page: None,
            shape,
            random,
        };
        for (instant, author) in authors {
            let (user, text) = match author {
                Some(request) => {
                    let request = &mut model.requests[request];
                    request.place = Some(model.log.len());
                    (request.user, request.text.clone())
                }
                None => (
                    model.random.random_range(0..shape.users),
                    format!("foreign {}", model.log.len()),
                ),
            };
            model.log.push(Message {
                seq: 0,
                user: user_name(user),
                user_seq: 0,
                text,
                sent_at: sent_at(instant),
            });
        }
        model.renumber();
        model
    }

    /// Generates another history in place of this one, without messages of others, and with `unknown` percent of requests of
    /// unknown outcome.
    pub(crate) fn regenerate_unshared(&mut self, unknown: u32) {
        let shape = Shape {
            unknown,
            others: 0,
            ..self.shape
        };
        *self = Self::generate(shape, ChaCha8Rng::from_rng(&mut self.random));
    }

    /// Sets the page of every replica.
    pub(crate) fn set_page(&mut self, page: Vec<Message>) {
        self.shape.pages = true;
        self.page = Some(page);
    }

    /// Numbers the log again, in its order. Dates do not change.
    pub(crate) fn renumber(&mut self) {
        let mut counters = vec![0; self.shape.users];
        for (place, message) in self.log.iter_mut().enumerate() {
            message.seq = place as u64 + 1;
            let user = counters
                .iter_mut()
                .enumerate()
                .find(|(user, _)| user_name(*user) == message.user);
            if let Some((_, counter)) = user {
                *counter += 1;
                message.user_seq = *counter;
            }
        }
    }

    /// Inserts a message into the log; those after it move by one.
    pub(crate) fn insert(&mut self, place: usize, mut message: Message) {
        message.sent_at.clone_from(&self.log[place].sent_at);
        self.log.insert(place, message);
        self.update_places(|at| Some(if at >= place { at + 1 } else { at }));
    }

    /// Removes a message from the log; those after it move by one.
    pub(crate) fn remove(&mut self, place: usize) {
        self.log.remove(place);
        self.update_places(|at| (at != place).then(|| if at > place { at - 1 } else { at }));
    }

    /// Moves a message to an earlier place. Dates belong to places, and do not move.
    pub(crate) fn bring_forward(&mut self, from: usize, to: usize) {
        let dates: Vec<String> = self
            .log
            .iter()
            .map(|message| message.sent_at.clone())
            .collect();
        self.log[to..=from].rotate_right(1);
        for (message, date) in self.log.iter_mut().zip(dates) {
            message.sent_at = date;
        }
        self.update_places(|at| match at {
            at if at == from => Some(to),
            at if (to..from).contains(&at) => Some(at + 1),
            at => Some(at),
        });
    }

    /// Updates the places of the requests' messages, and numbers the log again.
    fn update_places(&mut self, moved: impl Fn(usize) -> Option<usize>) {
        for request in &mut self.requests {
            request.place = request.place.and_then(&moved);
        }
        self.renumber();
    }

    /// Returns the reply that the log gives for the message at this place.
    pub(crate) fn window_at(&self, place: usize) -> Vec<Message> {
        self.last_before(place + 1, self.shape.window)
    }

    /// Returns the page of the last messages that the log gives.
    pub(crate) fn last_page(&self) -> Vec<Message> {
        self.last_before(self.log.len(), MAX_PAGE_MESSAGES)
    }

    /// Returns the last `most` messages before this place, without hidden ones.
    fn last_before(&self, end: usize, most: usize) -> Vec<Message> {
        let shown = (0..end).rev().filter(|place| !self.hidden.contains(place));
        let mut messages: Vec<Message> = shown
            .take(most)
            .map(|place| self.log[place].clone())
            .collect();
        messages.reverse();
        messages
    }

    /// Returns the reply to this request; none if it was not answered.
    pub(crate) fn reply(&self, request: &Request) -> Option<Vec<Message>> {
        if request.outcome != Outcome::Ok {
            return None;
        }
        request
            .reply
            .clone()
            .or_else(|| Some(self.window_at(request.place?)))
    }

    /// Returns the history that a run would have recorded. The replies pass through the same parser.
    pub(crate) fn history(&self) -> History {
        let settings = JudgeSettings {
            tag: TAG.to_owned(),
            replicas: (0..self.shape.replicas)
                .map(|replica| format!("http://replica{replica}"))
                .collect(),
            users: (0..self.shape.users).map(user_name).collect(),
            shared: self.shape.others > 0,
        };
        let mut recorder =
            Recorder::new(settings, self.requests.len(), true, None).with_window(self.shape.window);
        let mut by_end: Vec<&Request> = self.requests.iter().collect();
        by_end.sort_by_key(|request| (request.end, request.coroutine, request.number));
        for request in by_end {
            let reply = self
                .reply(request)
                .map(|reply| serde_json::to_vec(&reply).unwrap_or_default());
            let op = Op {
                intended_ns: request.start,
                start_ns: request.start,
                end_ns: request.end,
                seq: 0,
                text: digest(&request.text),
                coroutine: request.coroutine,
                request: request.number,
                user: u32::try_from(request.user).unwrap_or(u32::MAX),
                outcome: request.outcome,
                replica: request.replica,
                attempts: 1,
                phase: Phase::Measured,
            };
            recorder.record(&FinishedRequest {
                op,
                text: &request.text,
                reply: reply.as_deref(),
                unreadable: u8::from(request.outcome == Reason::Unreadable.outcome()),
            });
        }
        for replica in (0..self.shape.replicas).filter(|_| self.shape.pages) {
            recorder.record_page(self.page_reply(replica));
        }
        recorder.finish()
    }

    /// Returns the page of a replica, requested after everything else.
    fn page_reply(&self, replica: u16) -> PageReply {
        let page = self.page.clone().unwrap_or_else(|| self.last_page());
        let last = self.requests.iter().map(|request| request.end).max();
        let start_ns = last.unwrap_or(0) + 1 + u64::from(replica);
        PageReply {
            replica,
            start_ns,
            end_ns: start_ns + 1,
            answer: PageAnswer::Body(serde_json::to_string(&page).unwrap_or_default()),
        }
    }
}

/// Generates a request that is sent at `now` or later, and the instant at which it takes effect, if it does.
fn make_request(
    shape: Shape,
    (coroutine, number): (u32, u32),
    now: u64,
    random: &mut ChaCha8Rng,
) -> (Request, Option<u64>) {
    let start = now + random.random_range(0..20);
    let effect = start + random.random_range(0..40);
    let roll = random.random_range(0..100);
    let (outcome, effect_or_none) = if roll < shape.unknown {
        let late = effect + random.random_range(0..200);
        (
            Outcome::Unknown(Reason::NoAnswer),
            random.random::<bool>().then_some(late),
        )
    } else if roll < shape.unknown + shape.failed {
        (Outcome::Failed(Reason::Status(503)), None)
    } else {
        (Outcome::Ok, Some(effect))
    };
    let request = Request {
        coroutine,
        number,
        user: random.random_range(0..shape.users),
        text: format!("{TAG}-{coroutine}-{number}"),
        replica: random.random_range(0..shape.replicas),
        start,
        end: effect + random.random_range(0..40),
        outcome,
        place: None,
        reply: None,
    };
    (request, effect_or_none)
}

pub(super) fn user_name(user: usize) -> String {
    format!("user{user}")
}

/// Formats an instant, in milliseconds, as the database's clock shows it.
pub(super) fn sent_at(instant: u64) -> String {
    format!(
        "2026-11-20T15:{:02}:{:02}.{:06}Z",
        instant / 60_000 % 60,
        instant / 1000 % 60,
        instant % 1000 * 1000
    )
}
