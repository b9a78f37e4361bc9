//! `/uploads`

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::ids::UploadId;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, ErrorCode, Json, Path, Problem, Query};
use crate::features::uploads::bodies::UploadQuery;
use crate::features::uploads::error::UploadsError;
use crate::features::uploads::headers::{self, Asked};
use crate::features::uploads::kinds::Kind;
use crate::features::uploads::model::{Offer, Upload};
use crate::features::uploads::names;
use crate::features::uploads::service::Service;
use crate::features::uploads::views::{File, UploadView, hex};

/// What receives files: its requests may be longer, and take longer, than others.
pub fn receiving_routes(service: Arc<Service>) -> OpenApiRouter {
    receiving().with_state(service).layer(DefaultBodyLimit::disable())
}

/// Every other route of this feature.
pub fn routes(service: Arc<Service>) -> OpenApiRouter {
    all().with_state(service)
}

/// What the routes are, for the API document.
pub fn openapi() -> OpenApi {
    let mut document = receiving().into_openapi();
    document.merge(all().into_openapi());
    document
}

fn receiving() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(receive))
}

fn all() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(show, delete))
}

/// Keeps a file, for a message that is still to be written: the body is the file. It is deleted after a day, unless a
/// message has it (`attachments`). How large it may be, of which of these types, and how much one person may keep, the
/// settings say; the file has to begin as its type does.
#[utoipa::path(
    post, path = "/uploads", tag = "uploads", operation_id = "upload", params(UploadQuery),
    request_body(content(
        (File = "image/png"), (File = "image/jpeg"), (File = "image/gif"), (File = "image/webp"),
        (File = "application/pdf"), (File = "video/mp4"), (File = "video/webm"), (File = "audio/mpeg"),
        (File = "audio/ogg"), (File = "text/plain"),
    )),
    responses(
        (status = 201, body = UploadView),
        (status = 400, description = "incomplete_file: it did not arrive as a whole; bad_parameter", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "request_timeout: it took too long to arrive", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "quota_exceeded: delete some, or messages that have some", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "body_too_large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "unsupported_file: not of a type that is taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "type_mismatch: not what `Content-Type` says; invalid_body: empty", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "uploads_disabled; overloaded, unavailable: later", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn receive(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<UploadView>), Problem> {
    let kind = service.kind(headers::content_type(&headers).as_deref())?;
    let offer =
        Offer { name: names::shown(&query.name()?, kind), kind, bytes: headers::content_length(&headers) };
    let upload = service.receive(caller.user, offer, body).await?;
    Ok((StatusCode::CREATED, Json(upload.into())))
}

/// A file of a message that I may read, or one of mine that no message has yet. Always to be saved, never to be shown: what
/// people upload is not ours to run.
#[utoipa::path(
    get, path = "/uploads/{id}", tag = "uploads", operation_id = "download", params(
        ("id" = UploadId, Path),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what the client has"),
    ),
    responses(
        (status = 200, description = "All of it", body = File, content_type = "*/*"),
        (status = 206, description = "The part that was asked for", body = File, content_type = "*/*"),
        (status = 304, description = "The client has it"),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found: also once its message was deleted", body = ProblemBody, content_type = "application/problem+json"),
        (status = 416, description = "range_not_satisfiable", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited: too many at once", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<UploadId>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let upload = service.find(caller.user, id).await?;
    let etag = format!("\"{}\"", hex(&upload.sha256));
    let (status, bytes) = match headers::asked(&headers, &etag, upload.bytes) {
        Asked::Whole => (StatusCode::OK, 0..upload.bytes),
        Asked::Part(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
        Asked::Nothing => (StatusCode::NOT_MODIFIED, 0..0),
        Asked::Beyond => {
            let mut response = Problem::from(ErrorCode::RangeNotSatisfiable).into_response();
            response.headers_mut().insert(CONTENT_RANGE, ascii(&format!("bytes */{}", upload.bytes)));
            return Ok(response);
        }
    };
    let body = if method == Method::HEAD || bytes.is_empty() {
        Body::empty()
    } else {
        service.read(caller.user, &upload, bytes.clone()).await?
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(ETAG, ascii(&etag));
    // Kept by the one client alone, and asked for each time: who was taken out reads nothing any more.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if status != StatusCode::NOT_MODIFIED {
        describe(headers, &upload, bytes.end - bytes.start);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{}", bytes.start, bytes.end - 1, upload.bytes);
        headers.insert(CONTENT_RANGE, ascii(&range));
    }
    Ok(response)
}

/// The type that was checked, and that no browser may do more with it than save it.
fn describe(headers: &mut HeaderMap, upload: &Upload, length: u64) {
    let is_text = upload.content_type.starts_with("text/");
    let content_type = format!("{}{}", upload.content_type, if is_text { "; charset=utf-8" } else { "" });
    headers.insert(CONTENT_TYPE, ascii(&content_type));
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CONTENT_DISPOSITION, ascii(&headers::disposition(&upload.name)));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

fn ascii(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("made of printable ASCII alone")
}

/// Deletes a file of mine that no message has.
#[utoipa::path(
    delete, path = "/uploads/{id}", tag = "uploads", operation_id = "delete_upload",
    params(("id" = UploadId, Path)),
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "forbidden: somebody else's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "file_attached: delete the message", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<UploadId>,
) -> Result<StatusCode, Problem> {
    service.delete(caller.user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Service {
    /// The type of that name, if files of it are taken.
    fn kind(&self, content_type: Option<&str>) -> Result<&'static Kind, UploadsError> {
        let taken = &self.config.content_types;
        let named = content_type.filter(|named| taken.iter().any(|it| it == named)).and_then(Kind::named);
        named.ok_or_else(|| {
            UploadsError::UnsupportedType(format!("Content-Type: one of {}", taken.join(", ")))
        })
    }
}
