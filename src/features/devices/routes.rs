//! `/devices/fcm-token`.

use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, Utc};
use garde::Validate;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::ids::DeviceTokenId;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Locale, Path, Problem, Query};
use crate::features::devices::model::{Device, Registration};
use crate::features::devices::service::Service;
use crate::ports::push::Platform;

/// Every route of this feature.
pub fn routes(service: Arc<Service>) -> OpenApiRouter {
    all().with_state(service)
}

/// What the routes are, for the API document.
pub fn openapi() -> OpenApi {
    all().into_openapi()
}

fn all() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(register, list)).routes(routes!(remove))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Register {
    /// The app's own name for the device; registering it again replaces its token.
    #[garde(length(chars, min = 1, max = 191), custom(no_control_characters))]
    #[schema(min_length = 1, max_length = 191, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    device_id: String,
    /// The registration token that FCM gave to the app. It is never shown again.
    #[garde(length(chars, min = 1, max = 512), custom(no_control_characters))]
    #[schema(min_length = 1, max_length = 512, write_only, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    fcm_token: String,
    #[garde(skip)]
    platform: Platform,
    #[garde(length(chars, max = 64), inner(custom(no_control_characters)))]
    #[schema(max_length = 64, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    app_version: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "garde passes the context by reference")]
fn no_control_characters(text: &str, (): &()) -> garde::Result {
    if text.chars().any(char::is_control) {
        return Err(garde::Error::new("has a control character"));
    }
    Ok(())
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeviceView {
    id: DeviceTokenId,
    device_id: String,
    platform: Platform,
    #[schema(required)]
    app_version: Option<String>,
    active: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    last_registered_at: DateTime<Utc>,
    #[schema(required)]
    deactivated_at: Option<DateTime<Utc>>,
}

impl From<Device> for DeviceView {
    fn from(device: Device) -> Self {
        Self {
            id: device.id,
            device_id: device.device_id,
            platform: device.platform,
            app_version: device.app_version,
            active: device.deactivated_at.is_none(),
            created_at: device.created_at,
            updated_at: device.updated_at,
            last_registered_at: device.last_registered_at,
            deactivated_at: device.deactivated_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct RegisteredView {
    /// Whether the device is new.
    created: bool,
    token: DeviceView,
}

/// Registers this device for push; texts come in the language of `Accept-Language`.
#[utoipa::path(
    put, path = "/devices/fcm-token", tag = "devices", operation_id = "register_device", request_body = Register,
    responses(
        (status = 200, description = "The device was known already", body = RegisteredView),
        (status = 201, description = "The device is new", body = RegisteredView),
    )
)]
async fn register(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Locale(locale): Locale,
    Json(body): Json<Register>,
) -> Result<(StatusCode, Json<RegisteredView>), Problem> {
    let registration = Registration {
        user: caller.user,
        session: caller.session,
        device_id: body.device_id,
        fcm_token: body.fcm_token,
        platform: body.platform,
        app_version: body.app_version,
        locale,
    };
    let (device, created) = service.register(&registration).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(RegisteredView { created, token: device.into() })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListQuery {
    #[serde(default)]
    include_inactive: bool,
}

/// My devices, the newest registration first.
#[utoipa::path(
    get, path = "/devices/fcm-token", tag = "devices", operation_id = "list_devices",
    params(("includeInactive" = Option<bool>, Query, description = "Also those that are not active any more")),
    responses(
        (status = 200, body = Vec<DeviceView>),
        (status = 400, description = "bad_parameter", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<DeviceView>>, Problem> {
    let devices = service.list(caller.user, query.include_inactive).await?;
    Ok(Json(devices.into_iter().map(Into::into).collect()))
}

/// Takes a device back: it is not pushed to any more. The same answer whether or not it was there.
#[utoipa::path(
    delete, path = "/devices/fcm-token/{deviceId}", tag = "devices", operation_id = "remove_device",
    params(("deviceId" = String, Path)),
    responses(
        (status = 204, description = "It is not registered now"),
    )
)]
async fn remove(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(device_id): Path<String>,
) -> Result<StatusCode, Problem> {
    service.remove(caller.user, &device_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
