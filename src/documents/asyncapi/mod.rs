//! The socket and the pushes: one `AsyncAPI` 3 document, made from the types that are sent.
//!
//! <https://www.asyncapi.com/docs/reference/specification/v3.0.0>

use serde_json::{Map, Value, json};

use crate::edge::ws::close::Closing;
use crate::edge::ws::parameters::{EPOCH_HEADER, Parameters, SINCE_HEADER};
use crate::edge::ws::protocol::SUBPROTOCOL;
use crate::edge::ws::upgrade;

mod events;
mod messages;

use messages::{Messages, reference};

const SOCKET: &str = "socket";
const PUSH: &str = "push";

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let messages = Messages::of_all_types();
    let (socket, push) = (messages.on_socket().collect::<Vec<_>>(), &messages.pushes);
    json!({
        "asyncapi": "3.0.0",
        "id": "urn:fanlight",
        "info": {
            "title": "Fanlight",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a client hears and says on its WebSocket, and what its phone is pushed when it has none. \
                The HTTP API is an OpenAPI document at `/openapi.json`.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": {
            SOCKET: {
                "address": upgrade::PATH,
                "title": "The socket",
                "description": socket_description(),
                "servers": [reference(&["servers", "fanlight"])],
                "messages": listed(&socket),
                "bindings": {"ws": handshake()},
                "x-close-codes": Closing::ALL.iter().copied().map(closing).collect::<Vec<_>>(),
            },
            PUSH: {
                "address": null,
                "title": "The push",
                "description": "What Firebase Cloud Messaging hands to the app on each device that is registered with \
                    `PUT /devices/fcm-token`, when no device has confirmed the event in time. All of `data` is text, as \
                    FCM wants it. High priority; a later push of the same kind about the same person replaces an \
                    earlier one, and the life is what is left of the event's.",
                "servers": [reference(&["servers", "fcm"])],
                "messages": listed(&push.iter().collect::<Vec<_>>()),
            },
        },
        "operations": operations(&messages),
        "components": {
            "messages": messages.components(),
            "schemas": messages.schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "query": {"type": "httpApiKey", "in": "query", "name": "token"},
            },
        },
    })
}

fn servers() -> Value {
    json!({
        "fanlight": {
            "host": "{host}",
            "protocol": "wss",
            "description": "Any node: each knows all.",
            "variables": {"host": {"default": "localhost:8080", "description": "`./run` speaks `ws`, without TLS"}},
            "security": [
                reference(&["components", "securitySchemes", "bearer"]),
                reference(&["components", "securitySchemes", "query"]),
            ],
        },
        "fcm": {"host": "fcm.googleapis.com", "pathname": "/v1", "protocol": "https"},
    })
}

/// The handshake's query and headers.
fn handshake() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "method": "GET",
        "query": messages::schema_of::<Parameters>(),
        "headers": {"type": "object", "properties": {
            "authorization": text("`Bearer` and an access token"),
            "sec-websocket-protocol": text(&format!(
                "`{SUBPROTOCOL}`, and the access token as `bearer.<token>`"
            )),
            SINCE_HEADER: text("as `since` in the query, which wins"),
            EPOCH_HEADER: text("as `epoch` in the query, which wins"),
        }},
        "bindingVersion": "0.1.0",
    })
}

fn socket_description() -> String {
    let row = |closing: &Closing| {
        let advice = closing.advice().as_str();
        format!("| {} | {} | {advice} |\n", closing.code(), closing.reason())
    };
    format!(
        "One flat JSON object with a `type` per text frame, both ways.\n\n\
         **Authenticate** with the header, with the sub-protocols, with `AUTH` as the first frame, or with `?token=`. \
         **Confirm** an event by answering the ping behind it, as every library does; on `{SUBPROTOCOL}` with `ACK`, once \
         it is stored. **Resume** with the last `seq` that you saw as `since`, on any node: what came later comes in order, \
         then live. Without it comes what is neither confirmed nor pushed yet. Ignore types and fields that you do not \
         know.\n\n\
         A close frame says what to do: `stop`; `resume` with `since`, at once or after the hinted delay; `back_off`, and \
         resume after a growing random delay; `refresh` the access token, then resume.\n\n\
         | code | reason | do |\n|---|---|---|\n{}",
        Closing::ALL.iter().map(row).collect::<String>()
    )
}

fn closing(closing: Closing) -> Value {
    json!({"code": closing.code(), "reason": closing.reason(), "advice": closing.advice().as_str()})
}

/// A channel's messages, which refer to their components.
fn listed(messages: &[&messages::Message]) -> Value {
    let listed = messages
        .iter()
        .map(|message| (message.name.clone(), reference(&["components", "messages", &message.component])));
    Value::Object(listed.collect())
}

fn operations(messages: &Messages) -> Value {
    let on = |channel: &str, names: &mut dyn Iterator<Item = &str>| -> Vec<Value> {
        names.map(|name| reference(&["channels", channel, "messages", name])).collect()
    };
    let names = |messages: &[messages::Message]| {
        messages.iter().map(|message| message.name.clone()).collect::<Vec<_>>()
    };
    let sending = |channel: &str, summary: &str, sent: &[String]| {
        json!({
            "action": "send",
            "channel": reference(&["channels", channel]),
            "summary": summary,
            "messages": on(channel, &mut sent.iter().map(String::as_str)),
        })
    };
    let unasked: Vec<_> =
        messages.replies.iter().filter(|reply| !reply.has_ref()).map(|reply| reply.name.clone()).collect();
    let mut all = Map::new();
    all.insert("event".into(), sending(SOCKET, "Something happened", &names(&messages.events)));
    all.insert(
        "room".into(),
        sending(
            SOCKET,
            "Something about a room that the client subscribes to, or about somebody whom it watches",
            &names(&messages.rooms),
        ),
    );
    all.insert("notice".into(), sending(SOCKET, "About the connection itself", &unasked));
    all.insert(
        "push".into(),
        sending(PUSH, "Wakes a device that has not confirmed", &names(&messages.pushes)),
    );
    for (command, answers) in &messages.commands {
        let operation = json!({
            "action": "receive",
            "channel": reference(&["channels", SOCKET]),
            "messages": on(SOCKET, &mut std::iter::once(command.name.as_str())),
            "reply": {
                "channel": reference(&["channels", SOCKET]),
                "messages": on(SOCKET, &mut answers.iter().copied()),
            },
        });
        all.insert(command.name.to_lowercase(), operation);
    }
    Value::Object(all)
}
