//! The messages of the document, from the types that are read and written.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::delivery::described::{self as events, Described};
use crate::domain::ids::EventId;
use crate::edge::ws::described as socket;
use crate::edge::ws::protocol::{Command, Reply};
use crate::features;

/// One kind of message.
pub struct Message {
    /// Its `type`; unique on its channel.
    pub name: String,
    /// Its name among all.
    pub component: String,
    description: String,
    payload: Value,
    examples: Vec<Value>,
}

/// All of them, and the schemas that they refer to.
pub struct Messages {
    pub events: Vec<Message>,
    pub replies: Vec<Message>,
    /// With the names of what may answer them.
    pub commands: Vec<(Message, &'static [&'static str])>,
    pub pushes: Vec<Message>,
    pub schemas: Map<String, Value>,
}

impl Messages {
    pub fn of_all_types() -> Self {
        let mut schemas = Map::new();
        let described = features::events();
        let replies: Vec<Value> = socket::replies().iter().map(to_value).collect();
        let commands = socket::commands();
        let examples: Vec<Value> = commands.iter().map(|(example, _)| example.clone()).collect();
        let answers = |name: &str| {
            let known = commands.iter().find(|(example, _)| example["type"] == name);
            known.map_or(&[][..], |(_, answers)| answers)
        };
        let mut events: Vec<Message> =
            described.iter().map(|event| event_message(event, &mut schemas)).collect();
        events.push(unreadable());
        Self {
            events,
            replies: variants::<Reply<'static>>(&replies, &mut schemas),
            commands: variants::<Command>(&examples, &mut schemas)
                .into_iter()
                .map(|command| {
                    let answers = answers(&command.name);
                    (command.with_ref(), answers)
                })
                .collect(),
            pushes: described.iter().filter_map(push_message).collect(),
            schemas,
        }
    }

    /// What is said on the socket, both ways.
    pub fn on_socket(&self) -> impl Iterator<Item = &Message> {
        self.events.iter().chain(&self.replies).chain(self.commands.iter().map(|(command, _)| command))
    }

    pub fn components(&self) -> Value {
        let all = self.on_socket().chain(&self.pushes);
        Value::Object(all.map(|message| (message.component.clone(), message.to_value())).collect())
    }
}

impl Message {
    /// Whether it may repeat the `ref` of a command.
    pub fn has_ref(&self) -> bool {
        self.payload["properties"].get("ref").is_some()
    }

    /// Every command may have one.
    fn with_ref(mut self) -> Self {
        let reference =
            json!({"ref": {"description": "Any JSON of at most 128 bytes; the answer repeats it."}});
        match self.payload.get_mut("allOf").and_then(Value::as_array_mut) {
            Some(parts) => parts.push(json!({"type": "object", "properties": reference})),
            None => self.payload["properties"]["ref"] = reference["ref"].clone(),
        }
        self
    }

    fn to_value(&self) -> Value {
        let examples: Vec<_> = self.examples.iter().map(|payload| json!({"payload": payload})).collect();
        json!({
            "name": self.name,
            "title": self.name,
            "description": self.description,
            "payload": self.payload,
            "examples": examples,
        })
    }
}

/// `#/a/b`
pub fn reference(path: &[&str]) -> Value {
    json!({"$ref": format!("#/{}", path.join("/"))})
}

/// The schema of a type that refers to no other.
pub fn schema_of<T: PartialSchema>() -> Value {
    to_value(&T::schema())
}

fn to_value(it: &impl serde::Serialize) -> Value {
    serde_json::to_value(it).expect("a plain tree")
}

fn insert_all(schemas: &mut Map<String, Value>, found: &[(String, RefOr<Schema>)]) {
    schemas.extend(found.iter().map(|(name, schema)| (name.clone(), to_value(schema))));
}

/// The messages of an enum, each with those of the examples that are such a one.
fn variants<T: ToSchema>(examples: &[Value], schemas: &mut Map<String, Value>) -> Vec<Message> {
    let mut refers_to = Vec::new();
    T::schemas(&mut refers_to);
    insert_all(schemas, &refers_to);
    let mut schema = schema_of::<T>();
    let variants = schema["oneOf"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let message = |mut payload: Value| {
        let name = type_of(&payload).expect("the enum is tagged with `type`").to_owned();
        Message {
            component: name.clone(),
            description: take_description(&mut payload),
            examples: examples.iter().filter(|example| example["type"] == *name).cloned().collect(),
            name,
            payload,
        }
    };
    variants.into_iter().map(message).collect()
}

/// The one value that `type` may have, here or in a part of it.
fn type_of(schema: &Value) -> Option<&str> {
    let here = schema.pointer("/properties/type/enum/0").and_then(Value::as_str);
    here.or_else(|| schema["allOf"].as_array()?.iter().find_map(type_of))
}

fn take_description(schema: &mut Value) -> String {
    let own = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    own.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}

fn event_message(event: &Described, schemas: &mut Map<String, Value>) -> Message {
    insert_all(schemas, &event.refers_to);
    let mut payload = to_value(&event.schema);
    let life = format!("Kept for {} hours.", event.ttl.as_secs() / 3_600);
    let description = format!("{}\n\n{life}", take_description(&mut payload));
    let place = place(event.kind);
    for (name, schema) in place.as_object().into_iter().flatten() {
        payload["properties"][name] = schema.clone();
        if let Some(required) = payload["required"].as_array_mut() {
            required.push(json!(name));
        }
    }
    Message {
        name: event.kind.to_owned(),
        component: event.kind.to_owned(),
        description,
        payload,
        examples: vec![event.example.clone()],
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
fn unreadable() -> Message {
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
fn push_message(event: &Described) -> Option<Message> {
    let push = event.push.as_ref()?;
    let own = to_value(&event.schema);
    let data = push.data.as_object()?;
    let field = |(name, example): (&String, &Value)| {
        let schema = match name.as_str() {
            "type" => json!({"type": "string", "enum": [example]}),
            "seq" => json!({"type": "string", "pattern": "^[0-9]+$"}),
            "eventId" => schema_of::<EventId>(),
            name => own["properties"].get(name).cloned().unwrap_or_else(|| json!({"type": "string"})),
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
