//! What requests are answered with beside their success, for the contracts.
#![expect(dead_code, reason = "only the contracts are derived from these")]

use foundation_docs::ProblemDocument;
use utoipa::IntoResponses;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::SecurityScheme;

/// Answers to whatever asks the database.
#[derive(IntoResponses)]
pub(crate) enum WithDatabase {
    /// It cannot be done now, and nothing was done. Try again later.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemDocument),
}

/// Answers to whatever takes a token.
#[derive(IntoResponses)]
pub(crate) enum WithToken {
    /// There is no token, or it is not taken. Log in.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(ProblemDocument),
}

/// Answers to whatever is the right of some.
#[derive(IntoResponses)]
pub(crate) enum WithPermission {
    /// It is the right of others.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemDocument),
}

/// Answers to whatever names a thing in its path.
#[derive(IntoResponses)]
pub(crate) enum WithPath {
    /// The path is not UTF-8.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// There is no such thing.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemDocument),
}

/// Answers to whatever has a query.
#[derive(IntoResponses)]
pub(crate) enum WithQuery {
    /// A parameter is unknown, given twice, or no number where one is asked for.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// A parameter is outside its limits.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(ProblemDocument),
}

/// Answers to whatever has a body.
#[derive(IntoResponses)]
pub(crate) enum WithBody {
    /// The body is not of this form.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The body is declared to be something else.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(ProblemDocument),
    /// A field is outside its limits.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(ProblemDocument),
}

/// Answers to whatever changes something.
#[derive(IntoResponses)]
pub(crate) enum WithWrite {
    /// It is not known whether it was done. The text says what to do.
    #[response(status = 504, content_type = "application/problem+json")]
    OutcomeUnknown(ProblemDocument),
}

/// A service's contract in JSON, with what its callers are known by.
pub(crate) fn contract(mut service: OpenApi, name: &str, scheme: SecurityScheme) -> String {
    let components = service.components.get_or_insert_default();
    components.add_security_scheme(name, scheme);
    foundation_docs::complete(service)
}
