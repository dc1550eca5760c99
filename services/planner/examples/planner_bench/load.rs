//! A closed loop of clients, like `wrk`: each connection repeats the same request as soon as it is answered.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Bytes of the read buffer. Responses are a few hundred bytes.
const BUFFER: usize = 4096;
/// Time before the measurement begins.
const WARM_UP: Duration = Duration::from_millis(200);

/// The result of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Successful responses per second.
    pub(crate) per_second: f64,
    /// The 99th percentile of response times, in milliseconds.
    pub(crate) p99_ms: f64,
    /// Responses with another status than 200.
    pub(crate) refused: usize,
}

/// The bytes of a GET request, with or without a token.
pub(crate) fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{authorization}\r\n").into()
}

/// Puts this load on a server.
///
/// # Errors
/// If a connection fails.
pub(crate) fn run(
    address: SocketAddr,
    request: &[u8],
    connections: usize,
    duration: Duration,
) -> io::Result<Rate> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        let start = Instant::now() + WARM_UP;
        for _ in 0..connections {
            clients.spawn(send_repeatedly(
                address,
                request.to_vec(),
                start,
                start + duration,
            ));
        }
        let mut all = Answers::default();
        while let Some(answers) = clients.join_next().await {
            let answers = answers.map_err(io::Error::other)??;
            all.times.extend(answers.times);
            all.refused += answers.refused;
        }
        Ok(all.rate(duration))
    })
}

#[derive(Default)]
struct Answers {
    times: Vec<Duration>,
    refused: usize,
}

impl Answers {
    fn rate(mut self, duration: Duration) -> Rate {
        self.times.sort_unstable();
        let at = (self.times.len() * 99).div_ceil(100).saturating_sub(1);
        let p99 = self.times.get(at).copied().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let answered = self.times.len() as f64;
        Rate {
            per_second: answered / duration.as_secs_f64(),
            p99_ms: p99.as_secs_f64() * 1e3,
            refused: self.refused,
        }
    }
}

async fn send_repeatedly(
    address: SocketAddr,
    request: Vec<u8>,
    start: Instant,
    end: Instant,
) -> io::Result<Answers> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answers = Answers::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(answers);
        }
        stream.write_all(&request).await?;
        let status = read_answer(&mut stream, &mut buffer).await?;
        if sent < start {
            continue;
        }
        if status == *b"200" {
            answers.times.push(sent.elapsed());
        } else {
            answers.refused += 1;
        }
    }
}

/// Reads a response to its end, and returns its status.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<[u8; 3]> {
    let mut read = 0;
    loop {
        let count = stream.read(&mut buffer[read..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read += count;
        if let Some(length) = answer_length(&buffer[..read])
            && read >= length
        {
            let status = buffer[9..12].try_into();
            return Ok(status.expect("three bytes are three"));
        }
    }
}

/// The length of the response that begins here; `None` until its head is complete.
fn answer_length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = str::from_utf8(&answer[..head]).ok()?;
    let (_, behind) = text.split_once("Content-Length: ")?;
    let (body, _) = behind.split_once("\r\n")?;
    Some(head + body.parse::<usize>().ok()?)
}
