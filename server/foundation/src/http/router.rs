//! Endpoints, and the router that finds the one for a request.

use std::collections::{BTreeMap, BTreeSet};

use super::exchange::Exchange;
use super::metrics::Label;
use super::problem::Problem;
use super::request::path_and_query;
use super::response::Response;

/// A method on a path, and its handler.
pub struct Endpoint<S: 'static> {
    label: Label,
    pub(super) handler: Handler<S>,
}

/// The function that answers a request.
pub enum Handler<S: 'static> {
    /// Runs on the thread that has read the request: the one that receives all requests, one that waited for the body, or one
    /// that wrote the response before it. So it must not block. It may keep the exchange, and answer it later, from any thread.
    /// While the server stops it is not called.
    Inline(fn(&S, Exchange)),
    /// May block on the database: runs on the query pool. While the server stops it is called for GET and HEAD only.
    Blocking(fn(&S, &Exchange) -> Result<Response, Problem>),
}

impl<S> Endpoint<S> {
    /// An endpoint for GET and HEAD. In `path`, `{name}` matches any one segment: see [`Exchange::parameter`].
    #[must_use]
    pub const fn get(path: &'static str, handler: Handler<S>) -> Self {
        Self::new("GET", path, handler)
    }

    /// An endpoint for POST.
    #[must_use]
    pub const fn post(path: &'static str, handler: Handler<S>) -> Self {
        Self::new("POST", path, handler)
    }

    /// An endpoint for PATCH.
    #[must_use]
    pub const fn patch(path: &'static str, handler: Handler<S>) -> Self {
        Self::new("PATCH", path, handler)
    }

    /// An endpoint for DELETE.
    #[must_use]
    pub const fn delete(path: &'static str, handler: Handler<S>) -> Self {
        Self::new("DELETE", path, handler)
    }

    const fn new(method: &'static str, path: &'static str, handler: Handler<S>) -> Self {
        Self {
            label: label(method, path, &[]),
            handler,
        }
    }

    /// Its method and its path, as a contract lists them.
    #[must_use]
    pub const fn operation(&self) -> (&'static str, &'static str) {
        (self.label.method, self.label.path)
    }

    /// Shows these statuses in the metrics from the start, so that their first increase is seen. Others are shown once they have
    /// occurred.
    #[must_use]
    pub const fn with_statuses(mut self, statuses: &'static [u16]) -> Self {
        self.label.statuses = statuses;
        self
    }

    /// Whether a request for it may change something (RFC 9110, section 9.2.1).
    pub(super) fn writes(&self) -> bool {
        self.label.method != "GET"
    }
}

/// Where a request goes.
pub(super) enum Target<S: 'static> {
    Health,
    Ready,
    Metrics,
    Contract,
    Service(&'static Endpoint<S>),
    /// There is no such path, or not with this method.
    Refused(Problem),
}

impl<S> Target<S> {
    /// Whether its handler may block.
    pub(super) fn blocks(&self) -> bool {
        matches!(self, Self::Service(endpoint) if matches!(endpoint.handler, Handler::Blocking(_)))
    }
}

const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";
const METRICS: &str = "/metrics";
const CONTRACT: &str = "/openapi.json";

/// The last is for requests that match no endpoint.
const OF_EACH_SERVER: [Label; 5] = [
    label("GET", HEALTH, &[200, 503]),
    label("GET", READY, &[200, 503]),
    label("GET", METRICS, &[200]),
    label("GET", CONTRACT, &[200]),
    label("other", "other", &[404, 405]),
];

const fn label(method: &'static str, path: &'static str, statuses: &'static [u16]) -> Label {
    Label {
        method,
        path,
        statuses,
    }
}

/// A label for each method on each path; the last is for requests that match no endpoint.
pub(super) fn labels<S>(endpoints: &[Endpoint<S>]) -> Vec<Label> {
    let of_service = endpoints.iter().map(|endpoint| endpoint.label);
    of_service.chain(OF_EACH_SERVER).collect()
}

/// Finds the endpoint of a request.
pub(super) struct Router<S: 'static> {
    /// For each path, the labels of its methods.
    paths: matchit::Router<Vec<usize>>,
    endpoints: &'static [Endpoint<S>],
    /// As [`labels`] gives them.
    labels: Vec<Label>,
    nothing_here: String,
}

impl<S> Router<S> {
    /// A router of the service's endpoints and of those that each server has.
    ///
    /// # Panics
    /// If a path is not a valid pattern, or two conflict: they are constants of the program.
    pub(super) fn new(endpoints: &'static [Endpoint<S>]) -> Self {
        let labels = labels(endpoints);
        let mut of_path: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (index, label) in labels[..labels.len() - 1].iter().enumerate() {
            of_path.entry(label.path).or_default().push(index);
        }
        let mut paths = matchit::Router::new();
        for (path, labels) in of_path {
            paths
                .insert(path, labels)
                .expect("paths are constants that do not exclude each other");
        }
        // A service without endpoints shows those of each server.
        let last = if endpoints.is_empty() {
            labels.len() - 1
        } else {
            endpoints.len()
        };
        let shown: BTreeSet<_> = labels[..last].iter().map(|label| label.path).collect();
        let shown: Vec<_> = shown.into_iter().collect();
        Self {
            paths,
            endpoints,
            labels,
            nothing_here: format!("There is nothing at this path. Try {}.", shown.join(", ")),
        }
    }

    /// Finds the handler of `method` on `target`, which may have any form (RFC 9112, section 3.2). Returns also the index of its
    /// label in [`labels`], and the names and values of the path's parameters, not decoded.
    pub(super) fn route(
        &self,
        method: &str,
        target: &str,
    ) -> (Target<S>, usize, Vec<(String, String)>) {
        let refused = |problem| (Target::Refused(problem), self.labels.len() - 1, Vec::new());
        let Ok(found) = self.paths.at(path_and_query(target).0) else {
            return refused(Problem::new(404, self.nothing_here.clone()));
        };
        let asked = if method == "HEAD" { "GET" } else { method };
        let labels = || found.value.iter().copied();
        let Some(label) = labels().find(|&label| self.labels[label].method == asked) else {
            return refused(not_allowed(labels().map(|label| self.labels[label].method)));
        };
        let parameters = found.params.iter();
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        (self.target(label), label, parameters.collect())
    }

    fn target(&self, label: usize) -> Target<S> {
        match self.labels[label].path {
            HEALTH => Target::Health,
            READY => Target::Ready,
            METRICS => Target::Metrics,
            CONTRACT => Target::Contract,
            _ => Target::Service(&self.endpoints[label]),
        }
    }
}

fn not_allowed<'a>(methods: impl Iterator<Item = &'a str>) -> Problem {
    let methods = methods.map(|method| if method == "GET" { "GET, HEAD" } else { method });
    let mut allowed: Vec<_> = methods.collect();
    allowed.sort_unstable();
    let allowed = allowed.join(", ");
    Problem::new(405, format!("This path takes {allowed} only.")).with_header("Allow", allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINTS: &[Endpoint<()>] = &[
        Endpoint::get("/things/{id}", Handler::Inline(|(), _| ())),
        Endpoint::post("/things/{id}", Handler::Inline(|(), _| ())),
        Endpoint::post("/things", Handler::Inline(|(), _| ())),
    ];

    fn routed(method: &str, target: &str) -> (usize, Vec<(String, String)>) {
        let (_, label, parameters) = Router::new(ENDPOINTS).route(method, target);
        (label, parameters)
    }

    #[test]
    fn a_request_goes_to_its_method_on_its_path() {
        let id = |value: &str| vec![("id".to_owned(), value.to_owned())];
        for (method, target, label, parameters) in [
            ("GET", "/things/7?x=1", 0, id("7")),
            ("HEAD", "/things/a%20b", 0, id("a%20b")),
            ("POST", "/things/7", 1, id("7")),
            ("POST", "http://host/things", 2, vec![]),
            ("GET", "/healthz", 3, vec![]),
        ] {
            assert_eq!(routed(method, target), (label, parameters), "{target}");
        }
    }

    #[test]
    fn an_unknown_endpoint_is_a_problem_that_names_the_known_ones() {
        let router = Router::new(ENDPOINTS);
        for (method, target, status, expected) in [
            ("GET", "/", 404, "Try /things, /things/{id}."),
            ("GET", "/things/7/more", 404, "Try /things"),
            ("PUT", "/things/7", 405, "GET, HEAD, POST only"),
            ("GET", "/things", 405, "takes POST only"),
            ("get", "/healthz", 405, "takes GET, HEAD only"),
        ] {
            let (Target::Refused(problem), ..) = router.route(method, target) else {
                panic!("{target} is taken")
            };
            assert_eq!(problem.status(), status, "{target}");
            let shown = format!("{problem:?}");
            assert!(shown.contains(expected), "{shown}");
        }
    }
}
