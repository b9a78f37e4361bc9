//! What clients send and get: preferences, everywhere and of one conversation.

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use garde::Validate;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::domain::clock::Timestamp;
use crate::domain::ids::ChannelId;
use crate::edge::http::Problem;
use crate::edge::http::paging::page_limit;
use crate::features::notifications::model::{General, GeneralChange, Mute, Special, SpecialOf};
use crate::features::notifications::quiet::QuietHours;

/// `PUT /notification-preferences`: an absent field stays as it is, null ends quiet hours.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangePreferences {
    /// A message in a channel or group that names me.
    #[serde(default, deserialize_with = "not_null")]
    #[garde(skip)]
    #[schema(value_type = Option<bool>, nullable = false)]
    mentions: Option<bool>,
    /// A message in a direct conversation.
    #[serde(default, deserialize_with = "not_null")]
    #[garde(skip)]
    #[schema(value_type = Option<bool>, nullable = false)]
    direct: Option<bool>,
    /// Whether being taken into a channel or group may wake my phone.
    #[serde(default, deserialize_with = "not_null")]
    #[garde(skip)]
    #[schema(value_type = Option<bool>, nullable = false)]
    invites: Option<bool>,
    /// Every message of every channel and group.
    #[serde(default, deserialize_with = "not_null")]
    #[garde(skip)]
    #[schema(value_type = Option<bool>, nullable = false)]
    all: Option<bool>,
    /// `quiet_hours` is accepted too.
    #[serde(default, alias = "quiet_hours", deserialize_with = "not_null")]
    #[garde(skip)]
    #[schema(value_type = Option<QuietHoursBody>)]
    #[expect(clippy::option_option, reason = "absent, null, or these")]
    quiet_hours: Option<Option<QuietHoursBody>>,
}

impl From<ChangePreferences> for GeneralChange {
    fn from(body: ChangePreferences) -> Self {
        Self {
            mentions: body.mentions,
            direct: body.direct,
            invites: body.invites,
            all: body.all,
            quiet_hours: body.quiet_hours.map(|hours| hours.map(Into::into)),
        }
    }
}

/// `PUT /notification-preferences/channels/{id}`: an absent field is as if nothing in particular were wanted.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetChannelPreferences {
    /// Nothing but mentions; in a direct conversation nothing at all.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<bool>, nullable = false)]
    muted: bool,
    /// If it is muted: until then, or for good. `muted_until` is accepted too.
    #[serde(default, alias = "muted_until")]
    #[garde(skip)]
    muted_until: Option<DateTime<Utc>>,
    /// Null: as everywhere else.
    #[serde(default)]
    #[garde(skip)]
    mentions: Option<bool>,
    /// Null: as everywhere else.
    #[serde(default)]
    #[garde(skip)]
    all: Option<bool>,
}

impl From<SetChannelPreferences> for Special {
    fn from(body: SetChannelPreferences) -> Self {
        let mute = match (body.muted, body.muted_until) {
            (false, _) => Mute::Off,
            (true, Some(until)) => Mute::Until(until),
            (true, None) => Mute::ForGood,
        };
        Self { mute, mentions: body.mentions, all: body.all }
    }
}

/// `GET /notification-preferences/channels?after=&limit=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListChannelPreferences {
    /// The `next` of the page before.
    pub after: Option<ChannelId>,
    /// 50 when absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

impl ListChannelPreferences {
    /// # Errors
    /// 400 when it is not within 1..100.
    pub fn limit(&self) -> Result<u32, Problem> {
        page_limit(self.limit)
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NotificationPreferences)]
#[expect(clippy::struct_excessive_bools, reason = "as it is on the wire")]
pub struct PreferencesView {
    mentions: bool,
    direct: bool,
    invites: bool,
    all: bool,
    /// Null: there are none.
    #[schema(required)]
    quiet_hours: Option<QuietHoursBody>,
}

impl From<General> for PreferencesView {
    fn from(general: General) -> Self {
        Self {
            mentions: general.mentions,
            direct: general.direct,
            invites: general.invites,
            all: general.all,
            quiet_hours: general.quiet_hours.map(Into::into),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChannelPreferences)]
pub struct ChannelPreferencesView {
    channel_id: ChannelId,
    /// At this moment.
    muted: bool,
    /// Null: for good, if it is muted.
    #[schema(required)]
    muted_until: Option<DateTime<Utc>>,
    /// Null: as everywhere else.
    #[schema(required)]
    mentions: Option<bool>,
    /// Null: as everywhere else.
    #[schema(required)]
    all: Option<bool>,
}

impl ChannelPreferencesView {
    pub fn new(channel_id: ChannelId, special: Special, now: Timestamp) -> Self {
        let muted = special.mute.holds(now);
        let muted_until = match special.mute {
            Mute::Until(until) => Some(until).filter(|_| muted),
            Mute::Off | Mute::ForGood => None,
        };
        Self { channel_id, muted, muted_until, mentions: special.mentions, all: special.all }
    }
}

/// One page of the conversations of which I want something in particular.
#[derive(Serialize, ToSchema)]
pub struct ChannelPreferencesPage {
    items: Vec<ChannelPreferencesView>,
    /// The `after` of the next page; null: this is the last.
    #[schema(required)]
    next: Option<ChannelId>,
}

impl ChannelPreferencesPage {
    pub fn new(found: Vec<SpecialOf>, has_more: bool, now: Timestamp) -> Self {
        let next = found.last().filter(|_| has_more).map(|(channel, _)| *channel);
        let view = |(channel, special)| ChannelPreferencesView::new(channel, special, now);
        Self { items: found.into_iter().map(view).collect(), next }
    }
}

/// When I am told nothing; then all that I have not read is told as one.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = QuietHours)]
pub struct QuietHoursBody {
    /// By the clock on my wall.
    #[serde(with = "minute")]
    #[schema(value_type = String, pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "22:00")]
    from: NaiveTime,
    /// If it is not later than `from`, of the next day.
    #[serde(with = "minute")]
    #[schema(value_type = String, pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "07:00")]
    until: NaiveTime,
    /// `time_zone` is accepted too.
    #[serde(alias = "time_zone")]
    time_zone: Zone,
}

impl From<QuietHoursBody> for QuietHours {
    fn from(body: QuietHoursBody) -> Self {
        Self { from: body.from, until: body.until, zone: body.time_zone.0 }
    }
}

impl From<QuietHours> for QuietHoursBody {
    fn from(hours: QuietHours) -> Self {
        Self { from: hours.from, until: hours.until, time_zone: Zone(hours.zone) }
    }
}

/// A time zone by its name in IANA's database, such as `Europe/Copenhagen`.
#[derive(Clone, Copy)]
struct Zone(Tz);

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(Self).map_err(|_| D::Error::custom("timeZone: a name such as Europe/Copenhagen"))
    }
}

impl PartialSchema for Zone {
    fn schema() -> RefOr<Schema> {
        let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

impl ToSchema for Zone {
    fn name() -> std::borrow::Cow<'static, str> {
        "TimeZone".into()
    }
}

/// A time of day, to the minute.
mod minute {
    use chrono::NaiveTime;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    const FORM: &str = "%H:%M";

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub fn serialize<S: Serializer>(time: &NaiveTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&time.format(FORM))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_whole = text.len() == "22:00".len();
        let time = NaiveTime::parse_from_str(&text, FORM).ok().filter(|_| is_whole);
        time.ok_or_else(|| D::Error::custom("a time of day such as 22:00"))
    }
}

/// A field that may be absent, but not null; or null, if that is what `T` reads.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
