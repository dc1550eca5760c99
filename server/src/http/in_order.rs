//! Keeps the answers of a connection in the order of its requests.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lines that stand empty are kept until there are this many, to tell a new connection from a known one.
const LINES_KEPT: usize = 4096;

/// Orders items along several lines.
///
/// A caller may send requests without waiting for answers (pipelining). Then `tiny_http` lets the writer of the second
/// answer block until the first is written. A thread that waited like this could hold up the very answer it waits for,
/// so here no thread waits: an item that comes too early is left in its line, and written by whoever writes the one
/// before it. One thread writes for a line at a time.
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
    waiting: VecDeque<Option<T>>,
    being_written: bool,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            first: 0,
            waiting: VecDeque::new(),
            being_written: false,
        }
    }
}

impl<T> Line<T> {
    fn is_open(&self) -> bool {
        self.being_written || !self.waiting.is_empty()
    }
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

    /// The next place in the line of `connection`, and whether this connection is a new one.
    pub(super) fn enter(&self, connection: C) -> (Ticket<C>, bool) {
        let mut lines = self.lock();
        lines.sweep();
        lines.open += 1;
        let mut new = false;
        let line = lines.by_connection.entry(connection).or_insert_with(|| {
            new = true;
            Line::default()
        });
        let place = line.first + line.waiting.len() as u64;
        line.waiting.push_back(None);
        (Ticket { connection, place }, new)
    }

    /// Puts an item into its place, and writes all that are at the head of the line now, unless another thread does.
    pub(super) fn leave(&self, ticket: Ticket<C>, item: T, mut write: impl FnMut(T)) {
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
        while let Some(next) = lines.take_head(ticket.connection) {
            drop(lines);
            write(next);
            lines = self.lock();
            lines.open -= 1;
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
    /// The item at the head of a line, if it is there. If not, the line is not being written any more.
    fn take_head(&mut self, connection: C) -> Option<T> {
        let line = self.by_connection.get_mut(&connection)?;
        let head = line.waiting.front_mut().and_then(Option::take);
        if head.is_some() {
            line.waiting.pop_front();
            line.first += 1;
        } else {
            line.being_written = false;
        }
        head
    }

    /// Forgets empty lines now and then; most of their connections are closed, but nothing tells.
    fn sweep(&mut self) {
        if self.by_connection.len() >= self.sweep_at {
            self.by_connection.retain(|_, line| line.is_open());
            self.sweep_at = LINES_KEPT.max(2 * self.by_connection.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::InOrder;

    #[test]
    fn an_early_item_is_written_after_the_one_before_it() {
        let lines = InOrder::new();
        let (first, _) = lines.enter("a");
        let (second, _) = lines.enter("a");
        let (other, _) = lines.enter("b");
        let mut written = Vec::new();

        lines.leave(second, 2, |item| written.push(item));
        lines.leave(other, 3, |item| written.push(item));
        assert_eq!(
            written,
            [3],
            "the second waits, the other connection does not"
        );

        lines.leave(first, 1, |item| written.push(item));
        assert_eq!(written, [3, 1, 2]);
        assert_eq!(lines.open(), 0);
    }

    #[test]
    fn an_item_left_while_the_line_is_written_is_written_by_the_same_thread() {
        let lines = InOrder::new();
        let (first, _) = lines.enter("a");
        let (second, _) = lines.enter("a");
        let mut written = Vec::new();

        lines.leave(first, 1, |item| {
            if item == 1 {
                lines.leave(second, 2, |_| {
                    panic!("one thread writes for a line at a time")
                });
            }
            written.push(item);
        });
        assert_eq!(written, [1, 2]);
    }

    #[test]
    fn a_connection_is_new_once() {
        let lines = InOrder::<_, ()>::new();
        assert!(lines.enter("a").1);
        assert!(!lines.enter("a").1);
    }

    #[test]
    fn empty_lines_are_forgotten_and_open_ones_kept() {
        let lines = InOrder::new();
        let (kept, _) = lines.enter(0);
        for connection in 1..=2 * super::LINES_KEPT {
            let (ticket, _) = lines.enter(connection);
            lines.leave(ticket, connection, |_| ());
        }
        assert!(lines.lock().by_connection.len() <= super::LINES_KEPT);

        let mut written = Vec::new();
        lines.leave(kept, 0, |item| written.push(item));
        assert_eq!(written, [0]);
    }
}
