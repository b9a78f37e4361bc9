//! RFC 6455, case by case, on raw TCP: the numbers are those of the Autobahn `TestSuite`, whose sections 1 to 7, 9 and
//! 10 these tables follow. The whole suite itself runs against `examples/echo.rs`; this is what every build checks.

#![expect(clippy::unwrap_used, reason = "tests")]

mod case;
mod chunks;
mod closing;
mod control;
mod fragments;
mod framing;
mod headers;
mod large;
mod reserved;
mod text;
mod wire;
