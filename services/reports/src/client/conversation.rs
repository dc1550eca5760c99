//! One report: posted, waited for, fetched.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use super::ClientArgs;
use crate::error::Error;

/// Between two questions for a task that has not ended, and between two tries: as the script that this client stands for.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a service that can is asked to hold a question for a task that has not ended, unless the report's time is over
/// before.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Before the report's time is over, a question is answered: so a task that has not ended is told from no answer.
const MARGIN: Duration = Duration::from_millis(500);
/// How many faults of a request are told.
const TOLD_FAULTS: usize = 5;
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How a report ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// What was sent with the request, to know its answer by.
    pub(super) correlation_id: String,
    /// From the first POST to the whole report.
    pub(super) latency: Duration,
    /// How often a request was sent once more.
    pub(super) retries: u64,
    pub(super) outcome: Outcome,
}

/// What became of a report.
#[derive(Debug)]
pub(super) enum Outcome {
    /// As it came.
    Report(Box<RawValue>),
    /// None, which may happen.
    Failed(String),
    /// The service contradicts itself.
    Contradiction(String),
}

/// Asks a service for reports of the same phones.
pub(super) struct Conversation {
    client: Client,
    url: String,
    timeout: Duration,
    phones: Vec<u64>,
    /// So that no two runs have a correlation id in common.
    run: Uuid,
}

/// A task, as far as it matters here.
#[derive(Deserialize)]
struct Task {
    #[serde(rename = "task_id")]
    id: String,
    #[serde(rename = "task_status")]
    status: Option<String>,
    error_message: Option<String>,
}

impl Conversation {
    pub(super) fn new(args: &ClientArgs) -> Result<Self, Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .no_proxy()
            .build();
        Ok(Self {
            client: client.map_err(std::io::Error::other)?,
            url: args.url.clone(),
            timeout: args.timeout,
            phones: args.phones.clone(),
            run: Uuid::new_v4(),
        })
    }

    /// Asks for the service's root: any answer shows that somebody is there.
    pub(super) async fn check_reachable(&self) -> Result<(), Error> {
        let asked = self.client.get(&self.url).timeout(CONNECT).send().await;
        asked
            .map(drop)
            .map_err(|error| Error::NobodyThere(self.url.clone(), cause(&error)))
    }

    /// Asks for a report until it is there, or its time is over.
    pub(super) async fn hold(self: Arc<Self>, index: u64) -> Ended {
        let correlation_id = format!("{}-{index}", self.run.simple());
        let start = Instant::now();
        let mut attempts = Attempts {
            conversation: &self,
            deadline: start + self.timeout,
            retries: 0,
        };
        let outcome = match attempts.report(&correlation_id).await {
            Ok(report) => Outcome::Report(report),
            Err(outcome) => outcome,
        };
        Ended {
            correlation_id,
            latency: start.elapsed(),
            retries: attempts.retries,
            outcome,
        }
    }
}

/// The requests for one report.
struct Attempts<'a> {
    conversation: &'a Conversation,
    deadline: Instant,
    retries: u64,
}

impl Attempts<'_> {
    async fn report(&mut self, correlation_id: &str) -> Result<Box<RawValue>, Outcome> {
        let Conversation {
            client,
            url,
            phones,
            ..
        } = self.conversation;
        let body = json!({ "numbers": phones, "correlation_id": correlation_id });
        // So that a request that is sent once more makes no second task, where the service knows it.
        let key = Uuid::new_v4().to_string();
        let post = client
            .post(format!("{url}/api/v1/report"))
            .header("Idempotency-Key", key)
            .json(&body);
        let task = self.answer(&post, "the request").await.map_err(failed)?;
        let id = parsed::<Task>(&task)?.id;
        self.wait_for(&id).await?;
        let report = client.get(format!("{url}/api/v1/report/{id}"));
        self.answer(&report, "the report")
            .await
            .map_err(|refusal| match refusal.status {
                Some(StatusCode::NOT_FOUND | StatusCode::CONFLICT) => {
                    Outcome::Contradiction(format!("task {id} is completed, and {}", refusal.why))
                }
                _ => failed(refusal),
            })
    }

    /// Asks for a task until it is completed.
    async fn wait_for(&mut self, id: &str) -> Result<(), Outcome> {
        let Conversation { client, url, .. } = self.conversation;
        loop {
            let now = Instant::now();
            // A service that holds the question takes longer than the pause.
            let next = now + PAUSE;
            let left = self.deadline.saturating_duration_since(now + MARGIN);
            let wait = left.min(MAX_WAIT).as_secs();
            let question = client
                .get(format!("{url}/api/v1/tasks/{id}"))
                .header("Prefer", format!("wait={wait}"));
            let task = self.answer(&question, "the task").await.map_err(failed)?;
            let task: Task = parsed(&task)?;
            if task.id != id {
                let other = task.id;
                let why = format!("asked for task {id}, it answers with task {other}");
                return Err(Outcome::Contradiction(why));
            }
            match task.status.as_deref() {
                Some("completed") => return Ok(()),
                Some("pending" | "in_work") if next < self.deadline => sleep_until(next).await,
                Some("pending" | "in_work") => {
                    let why = "the task has not ended in time".to_owned();
                    return Err(Outcome::Failed(why));
                }
                Some(ended @ ("error" | "cancelled")) => {
                    let why = task.error_message.unwrap_or_default();
                    return Err(Outcome::Failed(format!("the task ended as {ended}: {why}")));
                }
                other => {
                    let state = other.unwrap_or("none");
                    let why =
                        format!("task {id} has the state {state}, which the contract has not");
                    return Err(Outcome::Contradiction(why));
                }
            }
        }
    }

    /// Sends a request, and once more what fails in passing, until the time of the report is over.
    async fn answer(
        &mut self,
        request: &RequestBuilder,
        what: &str,
    ) -> Result<Box<RawValue>, Refusal> {
        loop {
            let next = Instant::now() + PAUSE;
            let request = request.try_clone().expect("its body is in memory");
            let refusal = match timeout_at(self.deadline, answer(request, what)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(refusal)) => refusal,
                Err(_elapsed) => return Err(Refusal::without_status(what, "no answer in time")),
            };
            if !refusal.is_passing() || next >= self.deadline {
                return Err(refusal);
            }
            sleep_until(next).await;
            self.retries += 1;
        }
    }
}

/// Why a request was not answered with success.
struct Refusal {
    /// None if there was no answer.
    status: Option<StatusCode>,
    why: String,
}

impl Refusal {
    fn without_status(what: &str, why: &str) -> Self {
        Self {
            status: None,
            why: format!("{what}: {why}"),
        }
    }

    /// Whether a little later it may be answered.
    fn is_passing(&self) -> bool {
        matches!(
            self.status,
            None | Some(
                StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            )
        )
    }
}

fn failed(refusal: Refusal) -> Outcome {
    Outcome::Failed(refusal.why)
}

async fn answer(request: RequestBuilder, what: &str) -> Result<Box<RawValue>, Refusal> {
    let broken = |error: reqwest::Error| Refusal::without_status(what, &cause(&error));
    let answer = request.send().await.map_err(broken)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(broken)?;
    let refusal = |why: &str| Refusal {
        status: Some(status),
        why: format!("{what} was answered with {status}: {why}"),
    };
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| refusal(&error.to_string()));
    }
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    Err(refusal(&told(&problem)))
}

/// What a problem document says, for people.
fn told(problem: &Value) -> String {
    let mut text = problem["detail"].as_str().unwrap_or_default().to_owned();
    let faults = problem["faults"].as_array().map_or(&[][..], Vec::as_slice);
    for fault in faults.iter().take(TOLD_FAULTS) {
        let _ = write!(text, "\n    {fault}");
    }
    if faults.len() > TOLD_FAULTS {
        let _ = write!(text, "\n    and {} more", faults.len() - TOLD_FAULTS);
    }
    text
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Result<T, Outcome> {
    serde_json::from_str(text.get())
        .map_err(|error| Outcome::Contradiction(format!("this is no task: {error}: {text}")))
}

/// What lies at the bottom of an error: above it stands only that a request failed.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
