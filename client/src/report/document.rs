//! Renders the results as JSON. The schema is generated from these types. The names of fields contain their units.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ThresholdOutcome;
use crate::stats::Figures;
use crate::verify::{Check, Coverage, Judgement, Verdict};

/// The version of the schema. It changes if a field is added, removed or changes its meaning, because a reader rejects unknown
/// fields.
pub(crate) const SCHEMA_VERSION: u32 = 2;

/// The results of `client` with `--output-format json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// The version of the schema, which changes if a field comes, goes or means something else.
    pub(crate) schema_version: u32,
    /// The program and its version.
    pub(crate) program: String,
    pub(crate) verdict: Verdict,
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
    /// The requests that each of these is about, as indices in the history.
    #[serde(skip)]
    pub(crate) ops: Vec<Vec<u32>>,
}

impl Document {
    /// Combines the judgement, which is absent with `--no-check`, with the results of the run, which are absent if only a history
    /// was judged.
    pub(crate) fn new(
        judgement: Option<Judgement>,
        settings: Option<Settings>,
        figures: Option<Figures>,
        thresholds: Vec<ThresholdOutcome>,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            program: concat!("client ", env!("CARGO_PKG_VERSION")).to_owned(),
            verdict: judgement
                .as_ref()
                .map_or(Verdict::NotJudged, |judgement| judgement.verdict),
            settings,
            figures,
            checks: judgement.as_ref().map(checks).unwrap_or_default(),
            coverage: judgement.map(|judgement| judgement.coverage),
            thresholds,
        }
    }

    /// Returns whether a signal interrupted the run.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.figures
            .as_ref()
            .is_some_and(|figures| figures.interrupted)
    }

    /// Returns the verdict on a run without a violation, in words.
    pub(super) fn valid_verdict(&self) -> &'static str {
        if self.is_interrupted() {
            "valid so far"
        } else {
            "valid"
        }
    }

    /// Returns the checks that found violations.
    pub(super) fn violated_checks(&self) -> impl Iterator<Item = &CheckResult> {
        self.checks.iter().filter(|check| check.violations > 0)
    }
}

/// Renders the results as JSON.
pub(crate) fn render(document: &Document) -> String {
    let mut json = serde_json::to_string_pretty(document).expect("no map in it has odd keys");
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

fn checks(judgement: &Judgement) -> Vec<CheckResult> {
    let result = |check: &Check| {
        let found = judgement.violations.get(check);
        let worst = found.map_or(&[][..], |violations| &violations.worst);
        let (code, name) = check.label();
        CheckResult {
            code: code.to_owned(),
            name: name.to_owned(),
            promise: check.meaning().to_owned(),
            violations: found.map_or(0, |violations| violations.count),
            examples: worst.iter().map(|one| one.explanation.clone()).collect(),
            ops: worst.iter().map(|one| one.ops.clone()).collect(),
        }
    };
    Check::all().iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, update the schema, on which others rely: `client schema > client/schema/results.json`.
    #[test]
    fn the_schema_in_the_repository_is_the_one_of_the_types() {
        assert_eq!(schema(), include_str!("../../schema/results.json"));
    }
}
