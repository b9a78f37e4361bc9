//! The cookie that carries a browser's access token.
//!
//! `HttpOnly`: no script reads it. `SameSite=Lax`: no other site's form sends it; what else a foreign page
//! might send is refused by its `Origin` (see `edge::auth`).

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, SET_COOKIE};

use crate::edge::auth::SESSION_COOKIE;
use crate::features::accounts::model::Opened;
use crate::features::accounts::views::TokensView;

use crate::edge::http::Json;

/// New tokens in the body, the access token in the cookie too. Not to be stored by any cache (RFC 6749 §5.1).
pub fn tokens(opened: Opened, is_secure: bool) -> Response {
    let cookie = cookie(&opened.access_token, opened.expires_in, is_secure);
    let headers = [(SET_COOKIE, cookie), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (headers, Json(TokensView::from(opened))).into_response()
}

/// The header that makes a browser forget the cookie.
pub fn cleared(is_secure: bool) -> HeaderValue {
    cookie("", 0, is_secure)
}

fn cookie(value: &str, max_age_seconds: u64, is_secure: bool) -> HeaderValue {
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!(
        "{SESSION_COOKIE}={value}; HttpOnly; Path=/; SameSite=Lax; Max-Age={max_age_seconds}{secure}"
    );
    HeaderValue::try_from(text).expect("a JWT is base64url and dots")
}
