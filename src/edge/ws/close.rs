//! Why a connection ends: one table with the code, the reason, and what the client should do.

use bytes::Bytes;

use crate::delivery::mailbox::Farewell;
use crate::edge::ws::socket::close_frame;

macro_rules! closings {
    ($($(#[$doc:meta])* $name:ident => $code:literal, $reason:literal, $advice:ident;)*) => {
        /// Every way in which we end a connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Closing { $($(#[$doc])* $name,)* }

        impl Closing {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The status code of the close frame (RFC 6455 §7.4).
            #[must_use]
            pub fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The reason in the close frame; stable, for people who read it.
            #[must_use]
            pub fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }

            /// What this table calls it; for the metric.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            #[must_use]
            pub fn advice(self) -> Advice {
                match self { $(Self::$name => Advice::$advice,)* }
            }
        }
    };
}

/// What a client should do after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing: it was the client's wish, or its fault.
    Stop,
    /// Connect again with `since`, at once or after the hinted delay.
    Resume,
    /// Connect again with `since` after a growing, random delay.
    BackOff,
    /// Get a new access token, then connect again with `since`.
    Refresh,
}

impl Advice {
    /// As `clients/js` and the API document call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Resume => "resume",
            Self::BackOff => "back_off",
            Self::Refresh => "refresh",
        }
    }
}

closings! {
    /// The client closed.
    Normal => 1000, "", Stop;
    /// The node stops; another one takes the client.
    Leaving => 1012, "Service restart", Resume;
    /// It comes back elsewhere, so that nodes that were added are used too.
    TooOld => 1012, "Connection is too old", Resume;
    ProtocolError => 1002, "Protocol error", Stop;
    BinaryMessage => 1003, "Only text messages are understood", Stop;
    InvalidText => 1007, "Text is not UTF-8", Stop;
    MissingToken => 1008, "Missing JWT token", Stop;
    InvalidToken => 1008, "Invalid JWT token", Stop;
    TooManyConnections => 1008, "Too many connections", BackOff;
    /// Its fragments did not come in time.
    MessageTooSlow => 1008, "Message took too long", BackOff;
    MessageTooBig => 1009, "Message too big", Stop;
    Internal => 1011, "Internal error", BackOff;
    /// What the client missed cannot be read now.
    TryLater => 1013, "Try again later", BackOff;
    /// The first frame was no valid `AUTH`, or came too late.
    AuthenticationFailed => 4001, "Authentication failed", Stop;
    HeartbeatLost => 4002, "Heartbeat lost", Resume;
    SessionRevoked => 4003, "Session revoked", Stop;
    Replaced => 4005, "Replaced by a newer connection of this device", Stop;
    RateLimited => 4008, "Too many messages", BackOff;
    SlowConsumer => 4009, "Too slow to take its events", Resume;
    TokenExpired => 4010, "Token expired", Refresh;
}

impl Closing {
    /// The frame that ends a connection for this reason.
    #[must_use]
    pub fn frame(self) -> Bytes {
        close_frame(self.code(), self.reason())
    }
}

impl From<Farewell> for Closing {
    fn from(farewell: Farewell) -> Self {
        match farewell {
            Farewell::Leaving => Self::Leaving,
            Farewell::Revoked => Self::SessionRevoked,
            Farewell::Replaced => Self::Replaced,
            Farewell::SlowConsumer => Self::SlowConsumer,
        }
    }
}

/// Whether a client may send this code in its close frame (RFC 6455 §7.4.1 and §7.4.2).
#[must_use]
pub fn is_valid_from_client(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_a_close_frame() {
        for closing in Closing::ALL {
            assert!(closing.reason().len() <= 123, "{closing:?}");
            assert!(is_valid_from_client(closing.code()), "{closing:?}");
        }
    }

    /// `clients/js` decides by the same table.
    #[test]
    fn the_javascript_client_has_the_same_table() {
        let row = |closing: &Closing| {
            let (code, reason, advice) = (closing.code(), closing.reason(), closing.advice().as_str());
            format!("  {{ code: {code}, reason: '{reason}', advice: '{advice}' }},\n")
        };
        let table: String = Closing::ALL.iter().map(row).collect();
        let client = include_str!("../../../clients/js/closing.js");
        assert!(client.contains(&format!("Object.freeze([\n{table}]);")), "it should be\n{table}");
    }

    #[test]
    fn reserved_codes_are_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            assert!(!is_valid_from_client(code), "{code}");
        }
    }
}
