//! Keeps the answers of a connection in the order of its requests, and an eye on what a connection may still send.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines of connections that were given up are looked through when there are this many lines.
const SWEEP_AT: usize = 4096;

/// Most requests of one connection that may wait for their answers. `tiny_http` takes what is sent ahead without end,
/// and nothing makes it stop.
const MOST_AHEAD: usize = 128;

/// How long a connection that was given up counts as such. It is shut down as soon as its caller is told, and this is
/// long enough for all that had arrived by then. A connection is known by the address of its peer alone, so in this time
/// another one from the same address and port is taken for it.
const GIVEN_UP_FOR: Duration = Duration::from_secs(10);

/// Orders items along several lines.
///
/// A caller may send requests without waiting for answers (pipelining). Then `tiny_http` lets the writer of the second
/// answer block until the first is written. A thread that waited like this could hold up the very answer it waits for,
/// so here no thread waits: an item that comes too early is left in its line, and written by whoever writes the one
/// before it. One thread writes for a line at a time.
///
/// An item may also be a question for which its caller is to wait until all before it is written: it is
/// [`Fate::Deferred`] when its turn comes, and its answer takes its place.
pub(super) struct InOrder<C, T> {
    lines: Mutex<Lines<C, T>>,
}

struct Lines<C, T> {
    by_connection: HashMap<C, Line<T>>,
    open: usize,
    sweep_at: usize,
}

struct Line<T> {
    /// The place of the first of `waiting`.
    first: u64,
    /// The first of them stays until it is written.
    waiting: VecDeque<Option<T>>,
    being_written: bool,
    /// Items with a place below are only tried.
    lost_below: u64,
    /// Since when nothing more is served, for [`GIVEN_UP_FOR`].
    given_up_since: Option<Instant>,
}

impl<T> Default for Line<T> {
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

impl<T> Line<T> {
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
pub(super) enum Standing {
    Open,
    /// Nothing more is served on it.
    GivenUp,
}

/// An item whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<T> {
    Write(T),
    /// One before it was lost together with its connection. This one may have come on a newer one from the same address,
    /// whose caller would take the next answer for the one to this.
    Try(T),
}

/// What became of an item whose turn had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is done with.
    Done,
    /// Its place waits for another item, which is left with the same ticket.
    Deferred,
    /// Its connection is lost, and those that have a place by now may be lost with it.
    Lost,
}

/// A place in the line of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket<C> {
    connection: C,
    place: u64,
}

impl<C: Copy + Eq + Hash, T> InOrder<C, T> {
    pub(super) fn new() -> Self {
        let lines = Lines {
            by_connection: HashMap::new(),
            open: 0,
            sweep_at: SWEEP_AT,
        };
        Self {
            lines: Mutex::new(lines),
        }
    }

    /// The next place in the line of `connection`, and how that stands. None if it was given up and is told so already, or
    /// cannot be told: then its requests do not even get an answer.
    pub(super) fn enter(&self, connection: C, now: Instant) -> Option<(Ticket<C>, Standing)> {
        let mut lines = self.lock();
        lines.sweep(now);
        let line = lines.by_connection.entry(connection).or_default();
        let mut standing = Standing::Open;
        if line.is_given_up(now) {
            if !line.waiting.is_empty() {
                return None;
            }
            standing = Standing::GivenUp;
        } else if line.waiting.len() == MOST_AHEAD {
            line.given_up_since = Some(now);
            standing = Standing::GivenUp;
        }
        let place = line.first + line.waiting.len() as u64;
        line.waiting.push_back(None);
        lines.open += 1;
        Some((Ticket { connection, place }, standing))
    }

    /// From now on nothing more is served on this connection.
    pub(super) fn give_up(&self, connection: C, now: Instant) {
        let mut lines = self.lock();
        lines
            .by_connection
            .entry(connection)
            .or_default()
            .given_up_since = Some(now);
    }

    /// Whether all before it is written.
    pub(super) fn is_first(&self, ticket: Ticket<C>) -> bool {
        let lines = self.lock();
        let line = lines.by_connection.get(&ticket.connection);
        line.is_some_and(|line| line.first == ticket.place)
    }

    /// Puts an item into its place, and writes all that are at the head of the line now, unless another thread does.
    pub(super) fn leave(&self, ticket: Ticket<C>, item: T, mut write: impl FnMut(Turn<T>) -> Fate) {
        let mut lines = self.lock();
        let Some(line) = lines.by_connection.get_mut(&ticket.connection) else {
            return;
        };
        let offset = usize::try_from(ticket.place - line.first).expect("a line fits in memory");
        line.waiting[offset] = Some(item);
        if line.being_written {
            return;
        }
        line.being_written = true;
        let mut last = None;
        while let Some(turn) = lines.next_turn(ticket.connection, last) {
            drop(lines);
            let fate = catch_unwind(AssertUnwindSafe(|| write(turn))).unwrap_or_else(|_panic| {
                tracing::error!("a panic while an answer was written; the server goes on");
                Fate::Done
            });
            last = Some(fate);
            lines = self.lock();
        }
    }

    /// Places taken and not yet written.
    pub(super) fn open(&self) -> usize {
        self.lock().open
    }

    /// Connections that have such places.
    pub(super) fn connections(&self) -> usize {
        let lines = self.lock();
        lines
            .by_connection
            .values()
            .filter(|line| line.is_open())
            .count()
    }

    fn lock(&self) -> MutexGuard<'_, Lines<C, T>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Copy + Eq + Hash, T> Lines<C, T> {
    /// Settles what became of the item at the head of a line, and takes the one that is there then. If there is none, the
    /// line is not being written any more.
    fn next_turn(&mut self, connection: C, last: Option<Fate>) -> Option<Turn<T>> {
        let line = self.by_connection.get_mut(&connection)?;
        let end = line.first + line.waiting.len() as u64;
        // At the first loss: whoever comes to this line later is another caller.
        if last == Some(Fate::Lost) && line.first >= line.lost_below {
            line.lost_below = end;
        }
        if last.is_some_and(|fate| fate != Fate::Deferred) {
            line.waiting.pop_front();
            line.first += 1;
            self.open -= 1;
        }
        let head = line.waiting.front_mut().and_then(Option::take);
        line.being_written = head.is_some();
        let turn = head.map(if line.first < line.lost_below {
            Turn::Try
        } else {
            Turn::Write
        });
        if !line.is_open() && line.given_up_since.is_none() {
            self.by_connection.remove(&connection);
        }
        turn
    }

    /// Forgets connections that were given up, now and then.
    fn sweep(&mut self, now: Instant) {
        if self.by_connection.len() >= self.sweep_at {
            self.by_connection
                .retain(|_, line| line.is_open() || line.is_given_up(now));
            self.sweep_at = SWEEP_AT.max(2 * self.by_connection.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Fate, GIVEN_UP_FOR, InOrder, MOST_AHEAD, SWEEP_AT, Standing, Ticket, Turn};

    fn enter<C: Copy + Eq + std::hash::Hash, T>(
        lines: &InOrder<C, T>,
        connection: C,
    ) -> (Ticket<C>, Standing) {
        let entered = lines.enter(connection, Instant::now());
        entered.expect("the line is not full")
    }

    fn leave<C: Copy + Eq + std::hash::Hash, T>(
        lines: &InOrder<C, T>,
        ticket: Ticket<C>,
        item: T,
        mut write: impl FnMut(T),
    ) {
        lines.leave(ticket, item, |turn| {
            match turn {
                Turn::Write(item) => write(item),
                Turn::Try(_) => panic!("nothing is lost"),
            }
            Fate::Done
        });
    }

    #[test]
    fn an_early_item_is_written_after_the_one_before_it() {
        let lines = InOrder::new();
        let (first, _) = enter(&lines, "a");
        let (second, _) = enter(&lines, "a");
        let (other, _) = enter(&lines, "b");
        let mut written = Vec::new();

        leave(&lines, second, 2, |item| written.push(item));
        leave(&lines, other, 3, |item| written.push(item));
        assert_eq!(
            written,
            [3],
            "the second waits, the other connection does not"
        );

        leave(&lines, first, 1, |item| written.push(item));
        assert_eq!(written, [3, 1, 2]);
        assert_eq!(lines.open(), 0);
    }

    #[test]
    fn an_item_left_while_the_line_is_written_is_written_by_the_same_thread() {
        let lines = InOrder::new();
        let (first, _) = enter(&lines, "a");
        let (second, _) = enter(&lines, "a");
        let mut written = Vec::new();

        leave(&lines, first, 1, |item| {
            if item == 1 {
                leave(&lines, second, 2, |_| {
                    panic!("one thread writes for a line at a time")
                });
            }
            written.push(item);
        });
        assert_eq!(written, [1, 2]);
    }

    #[test]
    fn a_question_keeps_its_place_until_its_answer_is_left() {
        let lines = InOrder::new();
        let (first, _) = enter(&lines, "a");
        let (question, _) = enter(&lines, "a");
        let (last, _) = enter(&lines, "a");
        assert!(lines.is_first(first) && !lines.is_first(question));
        lines.leave(question, "question", |_| panic!("its turn has not come"));
        leave(&lines, last, "last", |_| panic!("its turn has not come"));

        let mut turns = Vec::new();
        lines.leave(first, "first", |turn| {
            let Turn::Write(item) = turn else {
                panic!("nothing is lost")
            };
            turns.push(item);
            if item == "question" {
                Fate::Deferred
            } else {
                Fate::Done
            }
        });
        assert_eq!(turns, ["first", "question"]);
        assert!(lines.is_first(question));

        leave(&lines, question, "answer", |item| turns.push(item));
        assert_eq!(turns, ["first", "question", "answer", "last"]);
        assert_eq!(lines.open(), 0);
    }

    #[test]
    fn what_has_a_place_when_an_item_is_lost_is_only_tried() {
        let lines = InOrder::new();
        let (first, _) = enter(&lines, "a");
        let (second, _) = enter(&lines, "a");
        let (third, _) = enter(&lines, "a");
        leave(&lines, second, 2, |_| panic!("its turn has not come"));
        let mut turns = Vec::new();
        let mut lose = |turn| {
            turns.push(turn);
            Fate::Lost
        };
        lines.leave(first, 1, &mut lose);

        // Of a new connection from the same address.
        let (fourth, _) = enter(&lines, "a");
        leave(&lines, fourth, 4, |_| panic!("its turn has not come"));
        lines.leave(third, 3, &mut lose);
        let (write, try_) = (Turn::Write, Turn::Try);
        assert_eq!(turns, [write(1), try_(2), try_(3), write(4)]);
        assert_eq!(lines.open(), 0);
    }

    #[test]
    fn a_connection_that_sends_too_much_ahead_is_told_and_then_ignored() {
        let lines = InOrder::new();
        let now = Instant::now();
        let (first, _) = enter(&lines, "a");
        for _ in 1..MOST_AHEAD {
            assert_eq!(enter(&lines, "a").1, Standing::Open);
        }
        assert_eq!(enter(&lines, "a").1, Standing::GivenUp);
        assert!(lines.enter("a", now).is_none());
        assert_eq!(lines.open(), MOST_AHEAD + 1);
        assert_eq!(enter(&lines, "b").1, Standing::Open);

        leave(&lines, first, (), |()| ());
        assert!(lines.enter("a", now).is_none(), "also with a place");
    }

    #[test]
    fn a_connection_stays_given_up_for_a_while() {
        let lines = InOrder::new();
        let now = Instant::now();
        lines.give_up("a", now);
        let standing = |time| {
            let (ticket, standing) = lines.enter("a", time)?;
            leave(&lines, ticket, (), |()| ());
            Some(standing)
        };
        assert_eq!(standing(now), Some(Standing::GivenUp));
        assert_eq!(standing(now + GIVEN_UP_FOR / 2), Some(Standing::GivenUp));
        assert_eq!(standing(now + GIVEN_UP_FOR), Some(Standing::Open));
    }

    #[test]
    fn a_panic_in_one_answer_does_not_keep_the_next_from_being_written() {
        let lines = InOrder::new();
        let (first, _) = enter(&lines, "a");
        let (second, _) = enter(&lines, "a");
        leave(&lines, first, 1, |_| {
            panic!("an answer that cannot be written")
        });
        let mut written = Vec::new();
        leave(&lines, second, 2, |item| written.push(item));
        assert_eq!(written, [2]);
        assert_eq!(lines.open(), 0);
    }

    #[test]
    fn lines_are_forgotten_when_they_are_empty_and_given_up_ones_a_while_later() {
        let lines = InOrder::new();
        let (first, _) = enter(&lines, 0);
        leave(&lines, first, (), |()| ());
        assert_eq!(lines.lock().by_connection.len(), 0);

        let now = Instant::now();
        (0..SWEEP_AT).for_each(|connection| lines.give_up(connection, now));
        lines.enter(SWEEP_AT, now).expect("it is another one");
        assert_eq!(lines.lock().by_connection.len(), SWEEP_AT + 1);
        let later = now + GIVEN_UP_FOR;
        (0..SWEEP_AT).for_each(|connection| lines.give_up(SWEEP_AT + connection, now));
        lines.enter(0, later).expect("it is forgotten");
        assert_eq!(lines.lock().by_connection.len(), 2);
    }
}
