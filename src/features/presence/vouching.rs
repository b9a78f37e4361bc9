//! Writes down who is connected to this node, and who is not any more, many users at a time.
//!
//! Nothing that opens or closes a connection waits for that. A user is looked at as things are now, however often they
//! changed meanwhile, and Postgres is written to only if it knows something else: whoever comes back within the grace, here or on
//! another node, costs nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::leaving::Leaving;
use super::planning::{Known, Local, Step, availability, step};
use super::repository::Gone;
use super::sayings::News;
use super::{Shared, repository};
use crate::db::within_deadline;
use crate::delivery::turnover::Turned;
use crate::domain::ids::UserId;
use crate::domain::standing::{Availability, Standing};
use crate::shutdown::Shutdown;

const USERS_PER_STATEMENT: usize = 1_000;
/// After Postgres or Redis did not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// So often everything is compared that this node answers for.
const COMPARE_INTERVAL: Duration = Duration::from_secs(300);

/// What is to be done about users that came, went or said something.
#[derive(Default)]
struct Plan {
    here: Vec<UserId>,
    /// All connections here are away; others decide it.
    asked: Vec<UserId>,
    gone: Vec<(UserId, Instant)>,
}

pub struct Vouching {
    shared: Arc<Shared>,
    leaving: Leaving,
    /// What could not be done, for another time.
    undone: Turned,
}

impl Vouching {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, leaving: Leaving::default(), undone: Turned::default() }
    }

    /// Until the process stops, and then what is left.
    pub async fn run(mut self, shutdown: Shutdown) {
        let shared = Arc::clone(&self.shared);
        let (turnover, config) = (shared.parts.registry.turnover(), &shared.parts.config);
        let mut compared_at = Instant::now();
        while !shutdown.is_stopping() {
            let next = self.leaving.next_within(config.grace()).unwrap_or(COMPARE_INTERVAL);
            // Cancel-safe: what there is stays until it is taken.
            shutdown.unless_stopped(turnover.wait(next.min(COMPARE_INTERVAL))).await;
            shutdown.unless_stopped(sleep(config.gather())).await;
            if compared_at.elapsed() >= COMPARE_INTERVAL {
                compared_at = Instant::now();
                turnover.note_everyone();
            }
            if !self.flush(config.grace()).await {
                shutdown.unless_stopped(sleep(RETRY_INTERVAL)).await;
            }
        }
        // The other nodes look after the grace.
        self.flush(Duration::ZERO).await;
    }

    /// Those who left are given so much time to come back. Returns whether everything could be done; the rest is put back.
    pub async fn flush(&mut self, grace: Duration) -> bool {
        let shared = Arc::clone(&self.shared);
        let turned = shared.parts.registry.turnover().take();
        if turned.everyone {
            shared.vouched.lock().values_mut().for_each(|known| *known = Known::Unsure);
            shared.watching.doubt();
        }
        if turned.forgotten {
            shared.sayings.repeat();
        }
        // What was said is written first: whoever asks later, sees it.
        let (spoken, unwritten) = shared.write_marks().await;
        let now = Instant::now();
        self.undone.users.extend(unwritten.into_iter().map(|user| (user, now)));
        let mut users = turned.users;
        for user in &spoken {
            users.entry(*user).or_insert(now);
        }
        if turned.everyone {
            self.add_everyone(&mut users).await;
        }
        let mut plan = self.plan(users, &spoken).await;
        self.add_due(&mut plan, grace);
        let asked = self.ask(&plan.asked, &spoken).await;
        let here = plan.here.iter().map(|user| (*user, Availability::Online)).collect::<Vec<_>>();
        self.connected(&here, Local::Here, &spoken).await;
        self.connected(&asked, Local::Away, &spoken).await;
        self.left(&plan.gone).await;
        let undone = std::mem::take(&mut self.undone);
        let is_done = undone == Turned::default();
        if !is_done {
            metrics::counter!("fanlight_presence_write_failures_total").increment(1);
            shared.parts.registry.turnover().put_back(undone);
        }
        is_done
    }

    /// Also those for whom this node answers, although it has forgotten that, or Postgres has.
    async fn add_everyone(&mut self, users: &mut HashMap<UserId, Instant>) {
        let (parts, now) = (&self.shared.parts, Instant::now());
        let here = parts.registry.all_users();
        match within_deadline(repository::strays(&parts.background, parts.node, &here)).await {
            Ok(strays) => {
                let mut vouched = self.shared.vouched.lock();
                for user in strays {
                    vouched.entry(user).or_insert(Known::Unsure);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot compare presence with postgres; will try again");
                self.undone.everyone = true;
            }
        }
        let vouched = self.shared.vouched.lock();
        let vouched = vouched.keys().copied().filter(|user| !self.leaving.contains(*user));
        for user in here.into_iter().chain(vouched) {
            users.entry(user).or_insert(now);
        }
    }

    async fn plan(&mut self, users: HashMap<UserId, Instant>, spoken: &HashSet<UserId>) -> Plan {
        let (mut plan, mut left) = (Plan::default(), Vec::new());
        for (user, since) in users {
            let known = self.shared.vouched.lock().get(&user).copied();
            let local = Local::of(&self.shared, user);
            let step = step(known, local, spoken.contains(&user));
            match step {
                Step::Leave => self.leaving.begin(user, since),
                Step::Fade => self.leaving.go_on(user, since),
                Step::Nothing | Step::Write | Step::Ask => self.leaving.end(user),
            }
            match step {
                Step::Leave => left.push((user, since)),
                Step::Write => plan.here.push(user),
                Step::Ask => plan.asked.push(user),
                Step::Nothing | Step::Fade => {}
            }
        }
        self.shared.linger(&left).await;
        plan
    }

    /// Those whose grace is over.
    fn add_due(&mut self, plan: &mut Plan, grace: Duration) {
        for (user, since) in self.leaving.take(grace) {
            match Local::of(&self.shared, user) {
                None => plan.gone.push((user, since)),
                Some(Local::Away) => plan.asked.push(user),
                Some(Local::Here) => {}
            }
        }
    }

    /// Whether users whose connections here are all away have others elsewhere.
    async fn ask(&mut self, users: &[UserId], spoken: &HashSet<UserId>) -> Vec<(UserId, Availability)> {
        if users.is_empty() {
            return Vec::new();
        }
        let parts = &self.shared.parts;
        match parts.marks.find(parts.node, users).await {
            Ok(found) => found.iter().map(|found| (found.user, availability(found))).collect(),
            Err(error) => {
                tracing::debug!(%error, "who is away is found out later");
                self.put_off(users.iter().copied(), spoken);
                Vec::new()
            }
        }
    }

    async fn connected(&mut self, users: &[(UserId, Availability)], local: Local, spoken: &HashSet<UserId>) {
        let shared = Arc::clone(&self.shared);
        for some in users.chunks(USERS_PER_STATEMENT) {
            let (pool, node) = (&shared.parts.background, shared.parts.node);
            match within_deadline(repository::connected(pool, node, some)).await {
                Ok(changed) => {
                    let known = some.iter().map(|(user, _)| (*user, Known::As(local)));
                    shared.vouched.lock().extend(known);
                    if local == Local::Away {
                        self.look_again(&changed);
                    }
                    shared.tell(changed).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot write who is connected; will try again");
                    // It may have been written all the same.
                    let known = some.iter().map(|(user, _)| (*user, Known::Unsure));
                    shared.vouched.lock().extend(known);
                    self.put_off(some.iter().map(|(user, _)| *user), spoken);
                }
            }
        }
    }

    /// Nodes that ask at the same time may overtake each other: who makes a change looks whether it is still true.
    fn look_again(&self, changed: &[Standing]) {
        let spoken: HashSet<UserId> = changed.iter().map(|it| it.user).collect();
        for user in &spoken {
            self.shared.parts.registry.turnover().note(*user);
        }
        self.shared.sayings.put_back(News { marks: Vec::new(), spoken });
    }

    async fn left(&mut self, users: &[(UserId, Instant)]) {
        let shared = Arc::clone(&self.shared);
        let (parts, grace) = (&shared.parts, shared.parts.config.grace());
        for some in users.chunks(USERS_PER_STATEMENT) {
            let gone = shared.with_whether_elsewhere(some).await;
            match within_deadline(repository::left(&parts.background, parts.node, &gone, grace)).await {
                Ok(()) => {
                    // Before anybody looks: who is remembered is not taken for gone.
                    let mut vouched = shared.vouched.lock();
                    for Gone { user, .. } in &gone {
                        vouched.remove(user);
                    }
                    drop(vouched);
                    shared.lookout.expect_within(Duration::ZERO);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot write who is gone; will try again");
                    self.undone.users.extend(some.iter().copied());
                }
            }
        }
    }

    fn put_off(&mut self, users: impl Iterator<Item = UserId>, spoken: &HashSet<UserId>) {
        let (now, mut again) = (Instant::now(), HashSet::new());
        for user in users {
            self.undone.users.insert(user, now);
            again.extend(spoken.get(&user));
        }
        self.shared.sayings.put_back(News { marks: Vec::new(), spoken: again });
    }

    /// As if so much time had gone by.
    #[cfg(test)]
    pub fn let_pass(&mut self, time: Duration) {
        self.leaving.let_pass(time);
    }
}
