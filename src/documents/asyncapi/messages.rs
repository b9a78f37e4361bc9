//! The messages of the document, from the types that are read and written.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::events::{event_message, push_message, room_message, unreadable};
use crate::delivery::rooms::notice::RoomNotice;
use crate::edge::ws::described as socket;
use crate::edge::ws::protocol::{Command, Reply};
use crate::features::messages::{self, MessageCommand};
use crate::features::presence::{self, PresenceCommand, PresenceFrame};
use crate::features::rooms::{self, PassingFrame, RoomCommand};
use crate::features::{self, channels};

/// One kind of message.
pub struct Message {
    /// Its `type`; unique on its channel.
    pub name: String,
    /// Its name among all.
    pub component: String,
    pub description: String,
    pub payload: Value,
    pub examples: Vec<Value>,
}

/// All of them, and the schemas that they refer to.
pub struct Messages {
    pub events: Vec<Message>,
    /// What those who subscribe to a room, or watch somebody, are told.
    pub rooms: Vec<Message>,
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
        let notices: Vec<Value> = RoomNotice::examples().iter().map(to_value).collect();
        let passing: Vec<Value> = rooms::frames().iter().map(to_value).collect();
        let mut rooms = variants::<RoomNotice>(&notices, &mut schemas);
        rooms.extend(variants::<PassingFrame>(&passing, &mut schemas));
        let watched: Vec<Value> = presence::frames().iter().map(to_value).collect();
        rooms.extend(variants::<PresenceFrame>(&watched, &mut schemas));
        let followed: Vec<Value> = channels::Notice::examples().iter().map(to_value).collect();
        rooms.extend(variants::<channels::Notice>(&followed, &mut schemas));
        let mut commands = commands_of::<Command>(&socket::commands(), &mut schemas);
        commands.extend(commands_of::<RoomCommand>(&rooms::commands(), &mut schemas));
        commands.extend(commands_of::<MessageCommand>(&messages::commands(), &mut schemas));
        commands.extend(commands_of::<PresenceCommand>(&presence::commands(), &mut schemas));
        // `TYPING` goes both ways.
        for (command, _) in &mut commands {
            if rooms.iter().any(|frame| frame.name == command.name) {
                command.name = format!("command.{}", command.name);
                command.component.clone_from(&command.name);
            }
        }
        let mut events: Vec<Message> =
            described.iter().map(|event| event_message(event, &mut schemas)).collect();
        events.push(unreadable());
        rooms.extend(features::room_events().iter().map(|event| room_message(event, &mut schemas)));
        // What the user is told for good, the room is told in passing.
        for frame in rooms.iter_mut().filter(|frame| events.iter().any(|event| event.name == frame.name)) {
            frame.name = format!("room.{}", frame.name);
            frame.component.clone_from(&frame.name);
        }
        Self {
            events,
            rooms,
            replies: variants::<Reply<'static>>(&replies, &mut schemas),
            commands,
            pushes: described.iter().filter_map(push_message).collect(),
            schemas,
        }
    }

    /// What is said on the socket, both ways.
    pub fn on_socket(&self) -> impl Iterator<Item = &Message> {
        let told = self.events.iter().chain(&self.rooms).chain(&self.replies);
        told.chain(self.commands.iter().map(|(command, _)| command))
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

pub fn to_value(it: &impl serde::Serialize) -> Value {
    serde_json::to_value(it).expect("a plain tree")
}

pub fn insert_all(schemas: &mut Map<String, Value>, found: &[(String, RefOr<Schema>)]) {
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

/// The messages of an enum of commands, with the names of what may answer them.
fn commands_of<T: ToSchema>(
    described: &[(Value, &'static [&'static str])],
    schemas: &mut Map<String, Value>,
) -> Vec<(Message, &'static [&'static str])> {
    let examples: Vec<Value> = described.iter().map(|(example, _)| example.clone()).collect();
    let answers = |name: &str| {
        let known = described.iter().find(|(example, _)| example["type"] == name);
        known.map_or(&[][..], |(_, answers)| answers)
    };
    let with_answers = |command: Message| {
        let answers = answers(&command.name);
        (command.with_ref(), answers)
    };
    variants::<T>(&examples, schemas).into_iter().map(with_answers).collect()
}

/// The one value that `type` may have, here or in a part of it.
fn type_of(schema: &Value) -> Option<&str> {
    let here = schema.pointer("/properties/type/enum/0").and_then(Value::as_str);
    here.or_else(|| schema["allOf"].as_array()?.iter().find_map(type_of))
}

pub fn take_description(schema: &mut Value) -> String {
    let own = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    own.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}
