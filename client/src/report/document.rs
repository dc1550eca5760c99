//! Reports the results as JSON, whose schema is made from these types. Units stand in the names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Results, Run, ThresholdOutcome};
use crate::stats::{Group, Latency, to_float};
use crate::verify::{Check, Coverage, Judgement, Verdict};

/// The version of the schema. It changes if a field comes, goes or means something else: a reader refuses a field that
/// it does not know.
pub(crate) const SCHEMA_VERSION: u32 = 2;

/// The results of `client` with `--output-format json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// The version of the schema, which changes if a field comes, goes or means something else.
    pub(crate) schema_version: u32,
    /// The program and its version.
    pub(crate) program: String,
    pub(crate) verdict: VerdictWord,
    /// The settings of the run; absent where only a history was judged.
    pub(crate) settings: Option<Settings>,
    /// The figures of the run; absent where only a history was judged.
    pub(crate) figures: Option<Figures>,
    /// Every check, in order; empty with `--no-check`.
    pub(crate) checks: Vec<CheckResult>,
    /// The evidence that the verdict rests on; absent with `--no-check`.
    pub(crate) coverage: Option<Coverage>,
    pub(crate) thresholds: Vec<ThresholdOutcome>,
}

/// The verdict of the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VerdictWord {
    /// Every promise that could be judged was kept.
    Valid,
    /// A promise is broken.
    Invalid,
    /// Nothing could be judged.
    Unknown,
    /// The run was not judged, because of `--no-check`.
    NotJudged,
}

/// The settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) urls: Vec<String>,
    pub(crate) users: Vec<String>,
    pub(crate) concurrency: u32,
    /// The requests of each coroutine; absent in a timed run.
    pub(crate) requests: Option<u32>,
    /// The duration; absent in a counted run.
    pub(crate) duration_ms: Option<f64>,
    /// The requests a second; absent in a closed loop.
    pub(crate) rate: Option<f64>,
    /// The requests of each coroutine before the measured ones.
    pub(crate) warmup: u32,
    /// The length of each text in characters; absent if texts were a few words each.
    pub(crate) text_length: Option<usize>,
    pub(crate) retries: u8,
    pub(crate) timeout_ms: f64,
    pub(crate) connect_timeout_ms: f64,
    /// The seed, at most 2^53 - 1, so that a reader that keeps numbers as doubles knows it exactly; older runs may have
    /// drawn a greater one.
    pub(crate) seed: u64,
    /// The beginning of each text of this run.
    pub(crate) tag: String,
    pub(crate) shared: bool,
    pub(crate) checked: bool,
}

/// The figures of a run.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    pub(crate) interrupted: bool,
    pub(crate) total_time_ms: f64,
    pub(crate) throughput_per_second: f64,
    /// The total time divided by the number of requests, which is not a latency.
    pub(crate) wall_time_per_request_ms: f64,
    /// How many requests were under way on average.
    pub(crate) under_way: f64,
    pub(crate) client_cpu_ms: f64,
    pub(crate) total: Group,
    /// The figures of each replica, in the order of the URLs. A request that was sent more than once counts for the
    /// replica asked last, with the time of all its attempts.
    pub(crate) replicas: Vec<Group>,
    /// How many requests were sent more than once.
    pub(crate) repeated: u64,
    /// How many requests failed or are of unknown outcome, by kind, in plain words.
    pub(crate) errors: Vec<ErrorCount>,
    /// The latencies of the requests that failed or are of unknown outcome.
    pub(crate) failed_latency: Option<Latency>,
}

/// The number of requests that ended alike.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorCount {
    pub(crate) kind: String,
    pub(crate) count: u64,
}

/// The result of one check.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckResult {
    /// The code of the check, short and fixed.
    pub(crate) code: String,
    pub(crate) name: String,
    /// The promise that holds if there is no violation.
    pub(crate) promise: String,
    pub(crate) violations: u64,
    /// The worst few violations, each a contradiction in words.
    pub(crate) examples: Vec<String>,
}

/// Renders the results as JSON.
pub(crate) fn render(results: &Results<'_>) -> String {
    let mut json =
        serde_json::to_string_pretty(&document(results)).expect("no map in it has odd keys");
    json.push('\n');
    json
}

/// Renders the schema of [`Document`].
pub(crate) fn schema() -> String {
    let mut schema = serde_json::to_string_pretty(&schemars::schema_for!(Document))
        .expect("a schema is plain JSON");
    schema.push('\n');
    schema
}

fn document(results: &Results<'_>) -> Document {
    let verdict = match results.judgement.map(|judgement| judgement.verdict) {
        Some(Verdict::Valid) => VerdictWord::Valid,
        Some(Verdict::Invalid) => VerdictWord::Invalid,
        Some(Verdict::Unknown) => VerdictWord::Unknown,
        None => VerdictWord::NotJudged,
    };
    Document {
        schema_version: SCHEMA_VERSION,
        program: concat!("client ", env!("CARGO_PKG_VERSION")).to_owned(),
        verdict,
        settings: results.run.as_ref().map(|run| run.settings.clone()),
        figures: results.run.as_ref().map(figures),
        checks: results.judgement.map(checks).unwrap_or_default(),
        coverage: results
            .judgement
            .map(|judgement| judgement.coverage.clone()),
        thresholds: results.thresholds.clone(),
    }
}

fn figures(run: &Run<'_>) -> Figures {
    let stats = run.stats;
    let wall_ms = stats.wall.as_secs_f64() * 1000.0;
    Figures {
        interrupted: run.interrupted,
        total_time_ms: wall_ms,
        throughput_per_second: stats.throughput(),
        wall_time_per_request_ms: wall_ms / to_float(stats.total.sent.max(1)),
        under_way: stats.under_way(),
        client_cpu_ms: stats.cpu.as_secs_f64() * 1000.0,
        total: stats.total.clone(),
        replicas: stats.replicas.clone(),
        repeated: stats.repeated,
        errors: stats
            .kinds
            .iter()
            .map(|(reason, count)| ErrorCount {
                kind: reason.to_string(),
                count: *count,
            })
            .collect(),
        failed_latency: stats.failed_latency.clone(),
    }
}

fn checks(judgement: &Judgement) -> Vec<CheckResult> {
    let result = |check: &Check| {
        let found = judgement.violations.get(check);
        CheckResult {
            code: check.code().to_owned(),
            name: check.name().to_owned(),
            promise: check.meaning().to_owned(),
            violations: found.map_or(0, |violations| violations.count),
            examples: found
                .into_iter()
                .flat_map(|violations| &violations.worst)
                .map(|contradiction| contradiction.explanation.clone())
                .collect(),
        }
    };
    Check::all().iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever changes the types changes the schema that others rely on: `client schema > client/schema/results.json`.
    #[test]
    fn the_schema_in_the_repository_is_the_one_of_the_types() {
        assert_eq!(schema(), include_str!("../../schema/results.json"));
    }
}
