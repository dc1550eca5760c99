//! A stub of the service that keeps the contract, or breaks it in one way.

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
pub(crate) enum Behavior {
    Honest,
    /// Tasks are not completed at once, and requests for them are not held.
    Polled,
    /// Every second response is 503.
    Busy,
    /// Closes the connection at the first POST of one report.
    DisconnectsOnce,
    /// Tasks never end, and requests for them are held.
    Slow,
    /// Tasks end in an error.
    Failing,
    /// Requests for reports are refused.
    Refusing,
    /// One report has a different price.
    OtherPrice,
    /// One report has classes with a wrong sum.
    OtherSum,
    /// One report is that of another request.
    OtherCorrelation,
    /// One report lacks a phone.
    PhoneMissing,
    /// One report has its phones in another order.
    OtherOrder,
    /// One report is an empty object.
    NoReport,
    /// One completed task has no report.
    ReportMissing,
    /// One report of a completed task is answered with 409.
    ReportPending,
    /// One request for a task is answered with another task.
    OtherTask,
    /// One task has a state that the contract does not have.
    OtherState,
    /// One task has no id.
    NoTaskId,
}

/// The index of the report that is wrong, if one is.
const FAULTY_INDEX: usize = 3;

/// A stub on its own port.
#[derive(Debug)]
pub(crate) struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    behavior: Behavior,
    requests: AtomicU64,
    max_in_progress: AtomicU64,
    /// The correlation id of each task, and how often the task was polled; `u64::MAX` once its report was fetched.
    tasks: Mutex<Vec<(Value, u64)>>,
    /// The tasks by idempotency key.
    keys: Mutex<HashMap<String, usize>>,
}

/// The parts of a request that the stub uses.
struct Request {
    line: String,
    headers: HashMap<String, String>,
    body: Value,
}

type Answer = (u16, Value);

impl Stub {
    /// Starts a stub; it runs until the tests end.
    pub(crate) fn start(behavior: Behavior) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            behavior,
            requests: AtomicU64::new(0),
            max_in_progress: AtomicU64::new(0),
            tasks: Mutex::default(),
            keys: Mutex::default(),
        });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&for_thread);
                thread::spawn(move || shared.serve(&connection));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many tasks were created.
    pub(crate) fn tasks(&self) -> usize {
        self.shared
            .tasks
            .lock()
            .expect("nothing panics with it")
            .len()
    }

    /// The most tasks at a time whose reports were not fetched yet.
    pub(crate) fn max_in_progress(&self) -> u64 {
        self.shared.max_in_progress.load(Ordering::Relaxed)
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

    /// The response; none closes the connection.
    fn answer(&self, request: &Request) -> Option<Answer> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if self.behavior == Behavior::Busy && number % 2 == 1 {
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
                if self.behavior == Behavior::Slow {
                    thread::sleep(Duration::from_secs(wait.parse().ok()?));
                }
                (200, self.task(task))
            }
            Some(task) => self.report(task),
        })
    }

    fn post(&self, request: &Request) -> Option<Answer> {
        if self.behavior == Behavior::Refusing {
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
        let in_progress = tasks.iter().filter(|(_, polls)| *polls < u64::MAX).count();
        self.max_in_progress
            .fetch_max(in_progress as u64, Ordering::Relaxed);
        if self.behavior == Behavior::DisconnectsOnce && index == FAULTY_INDEX && !repeated {
            return None;
        }
        let task = json!({"task_id": format!("task-{index}"), "task_status": "pending"});
        let is_faulty = self.behavior == Behavior::NoTaskId && index == FAULTY_INDEX;
        Some((202, if is_faulty { json!({}) } else { task }))
    }

    fn task(&self, index: usize) -> Value {
        let mut tasks = self.tasks.lock().expect("nothing panics with it");
        let (_, polls) = &mut tasks[index];
        *polls += 1;
        let is_faulty = |behavior| self.behavior == behavior && index == FAULTY_INDEX;
        let status = match self.behavior {
            Behavior::Polled if *polls < 3 => "in_work",
            Behavior::Slow => "pending",
            Behavior::Failing => "error",
            _ if is_faulty(Behavior::OtherState) => "done",
            _ => "completed",
        };
        let id = if is_faulty(Behavior::OtherTask) {
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
        if index != FAULTY_INDEX {
            return (200, report);
        }
        match self.behavior {
            Behavior::OtherPrice => report["data"][1]["min_price_att"] = json!(0.51),
            Behavior::OtherSum => report["data"][1]["cnt_att_dur"]["30_sec"] = json!(4),
            Behavior::OtherCorrelation => report["correlation_id"] = tasks[0].0.clone(),
            Behavior::PhoneMissing => report["data"] = json!([row(1)]),
            Behavior::OtherOrder => report["data"] = json!([row(2), row(1)]),
            Behavior::NoReport => report = json!({}),
            Behavior::ReportMissing => return (404, json!({"detail": "no such report"})),
            Behavior::ReportPending => return (409, json!({"detail": "not yet"})),
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
