//! What couples do: four scenarios; and rooms: a fifth. And what goose is told of them.
//!
//! A goose user is a couple, or a room. Its phones and its schedule are tasks of their own, so that neither waits for the other;
//! the user's transactions hand what they measured to goose, and make the requests of an ordinary day.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use goose::GooseAttack;
use goose::client::GooseClientBuilder;
use goose::config::{GooseConfiguration, Scenarios};
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction, TransactionResult};
use goose::transaction;

use crate::world::World;

mod calls;
mod chat;
mod mixed;
mod rest;
mod session;
mod storm;

use session::{follow, open, settle};

/// How a couple spends the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cast {
    /// Two sockets that answer pings, and a look now and then.
    Rest,
    /// A change per pace, on phones that are on different nodes.
    PingPong,
    /// The same on phones that are cut off together, again and again.
    Storm,
    /// The same between logins, links, absences and looks.
    MixedDay,
}

/// Pauses between the requests of a day.
const DAY_PAUSE: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(600)];

/// What couples do. A room has up to five hundred people, and so takes part only where it is asked for.
const MIXED: [&str; 4] = ["rest", "pingpong", "storm", "mixedday"];

/// Everything that goose runs; `--scenarios` chooses.
pub fn attack(mut configuration: GooseConfiguration, world: &Arc<World>) -> anyhow::Result<GooseAttack> {
    configuration.host = Some(world.url.clone());
    configuration.scenarios.get_or_insert_with(|| Scenarios { active: MIXED.map(str::to_owned).into() });
    // What happens while the users come counts, too.
    configuration.no_reset_metrics = true;
    configuration.no_threshold_abort = true;
    let without_cookies = GooseClientBuilder::new().without_cookies();
    let mut attack = GooseAttack::initialize_with_config(configuration)?
        .set_client_builder_without_cookies(without_cookies)?;
    for scenario in scenarios(world).context("a weight or a pause is not what goose takes")? {
        attack = attack.register_scenario(scenario);
    }
    Ok(attack)
}

fn scenarios(world: &Arc<World>) -> Result<[Scenario; 5], goose::GooseError> {
    let [shortest, longest] = DAY_PAUSE;
    Ok([
        scenario("Rest", Cast::Rest, world)
            .set_weight(2)?
            .register_transaction(transaction!(follow).set_name("follow").set_weight(40)?)
            .register_transaction(Transaction::new(rest::look()).set_name("look")),
        scenario("PingPong", Cast::PingPong, world)
            .set_weight(4)?
            .register_transaction(transaction!(follow).set_name("follow")),
        scenario("Storm", Cast::Storm, world)
            .set_weight(2)?
            .register_transaction(Transaction::new(storm::weather()).set_name("weather")),
        mixed::day(scenario("MixedDay", Cast::MixedDay, world))?
            .set_weight(4)?
            .set_wait_time(shortest, longest)?,
        chat::scenario(world),
    ])
}

fn scenario(name: &str, cast: Cast, world: &Arc<World>) -> Scenario {
    let world = Arc::clone(world);
    let begin: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
        let world = Arc::clone(&world);
        Box::pin(async move { open(user, world, cast).await })
    });
    Scenario::new(name)
        .register_transaction(Transaction::new(begin).set_name("begin").set_on_start())
        .register_transaction(transaction!(settle).set_name("settle").set_on_stop())
}

/// A result of ours as goose wants it.
fn told(result: anyhow::Result<()>) -> TransactionResult {
    result.map_err(|error| Box::new(goose::goose::TransactionError::Custom(format!("{error:#}"))))
}
