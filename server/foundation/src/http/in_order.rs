//! Keeps the answers of a connection in the order of its requests, and an eye on what a connection may still send.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines that stand empty are kept until there are this many, to tell a new connection from a known one.
const LINES_KEPT: usize = 4096;

/// Most requests of one connection that may wait for their answers. `tiny_http` takes what is sent ahead without end,
/// and nothing makes it stop.
const MOST_AHEAD: usize = 128;

/// How long a connection that was given up counts as such: long enough for all that its caller sends before it heeds
/// `Connection: close`. The connection is known by the address of its peer alone, and nothing tells when it is closed, so
/// in this time another one from the same address and port is taken for it.
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
    /// Items with a place below are dropped.
    broken_off_below: u64,
    given_up: Option<GivenUp>,
}

/// That nothing more is served, for [`GIVEN_UP_FOR`].
#[derive(Clone, Copy)]
struct GivenUp {
    since: Instant,
    /// A part of an item was written, and the rest will not be: what was written next would be taken for the rest.
    in_mid_item: bool,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            first: 0,
            waiting: VecDeque::new(),
            being_written: false,
            lost_below: 0,
            broken_off_below: 0,
            given_up: None,
        }
    }
}

impl<T> Line<T> {
    fn is_open(&self) -> bool {
        self.being_written || !self.waiting.is_empty()
    }

    /// How it is given up, if it still is.
    fn given_up(&self, now: Instant) -> Option<GivenUp> {
        self.given_up
            .filter(|given_up| now.duration_since(given_up.since) < GIVEN_UP_FOR)
    }

    fn give_up(&mut self, now: Instant) {
        self.given_up = Some(GivenUp {
            since: now,
            in_mid_item: self.given_up(now).is_some_and(|before| before.in_mid_item),
        });
    }
}

/// How a connection stands when one of its requests comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    New,
    Known,
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
    /// A part of one before it was written, and the rest will not be: this would be taken for that.
    Drop(T),
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
    /// A part of it was written, and the rest will not be. Nothing more is served on its connection.
    BrokenOff,
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
            sweep_at: LINES_KEPT,
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
        let mut standing = Standing::Known;
        let line = lines.by_connection.entry(connection).or_insert_with(|| {
            standing = Standing::New;
            Line::default()
        });
        match line.given_up(now) {
            Some(given_up) if given_up.in_mid_item || !line.waiting.is_empty() => return None,
            Some(_) => standing = Standing::GivenUp,
            None if line.waiting.len() == MOST_AHEAD => {
                line.give_up(now);
                standing = Standing::GivenUp;
            }
            None => {}
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
            .give_up(now);
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

    /// Connections that have such places. Looks at all that are remembered.
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
        match last {
            // At the first loss: whoever comes to this line later is another caller.
            Some(Fate::Lost) if line.first >= line.lost_below => line.lost_below = end,
            Some(Fate::BrokenOff) => {
                line.broken_off_below = end;
                line.given_up = Some(GivenUp {
                    since: Instant::now(),
                    in_mid_item: true,
                });
            }
            _ => {}
        }
        if last.is_some_and(|fate| fate != Fate::Deferred) {
            line.waiting.pop_front();
            line.first += 1;
            self.open -= 1;
        }
        let head = line.waiting.front_mut().and_then(Option::take);
        line.being_written = head.is_some();
        let place = line.first;
        head.map(if place < line.broken_off_below {
            Turn::Drop
        } else if place < line.lost_below {
            Turn::Try
        } else {
            Turn::Write
        })
    }

    /// Forgets empty lines now and then; most of their connections are closed, but nothing tells.
    fn sweep(&mut self, now: Instant) {
        if self.by_connection.len() >= self.sweep_at {
            self.by_connection
                .retain(|_, line| line.is_open() || line.given_up(now).is_some());
            self.sweep_at = LINES_KEPT.max(2 * self.by_connection.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Fate, GIVEN_UP_FOR, InOrder, MOST_AHEAD, Standing, Ticket, Turn};

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
                Turn::Try(_) | Turn::Drop(_) => panic!("nothing is lost"),
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

    /// Breaks off the first item of a line.
    fn break_off(lines: &InOrder<&str, u32>, connection: &'static str) {
        let (ticket, _) = enter(lines, connection);
        lines.leave(ticket, 0, |_| Fate::BrokenOff);
    }

    #[test]
    fn nothing_is_written_behind_a_part_of_an_item() {
        let lines = InOrder::new();
        let (first, _) = enter(&lines, "a");
        let (second, _) = enter(&lines, "a");
        let (third, _) = enter(&lines, "a");
        leave(&lines, second, 2, |_| panic!("its turn has not come"));
        lines.leave(first, 1, |turn| match turn {
            Turn::Write(1) => Fate::BrokenOff,
            turn => {
                assert_eq!(turn, Turn::Drop(2));
                Fate::Done
            }
        });
        let now = Instant::now();
        assert!(lines.enter("a", now).is_none());
        lines.give_up("a", now);
        assert!(lines.enter("a", now).is_none(), "also if more goes wrong");
        lines.leave(third, 3, |turn| {
            assert_eq!(turn, Turn::Drop(3));
            Fate::Done
        });
        assert_eq!(lines.open(), 0);
        assert!(lines.enter("a", now + GIVEN_UP_FOR).is_some());
    }

    #[test]
    fn a_new_connection_from_the_address_of_a_broken_one_is_told_that_it_is_given_up() {
        let lines = InOrder::new();
        break_off(&lines, "a");
        let later = Instant::now() + GIVEN_UP_FOR;
        lines.give_up("a", later);
        let entered = lines.enter("a", later);
        assert_eq!(
            entered.map(|(_, standing)| standing),
            Some(Standing::GivenUp)
        );
    }

    #[test]
    fn a_connection_is_new_once() {
        let lines = InOrder::<_, ()>::new();
        assert_eq!(enter(&lines, "a").1, Standing::New);
        assert_eq!(enter(&lines, "a").1, Standing::Known);
    }

    #[test]
    fn a_connection_that_sends_too_much_ahead_is_told_and_then_ignored() {
        let lines = InOrder::new();
        let now = Instant::now();
        let (first, _) = enter(&lines, "a");
        for _ in 1..MOST_AHEAD {
            assert_eq!(enter(&lines, "a").1, Standing::Known);
        }
        assert_eq!(enter(&lines, "a").1, Standing::GivenUp);
        assert!(lines.enter("a", now).is_none());
        assert_eq!(lines.open(), MOST_AHEAD + 1);
        assert_eq!(enter(&lines, "b").1, Standing::New);

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
        assert_eq!(standing(now + GIVEN_UP_FOR), Some(Standing::Known));
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
    fn empty_lines_are_forgotten_and_open_ones_kept() {
        let lines = InOrder::new();
        let (kept, _) = enter(&lines, 0);
        for connection in 1..=2 * super::LINES_KEPT {
            let (ticket, _) = enter(&lines, connection);
            leave(&lines, ticket, connection, |_| ());
        }
        assert!(lines.lock().by_connection.len() <= super::LINES_KEPT);

        let mut written = Vec::new();
        leave(&lines, kept, 0, |item| written.push(item));
        assert_eq!(written, [0]);
    }
}
