//! Keeps the answers of a connection in the order of its requests, and an eye on what a connection may still send.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

/// Pipelines are looked through for empty ones when there are this many.
const SWEEP_AT: usize = 4096;

/// Most requests of one connection that may wait for their answers. `tiny_http` takes what is sent ahead without end,
/// and nothing makes it stop.
const MOST_AHEAD: usize = 128;

/// How long a connection that was given up counts as such. It is shut down as soon as its client is told, and this is
/// long enough for all that had arrived by then. A connection is known by the address of its peer alone, so in this time
/// another one from the same address and port is taken for it.
const GIVEN_UP_FOR: Duration = Duration::from_secs(10);

/// Orders the items of each connection.
///
/// A client may send requests without waiting for answers (pipelining). Then `tiny_http` lets the writer of the second
/// answer block until the first is written. A thread that waited like this could hold up the very answer it waits for,
/// so here no thread waits: an item that comes too early is left in its pipeline, and written by whoever writes the one
/// before it. One thread writes for a pipeline at a time.
///
/// An item may also be a question for which its client is to wait until all before it is written: it is
/// [`WriteOutcome::Deferred`] when its turn comes, and its answer takes its place.
pub(super) struct Pipelines<C, T> {
    state: Mutex<State<C, T>>,
}

struct State<C, T> {
    by_connection: HashMap<C, Pipeline<T>>,
    open: usize,
    sweep_at: usize,
}

struct Pipeline<T> {
    /// The place of the first of `waiting`.
    first: u64,
    /// The first of them stays until it is written.
    waiting: VecDeque<Option<T>>,
    being_written: bool,
    /// Items with a place below get [`Turn::Try`].
    lost_below: u64,
    /// Since when nothing more is served, for [`GIVEN_UP_FOR`].
    given_up_since: Option<Instant>,
}

impl<T> Default for Pipeline<T> {
    fn default() -> Self {
        Self {
            first: 0,
            waiting: VecDeque::new(),
            being_written: false,
            lost_below: 0,
            given_up_since: None,
        }
    }
}

impl<T> Pipeline<T> {
    fn is_open(&self) -> bool {
        self.being_written || !self.waiting.is_empty()
    }

    fn is_given_up(&self, now: Instant) -> bool {
        self.given_up_since
            .is_some_and(|since| now.duration_since(since) < GIVEN_UP_FOR)
    }
}

/// How a connection stands when one of its requests comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionStatus {
    Open,
    /// Nothing more is served on it.
    GivenUp,
}

/// An item whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<T> {
    Write(T),
    /// It is written if it is a response, and refused if it would still have to be asked for: one before it was lost
    /// together with its connection. This one may have come on a newer one from the same address,
    /// whose client would take the next answer for the one to this.
    Try(T),
}

/// What became of an item whose turn had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    /// It is done with.
    Done,
    /// Its place waits for another item, which is left with the same slot.
    Deferred,
    /// Its connection is lost, and those that have a place by now may be lost with it.
    Lost,
}

/// A place in the pipeline of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<C> {
    connection: C,
    place: u64,
}

impl<C: Copy + Eq + Hash, T> Pipelines<C, T> {
    pub(super) fn new() -> Self {
        let state = State {
            by_connection: HashMap::new(),
            open: 0,
            sweep_at: SWEEP_AT,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// The next place in the pipeline of `connection`, and how that stands. None if it was given up and is told so already, or
    /// cannot be told: then its requests do not even get an answer.
    pub(super) fn reserve(
        &self,
        connection: C,
        now: Instant,
    ) -> Option<(Slot<C>, ConnectionStatus)> {
        let mut state = self.state.lock();
        state.sweep(now);
        let pipeline = state.by_connection.entry(connection).or_default();
        let mut status = ConnectionStatus::Open;
        if pipeline.is_given_up(now) {
            if !pipeline.waiting.is_empty() {
                return None;
            }
            status = ConnectionStatus::GivenUp;
        } else if pipeline.waiting.len() == MOST_AHEAD {
            pipeline.given_up_since = Some(now);
            status = ConnectionStatus::GivenUp;
        }
        let place = pipeline.first + pipeline.waiting.len() as u64;
        pipeline.waiting.push_back(None);
        state.open += 1;
        Some((Slot { connection, place }, status))
    }

    /// Sees to it that from now on nothing more is served on this connection.
    pub(super) fn give_up(&self, connection: C, now: Instant) {
        let mut state = self.state.lock();
        state
            .by_connection
            .entry(connection)
            .or_default()
            .given_up_since = Some(now);
    }

    /// Whether all before it is written.
    pub(super) fn is_first(&self, slot: Slot<C>) -> bool {
        let state = self.state.lock();
        let pipeline = state.by_connection.get(&slot.connection);
        pipeline.is_some_and(|pipeline| pipeline.first == slot.place)
    }

    /// Puts an item into its place, and writes all that are at the head of the pipeline now, unless another thread does.
    pub(super) fn complete(
        &self,
        slot: Slot<C>,
        item: T,
        mut write: impl FnMut(Turn<T>) -> WriteOutcome,
    ) {
        let mut state = self.state.lock();
        let Some(pipeline) = state.by_connection.get_mut(&slot.connection) else {
            return;
        };
        let offset =
            usize::try_from(slot.place - pipeline.first).expect("a pipeline fits in memory");
        pipeline.waiting[offset] = Some(item);
        if pipeline.being_written {
            return;
        }
        pipeline.being_written = true;
        let mut last = None;
        while let Some(turn) = state.next_turn(slot.connection, last) {
            let outcome = MutexGuard::unlocked(&mut state, || {
                catch_unwind(AssertUnwindSafe(|| write(turn))).unwrap_or_else(|_panic| {
                    tracing::error!("a panic while an answer was written; the server goes on");
                    WriteOutcome::Done
                })
            });
            last = Some(outcome);
        }
    }

    /// Places taken and not yet written.
    pub(super) fn open(&self) -> usize {
        self.state.lock().open
    }

    /// Connections that have such places.
    pub(super) fn connections(&self) -> usize {
        let state = self.state.lock();
        state
            .by_connection
            .values()
            .filter(|pipeline| pipeline.is_open())
            .count()
    }
}

impl<C: Copy + Eq + Hash, T> State<C, T> {
    /// Settles what became of the item at the head of a pipeline, and takes the one that is there then. If there is none, the
    /// pipeline is not being written any more.
    fn next_turn(&mut self, connection: C, last: Option<WriteOutcome>) -> Option<Turn<T>> {
        let pipeline = self.by_connection.get_mut(&connection)?;
        let end = pipeline.first + pipeline.waiting.len() as u64;
        // At the first loss: whoever comes to this pipeline later is another client.
        if last == Some(WriteOutcome::Lost) && pipeline.first >= pipeline.lost_below {
            pipeline.lost_below = end;
        }
        if last.is_some_and(|outcome| outcome != WriteOutcome::Deferred) {
            pipeline.waiting.pop_front();
            pipeline.first += 1;
            self.open -= 1;
        }
        let head = pipeline.waiting.front_mut().and_then(Option::take);
        pipeline.being_written = head.is_some();
        head.map(if pipeline.first < pipeline.lost_below {
            Turn::Try
        } else {
            Turn::Write
        })
    }

    /// Forgets empty pipelines now and then, for most of their connections are closed, and nothing tells. At once would cost
    /// each request an allocation.
    fn sweep(&mut self, now: Instant) {
        if self.by_connection.len() >= self.sweep_at {
            self.by_connection
                .retain(|_, pipeline| pipeline.is_open() || pipeline.is_given_up(now));
            self.sweep_at = SWEEP_AT.max(2 * self.by_connection.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{
        ConnectionStatus, GIVEN_UP_FOR, MOST_AHEAD, Pipelines, SWEEP_AT, Slot, Turn, WriteOutcome,
    };

    fn reserve<C: Copy + Eq + std::hash::Hash, T>(
        pipelines: &Pipelines<C, T>,
        connection: C,
    ) -> (Slot<C>, ConnectionStatus) {
        let reserved = pipelines.reserve(connection, Instant::now());
        reserved.expect("the pipeline is not full")
    }

    fn complete<C: Copy + Eq + std::hash::Hash, T>(
        pipelines: &Pipelines<C, T>,
        slot: Slot<C>,
        item: T,
        mut write: impl FnMut(T),
    ) {
        pipelines.complete(slot, item, |turn| {
            match turn {
                Turn::Write(item) => write(item),
                Turn::Try(_) => panic!("nothing is lost"),
            }
            WriteOutcome::Done
        });
    }

    #[test]
    fn an_early_item_is_written_after_the_one_before_it() {
        let pipelines = Pipelines::new();
        let (first, _) = reserve(&pipelines, "a");
        let (second, _) = reserve(&pipelines, "a");
        let (other, _) = reserve(&pipelines, "b");
        let mut written = Vec::new();

        complete(&pipelines, second, 2, |item| written.push(item));
        complete(&pipelines, other, 3, |item| written.push(item));
        assert_eq!(
            written,
            [3],
            "the second waits, the other connection does not"
        );

        complete(&pipelines, first, 1, |item| written.push(item));
        assert_eq!(written, [3, 1, 2]);
        assert_eq!(pipelines.open(), 0);
    }

    #[test]
    fn an_item_left_while_the_line_is_written_is_written_by_the_same_thread() {
        let pipelines = Pipelines::new();
        let (first, _) = reserve(&pipelines, "a");
        let (second, _) = reserve(&pipelines, "a");
        let mut written = Vec::new();

        complete(&pipelines, first, 1, |item| {
            if item == 1 {
                complete(&pipelines, second, 2, |_| {
                    panic!("one thread writes for a pipeline at a time")
                });
            }
            written.push(item);
        });
        assert_eq!(written, [1, 2]);
    }

    #[test]
    fn a_question_keeps_its_place_until_its_answer_is_left() {
        let pipelines = Pipelines::new();
        let (first, _) = reserve(&pipelines, "a");
        let (question, _) = reserve(&pipelines, "a");
        let (last, _) = reserve(&pipelines, "a");
        assert!(pipelines.is_first(first) && !pipelines.is_first(question));
        pipelines.complete(question, "question", |_| panic!("its turn has not come"));
        complete(&pipelines, last, "last", |_| {
            panic!("its turn has not come")
        });

        let mut turns = Vec::new();
        pipelines.complete(first, "first", |turn| {
            let Turn::Write(item) = turn else {
                panic!("nothing is lost")
            };
            turns.push(item);
            if item == "question" {
                WriteOutcome::Deferred
            } else {
                WriteOutcome::Done
            }
        });
        assert_eq!(turns, ["first", "question"]);
        assert!(pipelines.is_first(question));

        complete(&pipelines, question, "answer", |item| turns.push(item));
        assert_eq!(turns, ["first", "question", "answer", "last"]);
        assert_eq!(pipelines.open(), 0);
    }

    #[test]
    fn what_has_a_place_when_an_item_is_lost_is_only_tried() {
        let pipelines = Pipelines::new();
        let (first, _) = reserve(&pipelines, "a");
        let (second, _) = reserve(&pipelines, "a");
        let (third, _) = reserve(&pipelines, "a");
        complete(&pipelines, second, 2, |_| panic!("its turn has not come"));
        let mut turns = Vec::new();
        let mut lose = |turn| {
            turns.push(turn);
            WriteOutcome::Lost
        };
        pipelines.complete(first, 1, &mut lose);

        // Of a new connection from the same address.
        let (fourth, _) = reserve(&pipelines, "a");
        complete(&pipelines, fourth, 4, |_| panic!("its turn has not come"));
        pipelines.complete(third, 3, &mut lose);
        let (write, try_) = (Turn::Write, Turn::Try);
        assert_eq!(turns, [write(1), try_(2), try_(3), write(4)]);
        assert_eq!(pipelines.open(), 0);
    }

    #[test]
    fn a_connection_that_sends_too_much_ahead_is_told_and_then_ignored() {
        let pipelines = Pipelines::new();
        let now = Instant::now();
        let (first, _) = reserve(&pipelines, "a");
        for _ in 1..MOST_AHEAD {
            assert_eq!(reserve(&pipelines, "a").1, ConnectionStatus::Open);
        }
        assert_eq!(reserve(&pipelines, "a").1, ConnectionStatus::GivenUp);
        assert!(pipelines.reserve("a", now).is_none());
        assert_eq!(pipelines.open(), MOST_AHEAD + 1);
        assert_eq!(reserve(&pipelines, "b").1, ConnectionStatus::Open);

        complete(&pipelines, first, (), |()| ());
        assert!(pipelines.reserve("a", now).is_none(), "also with a place");
    }

    #[test]
    fn a_connection_stays_given_up_for_a_while() {
        let pipelines = Pipelines::new();
        let now = Instant::now();
        pipelines.give_up("a", now);
        let status = |time| {
            let (slot, status) = pipelines.reserve("a", time)?;
            complete(&pipelines, slot, (), |()| ());
            Some(status)
        };
        assert_eq!(status(now), Some(ConnectionStatus::GivenUp));
        assert_eq!(
            status(now + GIVEN_UP_FOR / 2),
            Some(ConnectionStatus::GivenUp)
        );
        assert_eq!(status(now + GIVEN_UP_FOR), Some(ConnectionStatus::Open));
    }

    #[test]
    fn a_panic_in_one_answer_does_not_keep_the_next_from_being_written() {
        let pipelines = Pipelines::new();
        let (first, _) = reserve(&pipelines, "a");
        let (second, _) = reserve(&pipelines, "a");
        complete(&pipelines, first, 1, |_| {
            panic!("an answer that cannot be written")
        });
        let mut written = Vec::new();
        complete(&pipelines, second, 2, |item| written.push(item));
        assert_eq!(written, [2]);
        assert_eq!(pipelines.open(), 0);
    }

    #[test]
    fn empty_pipelines_are_forgotten_and_open_and_given_up_ones_are_kept() {
        let pipelines = Pipelines::new();
        let now = Instant::now();
        let (kept, _) = reserve(&pipelines, 0);
        pipelines.give_up(1, now);
        for connection in 2..=2 * SWEEP_AT {
            let (slot, _) = reserve(&pipelines, connection);
            complete(&pipelines, slot, (), |()| ());
        }
        assert!(pipelines.state.lock().by_connection.len() <= SWEEP_AT);
        complete(&pipelines, kept, (), |()| ());
        let reserved = pipelines.reserve(1, now).map(|(_, status)| status);
        assert_eq!(reserved, Some(ConnectionStatus::GivenUp));
    }
}
