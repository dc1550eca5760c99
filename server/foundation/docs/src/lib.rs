//! The contract of a service: `utoipa` derives it from the types, and Swagger UI, whose files are in the program, shows it.
//!
//! A service adds [`page()`] and [`file()`] to its endpoints, and returns as its contract the result of [`complete`] for its paths.

use std::sync::{Arc, LazyLock};

use foundation::http::{Exchange, Problem, Response};
use utoipa::openapi::{OpenApi, Server};
use utoipa::{OpenApi as _, ToSchema};
use utoipa_swagger_ui::Config;

/// Why a request failed (RFC 9457), for the contract.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "only the contract is derived from it")]
pub struct ProblemDocument {
    /// `about:blank`
    r#type: String,
    /// The reason phrase of the status.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What to change.
    detail: String,
    /// If the cause lies with the server: the id by which its operator finds it in the log.
    instance: Option<String>,
}

/// The endpoints that each server has beside its own.
#[derive(utoipa::OpenApi)]
#[openapi(
    paths(health, ready, metrics, page, file),
    components(schemas(ProblemDocument))
)]
struct CommonEndpoints;

/// Whether the process is up.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "It is up.")))]
#[expect(dead_code, reason = "only the contract is derived from it")]
fn health() {}

/// Whether the service can do its work: its database takes writes.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses(
        (status = 200, description = "It is ready."),
        (status = 503, description = "It is not ready now.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
#[expect(dead_code, reason = "only the contract is derived from it")]
fn ready() {}

/// Metrics, in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses((status = 200, description = "All metrics.", body = String, content_type = "text/plain"))
)]
#[expect(dead_code, reason = "only the contract is derived from it")]
fn metrics() {}

/// The contract in JSON: these paths, and those that each server has.
///
/// # Panics
/// If a type of the contract cannot be serialized to JSON; all of them can.
#[must_use]
pub fn complete(mut service: OpenApi) -> String {
    service.merge(CommonEndpoints::openapi());
    service.servers = Some(vec![Server::new("/")]);
    service
        .to_json()
        .expect("types of a contract can be serialized")
}

/// Redirects to a page that shows this contract.
#[utoipa::path(get, path = "/docs", operation_id = "contract_page", tag = "operation", responses((status = 303, description = "The page is at `Location`.")))]
pub fn page<S>(_service: &S, exchange: Exchange) {
    exchange.answer(Response::empty(303).with_header("Location", "/docs/index.html"));
}

/// Returns a file of the page.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "page_file",
    tag = "operation",
    params(("file" = String, Path, description = "Its name.")),
    responses(
        (status = 200, description = "The file."),
        (status = 400, description = "The name is not UTF-8.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such file.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub fn file<S>(_service: &S, exchange: Exchange) {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(config()));
    let nothing = || Problem::new(404, "There is no such file. Try /docs.");
    let found = exchange.parameter("file").and_then(|name| {
        let found = utoipa_swagger_ui::serve(&name, Arc::clone(&CONFIG));
        found.ok().flatten().ok_or_else(nothing)
    });
    exchange.answer(found.map(|file| Response::bytes(file.content_type, file.bytes)));
}

/// The page sends requests to this server only.
fn config() -> Config<'static> {
    Config::from("/openapi.json").validator_url("none")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Returns the time.
    #[utoipa::path(get, path = "/now", responses((status = 404, body = ProblemDocument)))]
    #[expect(dead_code, reason = "only the contract is derived from it")]
    fn now() {}

    #[derive(utoipa::OpenApi)]
    #[openapi(paths(now))]
    struct Clock;

    #[test]
    fn a_contract_has_the_paths_of_the_service_and_the_common_ones() {
        let contract: Value =
            serde_json::from_str(&complete(Clock::openapi())).expect("it is JSON");
        let paths = contract["paths"].as_object().expect("they are an object");
        let paths: Vec<_> = paths.keys().collect();
        let expected = [
            "/docs",
            "/docs/{file}",
            "/healthz",
            "/metrics",
            "/now",
            "/readyz",
        ];
        assert_eq!(paths, expected);
        assert!(contract["components"]["schemas"]["Problem"].is_object());
    }

    #[test]
    fn the_files_of_the_page_are_in_the_program() {
        let config = Arc::new(config());
        for (file, content) in [
            ("index.html", "swagger-ui-bundle.js"),
            ("swagger-ui-bundle.js", "function"),
            ("swagger-initializer.js", "/openapi.json"),
            // Otherwise the browser that shows the page sends requests to validator.swagger.io.
            ("swagger-initializer.js", "\"validatorUrl\": \"none\""),
        ] {
            let found = utoipa_swagger_ui::serve(file, Arc::clone(&config)).expect("it is UTF-8");
            let found = found.expect("it is there").bytes;
            assert!(String::from_utf8_lossy(&found).contains(content), "{file}");
        }
    }
}
