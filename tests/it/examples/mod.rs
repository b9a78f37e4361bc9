//! Every documented example and every status of the API, replayed literally through the load balancer.
//!
//! One file per chapter; `bad_input` is the table of what is refused, and how.

mod accounts;
mod bad_input;
mod channels;
mod conventions;
mod devices;
mod linking;
mod messages;
mod notifications;
mod presence;
mod profile;
mod push;
mod sessions;
mod socket;
mod status;
mod tokens;
mod uploads;
