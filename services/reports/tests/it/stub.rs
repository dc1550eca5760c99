//! A service that keeps the contract, or breaks it in one way. Made by hand, as a real one does not lie.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// How the service behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Tasks are not done at once, and questions for them are not held.
    Polled,
    /// Every second answer is 503.
    Busy,
    /// It hangs up on the first request for a report.
    HangsUpOnce,
    /// Tasks never end, and questions for them are held.
    Slow,
    /// Tasks end in an error.
    Failing,
    /// It refuses the request.
    Refusing,
    /// One report has another price.
    OtherPrice,
    /// One report has classes that do not sum up.
    OtherSum,
    /// One report is that of another request.
    OtherCorrelation,
    /// One report lacks a phone.
    PhoneMissing,
    /// One report has its phones in another order.
    OtherOrder,
    /// One report is none.
    NoReport,
    /// One completed task has no report.
    ReportMissing,
    /// One report is told not to be there yet.
    ReportPending,
    /// One question for a task is answered with another task.
    OtherTask,
    /// One task has a state of its own.
    OtherState,
    /// One task has no id.
    NoTaskId,
}

/// The report that is a lie, where one is.
const LIE: usize = 3;

/// A service on a port of its own.
#[derive(Debug)]
pub(crate) struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    manner: Manner,
    requests: AtomicU64,
    max_under_way: AtomicU64,
    /// The correlation ids by task, and how often each was asked for.
    tasks: Mutex<Vec<(Value, u64)>>,
    /// The tasks by idempotency key.
    keys: Mutex<HashMap<String, usize>>,
}

/// A request, as far as the service looks at it.
struct Request {
    line: String,
    headers: HashMap<String, String>,
    body: Value,
}

type Answer = (u16, Value);

impl Stub {
    /// Starts one; it ends with the tests.
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            manner,
            requests: AtomicU64::new(0),
            max_under_way: AtomicU64::new(0),
            tasks: Mutex::default(),
            keys: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(&connection));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many tasks were made.
    pub(crate) fn tasks(&self) -> usize {
        self.shared
            .tasks
            .lock()
            .expect("nothing panics with it")
            .len()
    }

    /// The most tasks that were not fetched at a time.
    pub(crate) fn max_under_way(&self) -> u64 {
        self.shared.max_under_way.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn serve(&self, connection: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(connection);
        loop {
            let request = read(&mut reader)?;
            let (status, body) = self.answer(&request)?;
            let body = body.to_string();
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
            (&*connection).write_all(answer.as_bytes()).ok()?;
        }
    }

    /// The answer; none hangs up.
    fn answer(&self, request: &Request) -> Option<Answer> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if self.manner == Manner::Busy && number % 2 == 1 {
            return Some((503, json!({"detail": "busy"})));
        }
        let mut words = request.line.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        if let ("POST", "/api/v1/report") = (method, path) {
            return self.post(request);
        }
        let index = |path: &str| path.rsplit_once("/task-")?.1.parse().ok();
        Some(match index(path) {
            None => (404, Value::Null),
            Some(task) if path.starts_with("/api/v1/tasks/") => {
                let wait = request.headers.get("prefer")?.strip_prefix("wait=")?;
                if self.manner == Manner::Slow {
                    thread::sleep(Duration::from_secs(wait.parse().ok()?));
                }
                (200, self.task(task))
            }
            Some(task) => self.report(task),
        })
    }

    fn post(&self, request: &Request) -> Option<Answer> {
        if self.manner == Manner::Refusing {
            let faults: Vec<_> = (0..7).map(|index| json!({"index": index})).collect();
            return Some((
                422,
                json!({"detail": "They cannot be taken: see `faults`.", "faults": faults}),
            ));
        }
        assert_eq!(request.body["numbers"], json!([1, 2]));
        let mut tasks = self.tasks.lock().expect("nothing panics with it");
        let mut keys = self.keys.lock().expect("nothing panics with it");
        let key = request.headers.get("idempotency-key")?.clone();
        let repeated = keys.contains_key(&key);
        let index = *keys.entry(key).or_insert(tasks.len());
        if !repeated {
            tasks.push((request.body["correlation_id"].clone(), 0));
        }
        let under_way = tasks.iter().filter(|(_, asked)| *asked < u64::MAX).count();
        self.max_under_way
            .fetch_max(under_way as u64, Ordering::Relaxed);
        if self.manner == Manner::HangsUpOnce && index == LIE && !repeated {
            return None;
        }
        let task = json!({"task_id": format!("task-{index}"), "task_status": "pending"});
        let lies = self.manner == Manner::NoTaskId && index == LIE;
        Some((202, if lies { json!({}) } else { task }))
    }

    fn task(&self, index: usize) -> Value {
        let mut tasks = self.tasks.lock().expect("nothing panics with it");
        let (_, asked) = &mut tasks[index];
        *asked += 1;
        let lies = |manner| self.manner == manner && index == LIE;
        let status = match self.manner {
            Manner::Polled if *asked < 3 => "in_work",
            Manner::Slow => "pending",
            Manner::Failing => "error",
            _ if lies(Manner::OtherState) => "done",
            _ => "completed",
        };
        let id = if lies(Manner::OtherTask) {
            index + 1
        } else {
            index
        };
        json!({"task_id": format!("task-{id}"), "task_status": status, "error_message": "no luck"})
    }

    fn report(&self, index: usize) -> Answer {
        let mut tasks = self.tasks.lock().expect("nothing panics with it");
        let row = |phone: u64| {
            json!({
                "phone": phone, "cnt_all_attempts": 6, "min_price_att": 0.5,
                "cnt_att_dur": {"10_sec": 1, "10_30_sec": 2, "30_sec": 3},
            })
        };
        let mut report = json!({
            "data": [row(1), row(2)], "total_duration": 0.25, "correlation_id": tasks[index].0,
        });
        tasks[index].1 = u64::MAX;
        if index != LIE {
            return (200, report);
        }
        match self.manner {
            Manner::OtherPrice => report["data"][1]["min_price_att"] = json!(0.51),
            Manner::OtherSum => report["data"][1]["cnt_att_dur"]["30_sec"] = json!(4),
            Manner::OtherCorrelation => report["correlation_id"] = tasks[0].0.clone(),
            Manner::PhoneMissing => report["data"] = json!([row(1)]),
            Manner::OtherOrder => report["data"] = json!([row(2), row(1)]),
            Manner::NoReport => report = json!({}),
            Manner::ReportMissing => return (404, json!({"detail": "no such report"})),
            Manner::ReportPending => return (409, json!({"detail": "not yet"})),
            _ => {}
        }
        (200, report)
    }
}

/// The next request on a connection; none at its end.
fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    (!line.is_empty()).then_some(Request {
        line,
        headers,
        body,
    })
}
