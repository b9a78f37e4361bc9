//! The HTTP API: one `OpenAPI` 3.1 document, made from the routes that are served.

use http::StatusCode;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder, Schema};

use crate::edge::auth::SESSION_COOKIE;
use crate::edge::http::ErrorCode;
use crate::edge::http::problem::ProblemBody;
use crate::edge::ops;
use crate::features;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fanlight",
        description = "A WebSocket cluster that never silently loses a committed event. What is said on the socket, and \
            what is pushed, is an AsyncAPI document at `/asyncapi.json`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "This server"), (url = "/api/v1", description = "The same, with a prefix")),
    security(("bearer" = []), ("cookie" = [])),
    components(schemas(ProblemBody)),
    modifiers(&Credentials)
)]
struct Document;

/// The two ways to show an access token.
struct Credentials;

impl utoipa::Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let cookie = ApiKey::Cookie(ApiKeyValue::new(SESSION_COOKIE));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
    }
}

/// The whole document. Asks nothing of any part, so that it can be printed without a configuration.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut routes = features::openapi();
    routes.merge(ops::openapi());
    complete(routes)
}

/// What the routes say of themselves, with what is true of all of them.
#[must_use]
pub fn complete(routes: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.merge(routes);
    for item in document.paths.paths.values_mut() {
        let methods = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in methods.into_iter().flatten() {
            add_common_answers(operation);
            describe_answers(operation);
        }
    }
    name_all_errors(&mut document);
    document
}

/// The table of errors is not a type; what `error` may be is all of it.
fn name_all_errors(document: &mut utoipa::openapi::OpenApi) {
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    let problem = schemas.and_then(|schemas| schemas.get_mut("Problem"));
    let Some(RefOr::T(Schema::Object(problem))) = problem else { return };
    if let Some(RefOr::T(Schema::Object(error))) = problem.properties.get_mut("error") {
        error.enum_values = Some(ErrorCode::ALL.iter().map(|code| code.as_str().into()).collect());
    }
}

/// What every operation may answer, so that each states only what is its own.
fn add_common_answers(operation: &mut Operation) {
    let needs_token = operation.security.is_none();
    let takes_body = operation.request_body.is_some();
    let common: [(bool, &[ErrorCode]); 3] = [
        (true, &[ErrorCode::Unavailable]),
        (needs_token, &[ErrorCode::Unauthenticated, ErrorCode::ForeignOrigin]),
        (
            takes_body,
            &[
                ErrorCode::MalformedBody,
                ErrorCode::BodyTooLarge,
                ErrorCode::UnsupportedMediaType,
                ErrorCode::InvalidBody,
            ],
        ),
    ];
    for code in common.into_iter().filter(|(applies, _)| *applies).flat_map(|(_, codes)| codes) {
        let answers = &mut operation.responses.responses;
        answers.entry(code.status().as_str().to_owned()).or_insert_with(|| RefOr::T(problem(*code)));
    }
}

/// The specification wants a description of every answer; the status' own name says enough of a plain one.
fn describe_answers(operation: &mut Operation) {
    for (status, answer) in &mut operation.responses.responses {
        let RefOr::T(answer) = answer else { continue };
        if answer.description.is_empty() {
            let name = status.parse().ok().and_then(|status: StatusCode| status.canonical_reason());
            name.unwrap_or("An answer").clone_into(&mut answer.description);
        }
    }
}

fn problem(code: ErrorCode) -> Response {
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new().description(code.as_str()).content("application/problem+json", content).build()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own_and_a_tag() {
        let document = serde_json::to_value(document()).unwrap();
        let mut names = HashSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap().to_owned();
                assert!(names.insert(name.clone()), "{method} {path}: `{name}` is taken; set operation_id");
                assert!(operation["tags"][0].is_string(), "{method} {path}");
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    assert!(answer["description"].is_string(), "{method} {path} {status}");
                }
            }
        }
        assert!(names.len() > 20);
    }

    #[test]
    fn every_error_is_named() {
        let document = serde_json::to_value(document()).unwrap();
        let named = document.pointer("/components/schemas/Problem/properties/error/enum").unwrap();
        assert_eq!(named.as_array().unwrap().len(), ErrorCode::ALL.len());
    }

    #[test]
    fn what_it_refers_to_is_there() {
        let text = document().to_json().unwrap();
        let document = serde_json::to_value(document()).unwrap();
        let references = text.split("\"#/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        for reference in references {
            assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference}");
        }
        for scheme in ["bearer", "cookie"] {
            assert!(document["components"]["securitySchemes"][scheme].is_object(), "{scheme}");
        }
    }
}
