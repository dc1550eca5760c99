//! Orders the requests of each connection, and knows on which connections nothing more is served.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The map has at least this capacity before empty pipelines are removed.
const ROOM: usize = 2048;

/// Most requests of one connection that may wait for their responses. `tiny_http` itself reads requests ahead without limit, and
/// cannot be stopped.
const MAX_PIPELINED: usize = 128;

/// How long a connection stays given up after the time of the last call of [`Pipelines::give_up`]. It is closed as soon as its client is told
/// and the rest of a refused body is read, so this is long enough for all requests that had arrived by then. A connection is
/// known by the address of its peer alone, so for this time a new one from the same address and port is taken for it.
const GIVEN_UP_FOR: Duration = Duration::from_secs(10);

/// Has the requests of each connection answered one after the other.
///
/// A client may send requests without waiting for responses (pipelining). Then `tiny_http` lets the writer of the second
/// response block until the first is written. A thread that waited like this could hold up the very response it waits for,
/// so a request is begun when the response to the one before it is written, by the thread that has written it. So a client that
/// sends much at once is served one request after the other.
#[derive(Default)]
pub(super) struct Pipelines {
    by_connection: Mutex<HashMap<SocketAddr, Pipeline>>,
}

#[derive(Default)]
struct Pipeline {
    /// Requests without a response.
    open: usize,
    /// Whether one of them is begun.
    is_busy: bool,
    /// The others, each with what happened to the responses before it.
    waiting: VecDeque<(Delivery, Work)>,
    /// Nothing more is served until [`GIVEN_UP_FOR`] after this.
    given_up_since: Option<Instant>,
}

/// Begins a request that has waited for its turn.
type Work = Box<dyn FnOnce(Delivery) + Send>;

/// Whether a connection is still served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionStatus {
    Open,
    /// Nothing more is served on it.
    GivenUp,
}

/// Whether a response was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Written,
    /// The connection is broken. The next request may have come on a newer connection from the same address, or is lost as well.
    Lost,
}

impl Pipeline {
    fn is_given_up(&self, now: Instant) -> bool {
        self.given_up_since
            .is_some_and(|since| now.duration_since(since) < GIVEN_UP_FOR)
    }
}

impl Pipelines {
    /// Registers a request, and returns whether its connection is still served. None if the connection is given up and its client
    /// is being told so, or cannot be told: then the request gets no response at all.
    pub(super) fn enter(&self, connection: SocketAddr, now: Instant) -> Option<ConnectionStatus> {
        let mut by_connection = self.by_connection.lock();
        make_room(&mut by_connection, now);
        let pipeline = by_connection.entry(connection).or_default();
        let is_given_up = pipeline.is_given_up(now);
        if is_given_up && pipeline.open > 0 {
            return None;
        }
        pipeline.open += 1;
        if is_given_up || pipeline.open > MAX_PIPELINED {
            return Some(ConnectionStatus::GivenUp);
        }
        Some(ConnectionStatus::Open)
    }

    /// Begins a request that has entered when the responses to all before it are written, or lost. To be called by one thread for
    /// each connection.
    pub(super) fn in_turn(
        &self,
        connection: SocketAddr,
        begin: impl FnOnce(Delivery) + Send + 'static,
    ) {
        let mut by_connection = self.by_connection.lock();
        let pipeline = by_connection.entry(connection).or_default();
        if pipeline.is_busy {
            let work = Box::new(begin);
            return pipeline.waiting.push_back((Delivery::Written, work));
        }
        pipeline.is_busy = true;
        drop(by_connection);
        begin(Delivery::Written);
    }

    /// Writes the response to the request that was begun, and begins the next.
    pub(super) fn finish(&self, connection: SocketAddr, write: impl FnOnce() -> Delivery) {
        let delivery = catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|_panic| {
            tracing::error!("a panic while a response was written; the server goes on");
            Delivery::Written
        });
        let mut by_connection = self.by_connection.lock();
        let Some(pipeline) = by_connection.get_mut(&connection) else {
            return;
        };
        pipeline.open -= 1;
        if delivery == Delivery::Lost {
            for (before, _) in &mut pipeline.waiting {
                *before = delivery;
            }
        }
        let next = pipeline.waiting.pop_front();
        pipeline.is_busy = next.is_some();
        drop(by_connection);
        if let Some((before, begin)) = next {
            begin(before);
        }
    }

    /// Serves nothing more on this connection until [`GIVEN_UP_FOR`] after `since`, which may be in the future.
    pub(super) fn give_up(&self, connection: SocketAddr, since: Instant) {
        let mut by_connection = self.by_connection.lock();
        by_connection.entry(connection).or_default().given_up_since = Some(since);
    }

    /// How many requests are registered whose responses are not written yet.
    pub(super) fn open(&self) -> usize {
        let by_connection = self.by_connection.lock();
        by_connection.values().map(|pipeline| pipeline.open).sum()
    }

    /// The connections of these requests.
    pub(super) fn connections(&self) -> Vec<SocketAddr> {
        let by_connection = self.by_connection.lock();
        let open = by_connection
            .iter()
            .filter(|(_, pipeline)| pipeline.open > 0);
        open.map(|(&connection, _)| connection).collect()
    }
}

/// Removes empty pipelines when the map is full: most of their connections are closed, which `tiny_http` does not report.
fn make_room(by_connection: &mut HashMap<SocketAddr, Pipeline>, now: Instant) {
    if by_connection.len() == by_connection.capacity() {
        by_connection.retain(|_, pipeline| pipeline.open > 0 || pipeline.is_given_up(now));
        by_connection.reserve(by_connection.len().max(ROOM));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use super::*;

    /// Pipelines, and the requests that were begun in them.
    #[derive(Clone)]
    struct Requests {
        pipelines: Arc<Pipelines>,
        begun: Arc<Mutex<Vec<(u8, Delivery)>>>,
    }

    impl Requests {
        fn new() -> Self {
            Self {
                pipelines: Arc::new(Pipelines::default()),
                begun: Arc::default(),
            }
        }

        fn send(&self, connection: SocketAddr, number: u8) {
            let status = self.pipelines.enter(connection, Instant::now());
            assert_eq!(status, Some(ConnectionStatus::Open));
            let begun = Arc::clone(&self.begun);
            self.pipelines.in_turn(connection, move |before| {
                begun.lock().push((number, before));
            });
        }

        fn begun(&self) -> Vec<(u8, Delivery)> {
            self.begun.lock().clone()
        }
    }

    const A: SocketAddr = address(1);
    const B: SocketAddr = address(2);

    const fn address(port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }

    const WRITTEN: Delivery = Delivery::Written;
    const LOST: Delivery = Delivery::Lost;

    #[test]
    fn a_request_is_begun_when_the_response_before_it_is_written_and_others_do_not_wait() {
        let requests = Requests::new();
        requests.send(A, 1);
        requests.send(A, 2);
        requests.send(B, 3);
        assert_eq!(requests.begun(), [(1, WRITTEN), (3, WRITTEN)]);
        requests.pipelines.finish(A, || WRITTEN);
        assert_eq!(requests.begun()[2..], [(2, WRITTEN)]);
        requests.pipelines.finish(B, || WRITTEN);
        assert_eq!(
            (
                requests.pipelines.open(),
                requests.pipelines.connections().len()
            ),
            (1, 1)
        );
        requests.pipelines.finish(A, || WRITTEN);
        requests.send(A, 4);
        assert_eq!(
            requests.begun()[3..],
            [(4, WRITTEN)],
            "nothing is before it"
        );
    }

    #[test]
    fn requests_that_wait_when_a_response_is_lost_learn_of_it_and_later_ones_do_not() {
        let requests = Requests::new();
        for number in 1..=3 {
            requests.send(A, number);
        }
        requests.pipelines.finish(A, || LOST);
        // A request on a new connection from the same address.
        requests.send(A, 4);
        for _ in 2..=4 {
            requests.pipelines.finish(A, || WRITTEN);
        }
        let known = [(1, WRITTEN), (2, LOST), (3, LOST), (4, WRITTEN)];
        assert_eq!(requests.begun(), known);
        assert_eq!(requests.pipelines.open(), 0);
    }

    #[test]
    fn a_request_may_be_answered_while_it_is_begun() {
        let pipelines = Arc::new(Pipelines::default());
        let begun = Arc::new(Mutex::new(0));
        for _ in 0..3 {
            assert!(pipelines.enter(A, Instant::now()).is_some());
        }
        for _ in 0..3 {
            let (again, begun) = (Arc::clone(&pipelines), Arc::clone(&begun));
            pipelines.in_turn(A, move |_| {
                *begun.lock() += 1;
                again.finish(A, || WRITTEN);
            });
        }
        assert_eq!((*begun.lock(), pipelines.open()), (3, 0));
    }

    #[test]
    fn a_panic_in_one_response_does_not_keep_the_next_request_from_being_begun() {
        let requests = Requests::new();
        requests.send(A, 1);
        requests.send(A, 2);
        let pipelines = &requests.pipelines;
        pipelines.finish(A, || panic!("a response that cannot be written"));
        assert_eq!(requests.begun(), [(1, WRITTEN), (2, WRITTEN)]);
        assert_eq!(pipelines.open(), 1);
    }

    #[test]
    fn a_connection_that_pipelines_too_much_is_refused_once_and_then_ignored() {
        let pipelines = Pipelines::default();
        let enter = |connection| pipelines.enter(connection, Instant::now());
        for _ in 0..MAX_PIPELINED {
            assert_eq!(enter(A), Some(ConnectionStatus::Open));
        }
        assert_eq!(enter(A), Some(ConnectionStatus::GivenUp));
        pipelines.give_up(A, Instant::now());
        assert_eq!(enter(A), None);
        assert_eq!(pipelines.open(), MAX_PIPELINED + 1);
        assert_eq!(enter(B), Some(ConnectionStatus::Open));
        pipelines.finish(A, || WRITTEN);
        assert_eq!(enter(A), None, "even if there is room");
    }

    #[test]
    fn a_connection_stays_given_up_for_a_while() {
        let pipelines = Pipelines::default();
        let now = Instant::now();
        pipelines.give_up(A, now);
        let status = |time| {
            let status = pipelines.enter(A, time);
            pipelines.finish(A, || WRITTEN);
            status
        };
        let given_up = Some(ConnectionStatus::GivenUp);
        assert_eq!(status(now), given_up);
        assert_eq!(status(now + GIVEN_UP_FOR / 2), given_up);
        assert_eq!(status(now + GIVEN_UP_FOR), Some(ConnectionStatus::Open));
    }

    #[test]
    fn empty_pipelines_are_forgotten_and_open_and_given_up_ones_are_kept() {
        let pipelines = Pipelines::default();
        let now = Instant::now();
        assert!(pipelines.enter(A, now).is_some());
        pipelines.give_up(B, now);
        for connection in (3..16_000).map(address) {
            assert!(pipelines.enter(connection, now).is_some());
            pipelines.finish(connection, || WRITTEN);
        }
        assert!(pipelines.by_connection.lock().len() < 4 * ROOM);
        assert_eq!((pipelines.open(), pipelines.connections().len()), (1, 1));
        let status = pipelines.enter(B, now);
        assert_eq!(status, Some(ConnectionStatus::GivenUp));
    }
}
