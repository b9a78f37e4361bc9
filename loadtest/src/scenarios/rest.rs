//! Couples at rest: two sockets that answer pings, and a look at the partner's light now and then.

use std::sync::Arc;

use goose::goose::{GooseMethod, GooseUser, TransactionFunction, TransactionResult};

use super::calls::Call;
use super::session::Session;
use super::told;

pub fn look() -> TransactionFunction {
    Arc::new(|user| Box::pin(look_at_partner(user)))
}

async fn look_at_partner(user: &mut GooseUser) -> TransactionResult {
    let session = match Session::of(user) {
        Ok(session) => session,
        Err(error) => return told(Err(error)),
    };
    let token = &session.couple.people[0].token;
    Call::new(GooseMethod::Get, "/partner", token).send(user).await.map(drop)
}
