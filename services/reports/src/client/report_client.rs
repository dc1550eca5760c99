//! Requests one report: POST, poll the task, GET.

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

/// The time between two polls of a task, and between two attempts of a request, as in the script that this client replaces.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How long the service is asked to hold a request for a task that has not ended, unless the report's timeout is over earlier.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long before the report's timeout a held request ends, so that a task that has not ended differs from no response.
const RESPONSE_MARGIN: Duration = Duration::from_millis(500);
/// Most faults of a request that are shown.
const MAX_FAULTS: usize = 5;
/// How long connecting, or the first request, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A report that was received or failed.
#[derive(Debug)]
pub(super) struct FinishedReport {
    /// The id sent with the request, which the report must have.
    pub(super) correlation_id: String,
    /// From the first POST to the last byte of the report.
    pub(super) latency: Duration,
    /// How often a request was retried.
    pub(super) retries: u64,
    pub(super) outcome: Outcome,
}

/// The outcome of a report.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The body, as it was received.
    Report(Box<RawValue>),
    /// There is no report; the reason, which is not a contradiction.
    Failed(String),
    /// The service contradicts itself or the contract.
    Contradiction(String),
}

/// Requests reports for the same phones from a service.
pub(super) struct ReportClient {
    client: Client,
    url: String,
    timeout: Duration,
    phones: Vec<u64>,
    /// Part of the correlation ids, so that no two runs share one.
    run: Uuid,
}

/// The members of a task that matter here.
#[derive(Deserialize)]
struct Task {
    #[serde(rename = "task_id")]
    id: String,
    #[serde(rename = "task_status")]
    status: Option<String>,
    error_message: Option<String>,
}

impl ReportClient {
    pub(super) fn new(args: &ClientArgs) -> Result<Self, Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
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

    /// Sends GET to the service's root; any response shows that it is reachable.
    pub(super) async fn check_reachable(&self) -> Result<(), Error> {
        let request = self.client.get(&self.url).timeout(CONNECT_TIMEOUT);
        let response = request.send().await;
        response
            .map(drop)
            .map_err(|error| Error::Unreachable(self.url.clone(), root_cause(&error)))
    }

    /// Requests a report, and retries until it is received or its timeout is over.
    pub(super) async fn fetch(self: Arc<Self>, index: u64) -> FinishedReport {
        let correlation_id = format!("{}-{index}", self.run.simple());
        let start = Instant::now();
        let mut fetch = ReportFetch {
            client: &self,
            deadline: start + self.timeout,
            retries: 0,
        };
        let outcome = match fetch.report(&correlation_id).await {
            Ok(report) => Outcome::Report(report),
            Err(outcome) => outcome,
        };
        FinishedReport {
            correlation_id,
            latency: start.elapsed(),
            retries: fetch.retries,
            outcome,
        }
    }
}

/// The requests for one report.
struct ReportFetch<'a> {
    client: &'a ReportClient,
    deadline: Instant,
    retries: u64,
}

impl ReportFetch<'_> {
    async fn report(&mut self, correlation_id: &str) -> Result<Box<RawValue>, Outcome> {
        let ReportClient {
            client,
            url,
            phones,
            ..
        } = self.client;
        let body = json!({ "numbers": phones, "correlation_id": correlation_id });
        // So that a retry makes no second task, if the service supports it.
        let key = Uuid::new_v4().to_string();
        let post = client
            .post(format!("{url}/api/v1/report"))
            .header("Idempotency-Key", key)
            .json(&body);
        let task = self.send(&post, "the request").await.map_err(failed)?;
        let id = parsed::<Task>(&task)?.id;
        self.wait_until_completed(&id).await?;
        let report = client.get(format!("{url}/api/v1/report/{id}"));
        self.send(&report, "the report")
            .await
            .map_err(|error| match error.status {
                Some(StatusCode::NOT_FOUND | StatusCode::CONFLICT) => {
                    Outcome::Contradiction(format!("task {id} is completed, and {}", error.message))
                }
                _ => failed(error),
            })
    }

    /// Polls a task until it is completed.
    async fn wait_until_completed(&mut self, id: &str) -> Result<(), Outcome> {
        let ReportClient { client, url, .. } = self.client;
        loop {
            let now = Instant::now();
            // A service that holds the request takes longer than this, and is polled again at once.
            let next = now + POLL_INTERVAL;
            let remaining = self
                .deadline
                .saturating_duration_since(now + RESPONSE_MARGIN);
            let wait = remaining.min(MAX_WAIT).as_secs();
            let request = client
                .get(format!("{url}/api/v1/tasks/{id}"))
                .header("Prefer", format!("wait={wait}"));
            let task = self.send(&request, "the task").await.map_err(failed)?;
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

    /// Sends a request. Retries transient failures until the timeout of the report is over.
    async fn send(
        &mut self,
        request: &RequestBuilder,
        what: &str,
    ) -> Result<Box<RawValue>, RequestError> {
        loop {
            let next = Instant::now() + POLL_INTERVAL;
            let request = request.try_clone().expect("its body is in memory");
            let error = match timeout_at(self.deadline, send(request, what)).await {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(error)) => error,
                Err(_elapsed) => {
                    return Err(RequestError::without_status(what, "no answer in time"));
                }
            };
            if !error.is_transient() || next >= self.deadline {
                return Err(error);
            }
            sleep_until(next).await;
            self.retries += 1;
        }
    }
}

/// Why a request did not succeed.
struct RequestError {
    /// None if there was no response.
    status: Option<StatusCode>,
    message: String,
}

impl RequestError {
    fn without_status(what: &str, reason: &str) -> Self {
        Self {
            status: None,
            message: format!("{what}: {reason}"),
        }
    }

    /// Whether a retry may succeed.
    fn is_transient(&self) -> bool {
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

fn failed(error: RequestError) -> Outcome {
    Outcome::Failed(error.message)
}

async fn send(request: RequestBuilder, what: &str) -> Result<Box<RawValue>, RequestError> {
    let no_response =
        |error: reqwest::Error| RequestError::without_status(what, &root_cause(&error));
    let response = request.send().await.map_err(no_response)?;
    let status = response.status();
    let body = response.bytes().await.map_err(no_response)?;
    let error = |reason: &str| RequestError {
        status: Some(status),
        message: format!("{what} was answered with {status}: {reason}"),
    };
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|invalid| error(&invalid.to_string()));
    }
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    Err(error(&describe_problem(&problem)))
}

/// The detail and the first faults of a problem document, as text.
fn describe_problem(problem: &Value) -> String {
    let mut text = problem["detail"].as_str().unwrap_or_default().to_owned();
    let faults = problem["faults"].as_array().map_or(&[][..], Vec::as_slice);
    for fault in faults.iter().take(MAX_FAULTS) {
        let _ = write!(text, "\n    {fault}");
    }
    if faults.len() > MAX_FAULTS {
        let _ = write!(text, "\n    and {} more", faults.len() - MAX_FAULTS);
    }
    text
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Result<T, Outcome> {
    serde_json::from_str(text.get())
        .map_err(|error| Outcome::Contradiction(format!("this is no task: {error}: {text}")))
}

/// The innermost cause of an error; the outer ones say only that a request failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
