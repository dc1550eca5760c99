//! The connection of one coroutine to one replica: one request in flight, exact times, and no request sent twice.
//!
//! It uses hyper's connection API and not reqwest, for three reasons. reqwest shares a pool of connections among requests, so
//! that two could be in flight for one coroutine, and a measured time could include another's wait. reqwest may resend a request
//! on a new connection by itself; here [`Connection::exchange`] does so only with a request that hyper hands back unsent. And
//! reqwest costs more: for 100,000 requests from 50 tasks to a server in memory (replies of 1.3 KB, two cores, medians), user
//! and system time of the client were 6.2 us a request with hyper and 10.5 us with reqwest on one thread, 6.9 us and
//! 16.4 us on two.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{timeout, timeout_at};
use url::Host;

use crate::args::{LoadArgs, Target};
use crate::history::{MAX_PAGE_MESSAGES, Reason};

/// The path at which a replica accepts messages.
const MESSAGES_PATH: &str = "/messages";

/// The largest body that is read, in bytes. A page of a hundred messages with the longest texts, each character
/// escaped, is two thirds of it.
const MAX_BODY_BYTES: usize = 4 << 20;

/// A replica whose addresses are known.
#[derive(Debug)]
pub(crate) struct Replica {
    addresses: Vec<SocketAddr>,
    host: HeaderValue,
}

impl Replica {
    /// Resolves the addresses of a replica; or returns why it has none, for the user.
    pub(crate) async fn resolve(target: &Target) -> Result<Self, String> {
        let addresses = match &target.host {
            Host::Ipv4(ip) => vec![SocketAddr::from((*ip, target.port))],
            Host::Ipv6(ip) => vec![SocketAddr::from((*ip, target.port))],
            Host::Domain(name) => lookup_host((name.as_str(), target.port))
                .await
                .map_err(|error| error.to_string())?
                .collect(),
        };
        let host = HeaderValue::from_str(target.authority())
            .map_err(|error| format!("its name: {error}"))?;
        Ok(Self { addresses, host })
    }

    /// Checks that the replica can be reached, by a connection that is closed again. From then on, the address that accepted it
    /// is tried first, so that an unresponsive address delays no request of the run.
    pub(crate) async fn check_reachable(
        &mut self,
        connect_timeout: Duration,
    ) -> Result<(), Reason> {
        let stream = self.connect(Instant::now() + connect_timeout).await?;
        if let Ok(reached) = stream.peer_addr() {
            self.addresses.sort_by_key(|address| *address != reached);
        }
        Ok(())
    }

    /// Tries one address after the other. Each gets an equal share of the time that is left, so that an unresponsive address
    /// leaves time for those after it.
    async fn connect(&self, deadline: Instant) -> Result<TcpStream, Reason> {
        let mut reason = Reason::Unreachable;
        for (address, left) in self.addresses.iter().zip((1..=self.addresses.len()).rev()) {
            let time = deadline.saturating_duration_since(Instant::now());
            let share = time / u32::try_from(left).unwrap_or(u32::MAX);
            reason = match timeout(share, TcpStream::connect(address)).await {
                Err(_) => Reason::ConnectTimeout,
                Ok(Err(error)) => connect_failure(&error),
                Ok(Ok(stream)) => match stream.set_nodelay(true) {
                    Ok(()) => return Ok(stream),
                    Err(_) => Reason::Unreachable,
                },
            };
        }
        Err(reason)
    }

    /// Returns the request that posts a message.
    pub(crate) fn post_request(
        &self,
        body: Bytes,
        key: Option<&HeaderValue>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::post(MESSAGES_PATH)
            .header(HOST, self.host.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))
            .expect("every part was parsed before");
        if let Some(key) = key {
            request.headers_mut().insert("idempotency-key", key.clone());
        }
        request
    }

    /// Returns the request for a page of the last messages.
    pub(crate) fn page_request(&self) -> Request<Full<Bytes>> {
        Request::get(format!("{MESSAGES_PATH}?limit={MAX_PAGE_MESSAGES}"))
            .header(HOST, self.host.clone())
            .body(Full::default())
            .expect("every part was parsed before")
    }
}

/// A connection that is opened when a request needs it.
#[derive(Debug)]
pub(crate) struct Connection {
    replica: Arc<Replica>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// The result of sending a request once.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The instant before anything was written, and before the connection was opened if there was none.
    pub(crate) start: Instant,
    /// The instant after the whole answer was read.
    pub(crate) end: Instant,
    /// The body of a 200 with JSON, or why there is none.
    pub(crate) answer: Result<Bytes, Reason>,
}

impl Connection {
    pub(crate) fn new(replica: Arc<Replica>) -> Self {
        Self {
            replica,
            sender: None,
        }
    }

    pub(crate) fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Sends a request once, and reads the answer. The connection is closed unless the answer is complete.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        options: &LoadArgs,
    ) -> Exchange {
        let start = Instant::now();
        let connect_deadline = start + options.connect_timeout.min(options.timeout);
        let deadline = start + options.timeout;
        let answer = timeout_at(deadline.into(), self.send(request, connect_deadline)).await;
        Exchange {
            start,
            end: Instant::now(),
            answer: answer.unwrap_or(Err(Reason::NoAnswer)),
        }
    }

    async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
        connect_deadline: Instant,
    ) -> Result<Bytes, Reason> {
        if let Some(mut sender) = self.sender.take().filter(|sender| !sender.is_closed()) {
            match sender.try_send_request(request).await {
                Ok(response) => return self.read_response(sender, response).await,
                // The server closed the idle connection: hyper gives the request back only if no byte of it was written.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(exchange_failure(error.error())),
                },
            }
        }
        let stream = self.replica.connect(connect_deadline).await?;
        let (mut sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| exchange_failure(&error))?;
        // The task ends when the sender is dropped. The sender gets its error as well.
        tokio::spawn(driver);
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| exchange_failure(&error))?;
        self.read_response(sender, response).await
    }

    async fn read_response(
        &mut self,
        sender: SendRequest<Full<Bytes>>,
        response: Response<Incoming>,
    ) -> Result<Bytes, Reason> {
        let (head, body) = response.into_parts();
        let failed = match head.status {
            StatusCode::OK if has_type(&head.headers, "application/json") => None,
            StatusCode::OK => Some(Reason::Unreadable),
            status if has_type(&head.headers, "application/problem+json") => {
                Some(Reason::Status(status.as_u16()))
            }
            status => Some(Reason::StatusWithoutProblem(status.as_u16())),
        };
        let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(failed.unwrap_or(Reason::Unreadable));
            }
            Err(_) => return Err(Reason::Closed),
        };
        self.sender = Some(sender);
        failed.map_or(Ok(body), Err)
    }
}

/// Returns whether a body has this media type, whatever its parameters.
fn has_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let found = value.and_then(|value| value.split(|byte| *byte == b';').next());
    found.is_some_and(|found| {
        found
            .trim_ascii()
            .eq_ignore_ascii_case(media_type.as_bytes())
    })
}

fn connect_failure(error: &std::io::Error) -> Reason {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => Reason::Refused,
        Some(Errno::MFILE | Errno::NFILE) => Reason::OpenFiles,
        _ => Reason::Unreachable,
    }
}

fn exchange_failure(error: &hyper::Error) -> Reason {
    if error.is_parse() {
        Reason::Unreadable
    } else {
        Reason::Closed
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

    /// An address that does not respond, because the backlog of its listener is full.
    struct Unresponsive {
        address: SocketAddr,
        _listener: TcpListener,
        _queue: Vec<TcpStream>,
    }

    impl Unresponsive {
        async fn new(ip: [u8; 4]) -> Self {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind((ip, 0).into()).expect("a free port");
            let listener = socket.listen(1).expect("it listens");
            let address = listener.local_addr().expect("an address");
            let mut queue = Vec::new();
            let connect =
                || tokio::time::timeout(CONNECT_TIMEOUT / 10, TcpStream::connect(address));
            while let Ok(stream) = connect().await {
                queue.push(stream.expect("there is room, or no answer"));
            }
            Self {
                address,
                _listener: listener,
                _queue: queue,
            }
        }
    }

    fn replica(addresses: Vec<SocketAddr>) -> Replica {
        Replica {
            addresses,
            host: HeaderValue::from_static("replica"),
        }
    }

    #[tokio::test]
    async fn a_silent_address_leaves_time_for_those_after_it() {
        let unresponsive = [
            Unresponsive::new([127, 0, 0, 2]).await,
            Unresponsive::new([127, 0, 0, 3]).await,
        ];
        let listener = TcpListener::bind("127.0.0.4:0").await.expect("a free port");
        let open = listener.local_addr().expect("an address");
        let mut replica = replica(vec![unresponsive[0].address, unresponsive[1].address, open]);
        assert_eq!(replica.check_reachable(CONNECT_TIMEOUT).await, Ok(()));
        assert_eq!(
            replica.addresses[0], open,
            "later connections begin with it"
        );
    }

    #[tokio::test]
    async fn silent_addresses_alone_take_the_connect_timeout() {
        let unresponsive = [
            Unresponsive::new([127, 0, 0, 2]).await,
            Unresponsive::new([127, 0, 0, 3]).await,
        ];
        let mut replica = replica(vec![unresponsive[0].address, unresponsive[1].address]);
        let start = Instant::now();
        let reached = replica.check_reachable(CONNECT_TIMEOUT).await;
        assert_eq!(reached, Err(Reason::ConnectTimeout));
        assert!(
            start.elapsed() < CONNECT_TIMEOUT * 2,
            "{:?}",
            start.elapsed()
        );
    }
}
