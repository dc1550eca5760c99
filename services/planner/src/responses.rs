//! Error responses that endpoints share, for the contracts.
#![expect(dead_code, reason = "only the contracts are derived from these")]

use foundation_docs::ProblemDocument;
use utoipa::IntoResponses;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::SecurityScheme;

/// Responses of endpoints that use the database.
#[derive(IntoResponses)]
pub(crate) enum WithDatabase {
    /// It cannot be done now. Nothing was done. Try again later.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemDocument),
}

/// Responses of endpoints that take a token.
#[derive(IntoResponses)]
pub(crate) enum WithToken {
    /// There is no token, or it is not accepted. Log in.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(ProblemDocument),
}

/// Responses of endpoints that only some users may call.
#[derive(IntoResponses)]
pub(crate) enum WithPermission {
    /// The caller is not allowed to do this.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemDocument),
}

/// Responses of endpoints with an id in the path.
#[derive(IntoResponses)]
pub(crate) enum WithPath {
    /// The path is not UTF-8.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// There is nothing with this id.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemDocument),
}

/// Responses of endpoints with query parameters.
#[derive(IntoResponses)]
pub(crate) enum WithQuery {
    /// A parameter is unknown, given twice, or not a number although it has to be one.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// A parameter is outside its limits.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(ProblemDocument),
}

/// Responses of endpoints with a request body.
#[derive(IntoResponses)]
pub(crate) enum WithBody {
    /// The body does not match the schema.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The `Content-Type` is not supported.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(ProblemDocument),
    /// A field is outside its limits.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(ProblemDocument),
}

/// Responses of endpoints that write.
#[derive(IntoResponses)]
pub(crate) enum WithWrite {
    /// It is unknown whether this was done. The detail says what to do.
    #[response(status = 504, content_type = "application/problem+json")]
    OutcomeUnknown(ProblemDocument),
}

/// A service's contract in JSON, with the security scheme `name`.
pub(crate) fn contract(mut service: OpenApi, name: &str, scheme: SecurityScheme) -> String {
    let components = service.components.get_or_insert_default();
    components.add_security_scheme(name, scheme);
    foundation_docs::complete(service)
}
