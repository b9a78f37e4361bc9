//! The phones behind the tokens: what each shows, and what FCM keeps for it while it is away.
//!
//! FCM stores 100 messages for an unreachable device, and then drops them all and tells the app so; of messages with a
//! collapse key the last one each, of four keys; and none beyond its time to live.
//! <https://firebase.google.com/docs/cloud-messaging/customize-messages/collapsible-message-types>

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

const STORED_MAX: usize = 100;
const COLLAPSE_KEYS_MAX: usize = 4;
/// What a device remembers of what came, and how many devices are known: further ones show nothing.
const RECEIVED_MAX: usize = 1_000;
const DEVICES_MAX: usize = 10_000;
const LIFE_MS: i64 = 28 * 24 * 3600 * 1000;

/// A device, as `GET /devices/{token}` shows it. Messages are as they were sent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    pub online: bool,
    /// The notifications in sight, oldest first; a later one of the same tag replaces an earlier one.
    pub screen: Vec<Value>,
    /// The `data` of every message that came, oldest first.
    pub received: VecDeque<Value>,
    pub stored: VecDeque<Stored>,
    /// The store overflowed, and the app was told: it must fetch all it lacks.
    pub deleted_messages: bool,
    /// That, while the device is away.
    #[serde(skip)]
    overflowed: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    pub collapse_key: Option<String>,
    /// Epoch ms.
    pub expires_at: i64,
    pub message: Value,
}

/// `POST /devices/{token}`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Presence {
    pub online: bool,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            online: true,
            screen: Vec::new(),
            received: VecDeque::new(),
            stored: VecDeque::new(),
            deleted_messages: false,
            overflowed: false,
        }
    }
}

#[derive(Default)]
pub(super) struct Devices(HashMap<String, Device>);

impl Devices {
    /// FCM took a message for this token.
    pub(super) fn take(&mut self, token: &str, message: &Value, at: i64) {
        if let Some(device) = self.known(token) {
            device.take(message, at);
        }
    }

    pub(super) fn set_online(&mut self, token: &str, online: bool, at: i64) {
        if let Some(device) = self.known(token) {
            device.set_online(online, at);
        }
    }

    pub(super) fn device(&self, token: &str) -> Device {
        self.0.get(token).cloned().unwrap_or_default()
    }

    fn known(&mut self, token: &str) -> Option<&mut Device> {
        if self.0.len() >= DEVICES_MAX && !self.0.contains_key(token) {
            return None;
        }
        Some(self.0.entry(token.to_owned()).or_default())
    }
}

impl Device {
    fn take(&mut self, message: &Value, at: i64) {
        let expires_at = expires_at(message, at);
        if self.online {
            self.show(message);
        } else if expires_at > at {
            let collapse_key = collapse_key(message);
            self.store(Stored { collapse_key, expires_at, message: message.clone() });
        }
    }

    fn store(&mut self, message: Stored) {
        if message.collapse_key.is_some() {
            self.stored.retain(|stored| stored.collapse_key != message.collapse_key);
            let mut keys = self.stored.iter().filter(|stored| stored.collapse_key.is_some());
            if let Some(oldest) = keys.next().map(|stored| stored.collapse_key.clone())
                && keys.count() + 1 >= COLLAPSE_KEYS_MAX
            {
                self.stored.retain(|stored| stored.collapse_key != oldest);
            }
        } else if self.stored.iter().filter(|stored| stored.collapse_key.is_none()).count() >= STORED_MAX {
            self.stored.clear();
            self.overflowed = true;
            return;
        }
        self.stored.push_back(message);
    }

    fn set_online(&mut self, online: bool, at: i64) {
        self.online = online;
        if online {
            self.deleted_messages |= std::mem::take(&mut self.overflowed);
            for stored in std::mem::take(&mut self.stored) {
                if stored.expires_at > at {
                    self.show(&stored.message);
                }
            }
        }
    }

    fn show(&mut self, message: &Value) {
        if self.received.len() == RECEIVED_MAX {
            self.received.pop_front();
        }
        self.received.push_back(message["data"].clone());
        if message["notification"].is_null() {
            return;
        }
        let tag = tag(message);
        self.screen.retain(|shown| tag.is_none() || self::tag(shown) != tag);
        if self.screen.len() == RECEIVED_MAX {
            self.screen.remove(0);
        }
        self.screen.push(message.clone());
    }
}

/// By which a notification replaces another one in sight.
fn tag(message: &Value) -> Option<&str> {
    let tags = [
        &message["android"]["notification"]["tag"],
        &message["apns"]["headers"]["apns-collapse-id"],
        &message["webpush"]["headers"]["Topic"],
    ];
    tags.into_iter().find_map(Value::as_str)
}

/// By which a message replaces another one in the store. One that shows something always has one: its app's name.
fn collapse_key(message: &Value) -> Option<String> {
    let keys = [
        &message["android"]["collapse_key"],
        &message["android"]["collapseKey"],
        &message["apns"]["headers"]["apns-collapse-id"],
        &message["webpush"]["headers"]["Topic"],
    ];
    let key = keys.into_iter().find_map(Value::as_str).map(ToOwned::to_owned);
    key.or_else(|| (!message["notification"].is_null()).then(|| "the app".to_owned()))
}

fn expires_at(message: &Value, at: i64) -> i64 {
    let seconds = |text: &str| text.trim_end_matches('s').parse::<f64>().ok();
    let life = [&message["android"]["ttl"], &message["webpush"]["headers"]["TTL"]];
    if let Some(seconds) = life.into_iter().filter_map(Value::as_str).find_map(seconds) {
        #[expect(clippy::cast_possible_truncation, reason = "at most 28 days: it was validated")]
        return at + (seconds * 1000.0) as i64;
    }
    let expiration = message["apns"]["headers"]["apns-expiration"].as_str();
    expiration.and_then(|text| text.parse::<i64>().ok()).map_or(at + LIFE_MS, |seconds| seconds * 1000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_710_930_000_000;

    fn data(number: usize) -> Value {
        json!({"data": {"n": number.to_string()}})
    }

    fn keyed(key: &str, number: usize) -> Value {
        let android = json!({"collapse_key": key, "ttl": "60s", "notification": {"tag": key}});
        json!({"data": {"n": number.to_string()}, "notification": {"title": "t"}, "android": android})
    }

    fn away() -> Devices {
        let mut devices = Devices::default();
        devices.set_online("phone", false, NOW);
        devices
    }

    fn numbers(device: &Device) -> Vec<&str> {
        device.received.iter().filter_map(|data| data["n"].as_str()).collect()
    }

    #[test]
    fn what_is_in_sight_is_replaced_by_its_tag() {
        let mut devices = Devices::default();
        for (number, key) in ["a", "b", "a"].into_iter().enumerate() {
            devices.take("phone", &keyed(key, number), NOW);
        }
        let device = devices.device("phone");
        assert_eq!(numbers(&device), ["0", "1", "2"]);
        assert_eq!(device.screen, [keyed("b", 1), keyed("a", 2)]);
    }

    #[test]
    fn one_message_too_many_and_all_are_gone() {
        let mut devices = away();
        (0..STORED_MAX).for_each(|number| devices.take("phone", &data(number), NOW));
        assert_eq!(devices.device("phone").stored.len(), STORED_MAX);
        devices.take("phone", &data(STORED_MAX), NOW);
        devices.take("phone", &data(STORED_MAX + 1), NOW);
        devices.set_online("phone", true, NOW);

        let device = devices.device("phone");
        assert!(device.deleted_messages);
        assert_eq!(numbers(&device), ["101"]);
    }

    #[test]
    fn the_last_of_each_of_four_keys_is_kept_until_its_end() {
        let mut devices = away();
        for (number, key) in ["a", "b", "c", "d", "b", "e"].into_iter().enumerate() {
            devices.take("phone", &keyed(key, number), NOW);
        }
        devices.take("phone", &data(6), NOW);
        let kept: Vec<Option<String>> =
            devices.device("phone").stored.into_iter().map(|stored| stored.collapse_key).collect();
        assert_eq!(
            kept,
            ["c", "d", "b", "e"]
                .map(|key| Some(key.to_owned()))
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()
        );

        devices.set_online("phone", true, NOW + 61_000);
        assert_eq!(numbers(&devices.device("phone")), ["6"], "the others have expired");
    }

    #[test]
    fn now_or_never_is_never_for_who_is_away() {
        let mut devices = away();
        let now_or_never = [
            json!({"android": {"ttl": "0s"}}),
            json!({"apns": {"headers": {"apns-expiration": "0"}}}),
            json!({"webpush": {"headers": {"TTL": "0"}}}),
        ];
        for message in &now_or_never {
            devices.take("phone", message, NOW);
        }
        assert!(devices.device("phone").stored.is_empty());
    }
}
