//! What users and rooms are told, from the types that features list.

use serde_json::{Map, Value, json};

use super::messages::{Message, insert_all, schema_of, take_description, to_value};
use crate::delivery::described::{self as events, Described, DescribedRoomEvent};
use crate::domain::ids::EventId;

/// A durable event, with its life.
pub fn event_message(event: &Described, schemas: &mut Map<String, Value>) -> Message {
    insert_all(schemas, &event.refers_to);
    let mut payload = to_value(&event.schema);
    let life = format!("Kept for {} hours.", event.ttl.as_secs() / 3_600);
    let description = format!("{}\n\n{life}", take_description(&mut payload));
    add_fields(&mut payload, &place(event.kind));
    Message {
        name: event.kind.to_owned(),
        component: event.kind.to_owned(),
        description,
        payload,
        examples: vec![event.example.clone()],
    }
}

/// Has no place in a user's sequence.
pub fn room_message(event: &DescribedRoomEvent, schemas: &mut Map<String, Value>) -> Message {
    insert_all(schemas, &event.refers_to);
    let mut payload = to_value(&event.schema);
    let description = take_description(&mut payload);
    add_fields(&mut payload, &json!({"type": {"type": "string", "enum": [event.kind]}}));
    Message {
        name: event.kind.to_owned(),
        component: event.kind.to_owned(),
        description,
        payload,
        examples: vec![event.example.clone()],
    }
}

/// Adds what stands beside an event's own fields, in a part of its own where these are already in parts.
fn add_fields(payload: &mut Value, fields: &Value) {
    let names: Vec<_> = fields.as_object().into_iter().flat_map(Map::keys).collect();
    if let Some(parts) = payload.get_mut("allOf").and_then(Value::as_array_mut) {
        parts.push(json!({"type": "object", "properties": fields, "required": names}));
        return;
    }
    for name in names {
        payload["properties"][name] = fields[name].clone();
        if let Some(required) = payload["required"].as_array_mut() {
            required.push(json!(name));
        }
    }
}

/// What every durable event has.
fn place(kind: &str) -> Value {
    let mut id = schema_of::<EventId>();
    id["description"] = json!("The same in a push: an event that comes twice is known by it.");
    json!({
        "type": {"type": "string", "enum": [kind]},
        "id": id,
        "seq": {
            "type": "integer", "format": "int64", "minimum": 1,
            "description": "Its place in the user's sequence, which has no gap.",
        },
    })
}

/// An event that this version of the server cannot read any more.
pub fn unreadable() -> Message {
    let example = events::unreadable();
    let kind = example["type"].as_str().unwrap_or_default().to_owned();
    Message {
        component: kind.clone(),
        description: "Stands for an event that cannot be read, so that the sequence has no gap. Ignore it."
            .to_owned(),
        payload: json!({"type": "object", "properties": place(&kind), "required": ["type", "id", "seq"]}),
        examples: vec![example],
        name: kind,
    }
}

/// What the app gets on the phone.
pub fn push_message(event: &Described) -> Option<Message> {
    let push = event.push.as_ref()?;
    let own = to_value(&event.schema);
    let data = push.data.as_object()?;
    // FCM carries nothing but text.
    let number = json!({"type": "string", "pattern": "^[0-9]+$"});
    let field = |(name, example): (&String, &Value)| {
        let schema = match (name.as_str(), own["properties"].get(name)) {
            ("type", _) => json!({"type": "string", "enum": [example]}),
            ("eventId", _) => schema_of::<EventId>(),
            ("seq", _) => number.clone(),
            (_, Some(of_event)) if of_event["type"] == "integer" => number.clone(),
            (_, Some(of_event)) => of_event.clone(),
            (_, None) => json!({"type": "string"}),
        };
        (name.clone(), schema)
    };
    let names: Vec<_> = data.keys().collect();
    let text = json!({"type": "string", "description": "In the language of the device's registration."});
    Some(Message {
        name: event.kind.to_owned(),
        component: format!("push.{}", event.kind),
        description: format!("The push of `{}`.", event.kind),
        payload: json!({
            "type": "object",
            "required": ["notification", "data"],
            "properties": {
                "notification": {
                    "type": "object", "required": ["title", "body"],
                    "properties": {"title": text, "body": text},
                },
                "data": {
                    "type": "object", "required": names,
                    "properties": Value::Object(data.iter().map(field).collect()),
                },
            },
        }),
        examples: vec![json!({
            "notification": {"title": push.text.title, "body": push.text.body},
            "data": push.data,
        })],
    })
}
