//! Fanlight: a horizontally scaled WebSocket cluster that never silently loses a committed event.
//!
//! # The path of one event
//!
//! Ann changes her traffic light; Bob, her partner, has a socket on another node.
//!
//! 1. [`edge::http`] takes the request: who calls ([`edge::auth`]), what is asked.
//! 2. [`features::status`] decides, and writes Ann's status and an event for each of the two in one statement.
//!    [`delivery::outbox`] gives each event the next number of its user's sequence. Ann has her answer now.
//! 3. [`delivery::dispatcher`] takes the committed events and sends them on their way ([`delivery::route`]): to
//!    the sockets here, and through the broker ([`ports::broker`]) to the nodes that hold Bob's.
//! 4. There [`delivery::membership`] receives it, [`delivery::registry`] finds Bob's connections, and leaves it
//!    in the [`delivery::mailbox`] of each. The connection ([`edge::ws`]) writes it, and a ping after it.
//! 5. The pong is Bob's receipt: [`delivery::settlement`] writes down that the event was delivered.
//! 6. Whatever fails on this way, [`delivery::sweeper`] finds the row that nobody settled, and
//!    [`delivery::fallback`] pushes it to Bob's phone. [`delivery::reconcile`] finds what Redis lost.
//!
//! # The layers
//!
//! `app → documents → features → edge → delivery → ports → domain`, never back; a test enforces it. [`app`] puts a
//! node together, [`documents`] describes the API, [`serve`] runs it, [`config`] holds its settings, [`shutdown`]
//! every task. [`dev`] is a whole cluster on one machine.

pub mod app;
pub mod config;
pub mod db;
pub mod delivery;
#[cfg(any(test, feature = "dev"))]
pub mod dev;
pub mod documents;
pub mod domain;
pub mod edge;
pub mod failpoint;
pub mod features;
pub mod ports;
pub mod seeded_bug;
pub mod serve;
pub mod shutdown;
pub mod systemd;
pub mod telemetry;
