//! An ordinary day: people look, sign in, refresh, link and part, register their phone, and put it away.

use std::sync::Arc;
use std::time::Duration;

use goose::GooseError;
use goose::goose::{GooseMethod, GooseUser, Scenario, TransactionError, TransactionResult};
use goose::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::calls::Call;
use super::session::{Session, follow};
use crate::couple::Presence;
use crate::ledger::{Answer, Topic};
use crate::roster::PASSWORD;

/// How long somebody is away who comes back: pushes come meanwhile.
const ABSENCE_MS: std::ops::RangeInclusive<u64> = 1_000..=6_000;

/// Somebody who signs in again and again.
#[derive(Clone, Debug, Default)]
pub struct Account {
    email: String,
    access_token: String,
    refresh_token: String,
}

impl Account {
    fn signed_in(&mut self, login: &Value) {
        let text = |name: &str| login[name].as_str().unwrap_or_default().to_owned();
        (self.access_token, self.refresh_token) = (text("accessToken"), text("refreshToken"));
    }
}

/// Adds what people do on such a day, as often as it is done.
pub fn day(scenario: Scenario) -> Result<Scenario, GooseError> {
    Ok(scenario
        .register_transaction(transaction!(follow).set_name("follow").set_weight(4)?)
        .register_transaction(transaction!(look).set_name("look").set_weight(4)?)
        .register_transaction(transaction!(log_in).set_name("log in"))
        .register_transaction(transaction!(refresh).set_name("refresh").set_weight(2)?)
        .register_transaction(transaction!(link_and_part).set_name("link and part"))
        .register_transaction(transaction!(register_phone).set_name("register a phone"))
        .register_transaction(Transaction::new(away()).set_name("be away")))
}

fn session(user: &GooseUser) -> Result<Session, Box<TransactionError>> {
    Session::of(user).map_err(|error| Box::new(TransactionError::Custom(error.to_string())))
}

/// Opens the account that signs in all day.
pub async fn register(user: &mut GooseUser) -> TransactionResult {
    let session = session(user)?;
    let email = format!("day-{}-{}@example.com", session.world.run, session.couple.index);
    let body = json!({"email": email, "password": PASSWORD, "displayName": "Somebody"});
    let (_, login) = Call::new(GooseMethod::Post, "/auth/register", "").with(body).send(user).await?;
    let mut account = session.account.lock();
    account.email = email;
    account.signed_in(&login);
    Ok(())
}

async fn look(user: &mut GooseUser) -> TransactionResult {
    let session = session(user)?;
    let token = &session.couple.people[0].token;
    Call::new(GooseMethod::Get, "/me", token).send(user).await?;
    Call::new(GooseMethod::Get, "/partner", token).send(user).await?;
    Call::new(GooseMethod::Get, "/users/me", token).send(user).await.map(drop)
}

async fn log_in(user: &mut GooseUser) -> TransactionResult {
    let session = session(user)?;
    let email = session.account.lock().email.clone();
    let body = json!({"email": email, "password": PASSWORD});
    let (answer, login) = Call::new(GooseMethod::Post, "/auth/login", "").with(body).send(user).await?;
    if answer == Answer::Done {
        session.account.lock().signed_in(&login);
    }
    Ok(())
}

/// A refresh token is good for one use, and one that comes back ends its session: after an answer that says nothing,
/// the next login gives a new one.
async fn refresh(user: &mut GooseUser) -> TransactionResult {
    let session = session(user)?;
    let token = std::mem::take(&mut session.account.lock().refresh_token);
    if token.is_empty() {
        return Ok(());
    }
    let body = json!({"refreshToken": token});
    let (answer, login) = Call::new(GooseMethod::Post, "/auth/refresh", "").with(body).send(user).await?;
    if answer == Answer::Done {
        session.account.lock().signed_in(&login);
    }
    Ok(())
}

/// One shows a code, the other types it in; then they part. Both hear of both.
async fn link_and_part(user: &mut GooseUser) -> TransactionResult {
    let session = session(user)?;
    let Some(guests) = &session.guests else { return Ok(()) };
    let is_clear =
        |topic| guests.ledger.lock().changes(topic).iter().all(|change| change.answer == Answer::Done);
    if !is_clear(Topic::Linked) || !is_clear(Topic::Unlinked) {
        // After an answer that says nothing nobody knows whether they are linked.
        return Ok(());
    }
    let [owner, other] = &guests.people;
    let (_, offer) = Call::new(GooseMethod::Post, "/linking/sessions", &owner.token).send(user).await?;
    let Some(code) = offer["linkCode"].as_str() else { return Ok(()) };

    let number = guests.ledger.lock().begin(Topic::Linked, 1, Instant::now());
    let confirm = Call::new(GooseMethod::Post, "/linking/sessions/confirm", &other.token);
    let (answer, _) = confirm.with(json!({"linkCode": code})).send(user).await?;
    guests.ledger.lock().answered(Topic::Linked, number, answer, None);

    let path = format!("/linking/sessions/{}", offer["sessionId"].as_str().unwrap_or_default());
    let look = Call::new(GooseMethod::Get, &path, &owner.token).named("/linking/sessions/{id}");
    look.send(user).await?;
    if answer != Answer::Done {
        return Ok(());
    }
    let number = guests.ledger.lock().begin(Topic::Unlinked, 0, Instant::now());
    let (answer, _) = Call::new(GooseMethod::Delete, "/partner", &owner.token).send(user).await?;
    guests.ledger.lock().answered(Topic::Unlinked, number, answer, None);
    Ok(())
}

async fn register_phone(user: &mut GooseUser) -> TransactionResult {
    let session = session(user)?;
    let person = &session.couple.people[0];
    let body = json!({"deviceId": "phone", "fcmToken": person.fcm_token, "platform": "android"});
    let put = Call::new(GooseMethod::Put, "/devices/fcm-token", &person.token).with(body);
    put.send(user).await?;
    Call::new(GooseMethod::Get, "/devices/fcm-token", &person.token).send(user).await.map(drop)
}

fn away() -> TransactionFunction {
    Arc::new(|user| Box::pin(std::future::ready(be_away(user))))
}

/// Somebody puts their phone away, and takes it up again later.
fn be_away(user: &GooseUser) -> TransactionResult {
    let session = session(user)?;
    let phone = &session.couple.phones[fastrand::usize(0..2)];
    if !phone.is_away() {
        let absence = Duration::from_millis(fastrand::u64(ABSENCE_MS));
        phone.set(Presence::Away(Instant::now() + absence));
    }
    Ok(())
}
