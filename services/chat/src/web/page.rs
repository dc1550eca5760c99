//! The page, served from memory, and the contract of the HTTP endpoints.

use std::sync::LazyLock;

use foundation::http::{Exchange, Problem, Response};
use foundation_docs::ProblemDocument;
use sha2::{Digest, Sha256};
use utoipa::OpenApi;

use super::Web;

/// Allows scripts, styles and connections of this server only, and no frames around the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Names, media types and bytes.
const FILES: [(&str, &str, &[u8]); 3] = [
    (
        "chat",
        "text/html; charset=utf-8",
        include_bytes!("../../page/chat.html"),
    ),
    (
        "chat.css",
        "text/css; charset=utf-8",
        include_bytes!("../../page/chat.css"),
    ),
    (
        "chat.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../page/chat.js"),
    ),
];

/// `GET /`: redirects to the page.
#[utoipa::path(
    get,
    path = "/",
    tag = "chat",
    responses((status = 303, description = "The page is at /pages/chat."))
)]
pub(super) fn lead(_web: &Web, exchange: Exchange) {
    exchange.answer(Response::empty(303).with_header("Location", "/pages/chat"));
}

/// `GET /pages/{file}`: the page, its style sheet or its script.
#[utoipa::path(
    get,
    path = "/pages/{file}",
    tag = "chat",
    params(("file" = String, Path, description = "chat, chat.css or chat.js")),
    responses(
        (status = 200, description = "The page, its style sheet or its script.", body = String, content_type = "text/html"),
        (status = 304, description = "The client has this version already, as `If-None-Match` says."),
        (status = 404, description = "There is no such file.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) fn show(_web: &Web, exchange: Exchange) {
    let nothing = || Problem::new(404, "There is no such file. Try /pages/chat.");
    let found = exchange.parameter("file").and_then(|name| {
        let file = FILES.into_iter().find(|(known, ..)| *known == name);
        file.ok_or_else(nothing)
    });
    let response = found.map(|(_, media_type, bytes)| {
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        let file_tag = format!("\"{}\"", const_hex::encode(&hash[..8]));
        let mut tags = exchange
            .headers("If-None-Match")
            .flat_map(|tags| tags.split(','));
        let is_known = tags.any(|tag| tag.trim().trim_start_matches("W/") == file_tag);
        let response = if is_known {
            Response::empty(304)
        } else {
            Response::bytes(media_type, bytes)
        };
        response
            .with_header("ETag", file_tag)
            .with_header("Cache-Control", "no-cache")
            .with_header("Content-Security-Policy", POLICY)
            .with_header("X-Content-Type-Options", "nosniff")
            .with_header("Referrer-Policy", "no-referrer")
    });
    exchange.answer(response);
}

/// Opens a socket (RFC 6455). For its frames see `services/chat/README.md`.
#[utoipa::path(
    get,
    path = "/chat/ws/{client_id}",
    tag = "chat",
    params(
        ("client_id" = u64, Path, description = "A number that the client chooses: the room sees `user #<client_id>` when it leaves."),
        ("group_name" = String, Query, description = "The room, of 1 to 64 characters."),
        ("after" = Option<u64>, Query, description = "The `seq` of the last message that the client has; without it, the client gets the last 50 messages."),
    ),
    responses(
        (status = 101, description = "The connection is a WebSocket now."),
        (status = 400, description = "The request is malformed.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "Pages of this origin may not open sockets here.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 426, description = "The request is no WebSocket upgrade, or asks for another version.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "There are too many sockets, or the server stops.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
#[expect(dead_code, reason = "only the contract is derived from it")]
fn socket() {}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Chat",
        description = "Rooms over WebSocket. This contract covers the HTTP part.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(lead, show, socket)
)]
struct Contract;

/// The contract, in JSON.
pub(super) fn contract() -> &'static str {
    static CONTRACT: LazyLock<String> =
        LazyLock::new(|| foundation_docs::complete(Contract::openapi()));
    &CONTRACT
}
