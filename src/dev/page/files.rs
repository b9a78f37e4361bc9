//! The files of the page, in the binary: no build step, and nothing from any other server.

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

/// Its own scripts and styles, and the sockets of this machine; nothing inline, nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self' ws://127.0.0.1:*; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($path:literal => $file:literal, $kind:ident;)*) => {
        const FILES: &[(&str, &str, &str)] = &[$(($path, include_str!($file), $kind),)*];
    };
}

files! {
    "/" => "assets/index.html", HTML;
    "/dev/style.css" => "assets/style.css", CSS;
    "/dev/main.js" => "assets/main.js", JS;
    "/dev/api.js" => "assets/api.js", JS;
    "/dev/dom.js" => "assets/dom.js", JS;
    "/dev/channel.js" => "assets/channel.js", JS;
    "/dev/phone.js" => "assets/phone.js", JS;
    "/dev/cluster.js" => "assets/cluster.js", JS;
    "/dev/charts.js" => "assets/charts.js", JS;
    "/dev/timeline.js" => "assets/timeline.js", JS;
    "/clients/js/index.js" => "../../../clients/js/index.js", JS;
    "/clients/js/attempts.js" => "../../../clients/js/attempts.js", JS;
    "/clients/js/backoff.js" => "../../../clients/js/backoff.js", JS;
    "/clients/js/closing.js" => "../../../clients/js/closing.js", JS;
    "/clients/js/commands.js" => "../../../clients/js/commands.js", JS;
    "/clients/js/handlers.js" => "../../../clients/js/handlers.js", JS;
    "/clients/js/history.js" => "../../../clients/js/history.js", JS;
    "/clients/js/outbox.js" => "../../../clients/js/outbox.js", JS;
    "/clients/js/position.js" => "../../../clients/js/position.js", JS;
    "/clients/js/presence.js" => "../../../clients/js/presence.js", JS;
    "/clients/js/room.js" => "../../../clients/js/room.js", JS;
    "/clients/js/rooms.js" => "../../../clients/js/rooms.js", JS;
    "/clients/js/session.js" => "../../../clients/js/session.js", JS;
    "/clients/js/storage.js" => "../../../clients/js/storage.js", JS;
    "/clients/js/subscription.js" => "../../../clients/js/subscription.js", JS;
    "/clients/js/token.js" => "../../../clients/js/token.js", JS;
    "/clients/js/typing.js" => "../../../clients/js/typing.js", JS;
}

pub fn routes() -> Router {
    FILES.iter().fold(Router::new(), |router, (path, text, kind)| {
        router.route(path, get(async move || answer(text, kind)))
    })
}

fn answer(text: &'static str, kind: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A new build is seen at once.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_that_a_file_imports_is_served() {
        for (path, text, _) in FILES.iter().filter(|(_, _, kind)| *kind == JS) {
            let folder = path.rsplit_once('/').unwrap().0;
            for import in text.lines().filter_map(|line| line.split(" from '").nth(1)) {
                let import = import.trim_end_matches("';");
                let target = match import.strip_prefix("./") {
                    Some(name) => format!("{folder}/{name}"),
                    None => import.to_owned(),
                };
                assert!(FILES.iter().any(|(path, ..)| *path == target), "{path} imports {import}");
            }
        }
    }

    #[test]
    fn nothing_comes_from_another_server_and_nothing_is_inline() {
        for (path, text, kind) in FILES {
            assert!(!text.contains("https://cdn") && !text.contains("@import"), "{path}");
            if *kind == HTML {
                assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick="));
            }
        }
    }
}
