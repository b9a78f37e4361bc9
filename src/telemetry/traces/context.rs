//! Where in which trace something happens: what travels with a request, in an event's row, and from node to node.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// A trace, and a span of it below which others stand. Only what is traced has one: there is no flag "sampled".
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: [u8; 16],
    span: NonZeroU64,
}

/// No text of the form of a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTraceparent;

impl TraceContext {
    /// As bytes: the trace's id, then the span's.
    pub const BYTES: usize = 24;

    /// `None` if one of the ids is zero: then it is none.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let (trace, span) = bytes.split_first_chunk::<16>()?;
        let span = NonZeroU64::new(u64::from_be_bytes(span.try_into().ok()?))?;
        (*trace != [0; 16]).then_some(Self { trace: *trace, span })
    }

    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace);
        bytes[16..].copy_from_slice(&self.span.get().to_be_bytes());
        bytes
    }

    #[must_use]
    pub fn trace_id(self) -> TraceId {
        TraceId::from_bytes(self.trace)
    }

    pub(super) fn of(span: &SpanContext) -> Option<Self> {
        let span_id = NonZeroU64::new(u64::from_be_bytes(span.span_id().to_bytes()))?;
        Some(Self { trace: span.trace_id().to_bytes(), span: span_id })
    }

    pub(super) fn span_context(self) -> SpanContext {
        let span = SpanId::from(self.span.get());
        SpanContext::new(self.trace_id(), span, TraceFlags::SAMPLED, true, TraceState::NONE)
    }
}

/// As a `traceparent` (W3C Trace Context §3.2).
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{:016x}-01", self.trace_id(), self.span)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a `traceparent` of ours; what its flags say is not asked.
impl FromStr for TraceContext {
    type Err = NoTraceparent;

    fn from_str(text: &str) -> Result<Self, NoTraceparent> {
        Incoming::parse(text).map(|incoming| incoming.context).ok_or(NoTraceparent)
    }
}

/// What a caller says of its own trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    pub context: TraceContext,
    pub sampled: bool,
}

impl Incoming {
    /// Reads a `traceparent` of any version but the forbidden one; of later ones, what this version knows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const LENGTH: usize = 55;
        let known = text.get(..LENGTH)?;
        let rest = &text[LENGTH..];
        let mut fields = known.split('-');
        let (version, trace) = (hex::<1>(fields.next()?)?, hex::<16>(fields.next()?)?);
        let (span, flags) = (hex::<8>(fields.next()?)?, hex::<1>(fields.next()?)?);
        let ends = match version {
            [0] => rest.is_empty(),
            [0xff] => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let mut bytes = [0; TraceContext::BYTES];
        bytes[..16].copy_from_slice(&trace);
        bytes[16..].copy_from_slice(&span);
        let context = TraceContext::from_bytes(bytes).filter(|_| ends && fields.next().is_none())?;
        Some(Self { context, sampled: flags[0] & 1 == 1 })
    }
}

/// Exactly `N` bytes in small hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if text.len() != 2 * N || !text.bytes().all(is_digit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the recommendation.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_the_same_as_text_and_as_bytes() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(context.to_string(), EXAMPLE);
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(TraceContext::from_bytes(context.to_bytes()), Some(context));
        assert_eq!(TraceContext::of(&context.span_context()), Some(context));
        assert_eq!(size_of::<Option<TraceContext>>(), TraceContext::BYTES);
    }

    #[test]
    fn what_a_caller_says_is_read_as_the_recommendation_has_it() {
        let sampled = |text: &str| Incoming::parse(text).map(|incoming| incoming.sampled);
        assert_eq!(sampled(EXAMPLE), Some(true));
        assert_eq!(sampled(&EXAMPLE.replace("-01", "-00")), Some(false));
        assert_eq!(sampled(&EXAMPLE.replace("-01", "-03")), Some(true));
        assert_eq!(sampled(&EXAMPLE.replacen("00", "cc", 1)), Some(true));
        assert_eq!(sampled(&format!("{}-more", EXAMPLE.replacen("00", "cc", 1))), Some(true));
        for wrong in [
            String::new(),
            EXAMPLE.to_uppercase(),
            EXAMPLE[..54].to_owned(),
            format!("{EXAMPLE}-more"),
            format!("{EXAMPLE}1"),
            format!("{}.more", EXAMPLE.replacen("00", "cc", 1)),
            EXAMPLE.replacen("00", "ff", 1),
            EXAMPLE.replace('-', "_"),
            EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            EXAMPLE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            EXAMPLE.replace("4bf9", "+bf9"),
            EXAMPLE.replace("4bf9", "4b-9"),
            EXAMPLE.replace("b7-01", "bß-01"),
        ] {
            assert_eq!(sampled(&wrong), None, "{wrong}");
        }
    }
}
