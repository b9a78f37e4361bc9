//! What can be done to the cluster, and what it is promised to do about it.

use std::time::Duration;

use serde::Serialize;

/// What a network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    Slow,
    Stalled,
    HalfOpen,
    Reset,
    Cut,
}

/// The part that is broken; two faults of a pair are of different parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Node,
    Redis,
    Postgres,
    Clients,
    Fcm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    NodeKill,
    NodeFreeze,
    RollingRestart,
    RedisKill,
    RedisFreeze,
    /// `CLIENT KILL TYPE pubsub`
    RedisDropsSubscribers,
    /// `client-output-buffer-limit pubsub`, and a flood.
    RedisTinyBuffer,
    PostgresCrash,
    PostgresFreeze,
    FcmQuota,
    FcmUnavailable,
    FcmHangs,
    FcmDropsAnswers,
    /// Between clients and the load balancer, or clients and nodes.
    Clients(Wire),
    /// Between one node and Redis.
    Redis(Wire),
    /// Between one node and Postgres.
    Postgres(Wire),
}

const WIRES: [Wire; 5] = [Wire::Slow, Wire::Stalled, Wire::HalfOpen, Wire::Reset, Wire::Cut];

/// How soon after the end of a fault rooms have converged, if no goal allows more: a node compares them with Postgres
/// every ten seconds, and what was lost last may be found only then.
pub const ROOMS_CONVERGE_WITHIN: Duration = Duration::from_secs(12);

/// How soon people must have their events; measured at those who are connected whenever they can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// After the commit, while the fault lasts: shown or handed to FCM. `None`: nothing is promised.
    pub during: Option<Duration>,
    /// After the end of the fault (or the commit, if that was later).
    pub after: Duration,
}

impl Fault {
    pub fn all() -> Vec<Self> {
        let single = [
            Self::NodeKill,
            Self::NodeFreeze,
            Self::RollingRestart,
            Self::RedisKill,
            Self::RedisFreeze,
            Self::RedisDropsSubscribers,
            Self::RedisTinyBuffer,
            Self::PostgresCrash,
            Self::PostgresFreeze,
            Self::FcmQuota,
            Self::FcmUnavailable,
            Self::FcmHangs,
            Self::FcmDropsAnswers,
        ];
        let wires = [Self::Clients, Self::Redis, Self::Postgres]
            .into_iter()
            .flat_map(|way| WIRES.into_iter().map(way));
        single.into_iter().chain(wires).collect()
    }

    pub fn name(self) -> String {
        let camel = format!("{self:?}").replace(['(', ')'], "");
        let mut name = String::new();
        for (at, letter) in camel.char_indices() {
            if letter.is_ascii_uppercase() && at > 0 {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    pub fn part(self) -> Part {
        match self {
            Self::NodeKill | Self::NodeFreeze | Self::RollingRestart => Part::Node,
            Self::RedisKill
            | Self::RedisFreeze
            | Self::RedisDropsSubscribers
            | Self::RedisTinyBuffer
            | Self::Redis(_) => Part::Redis,
            Self::PostgresCrash | Self::PostgresFreeze | Self::Postgres(_) => Part::Postgres,
            Self::Clients(_) => Part::Clients,
            Self::FcmQuota | Self::FcmUnavailable | Self::FcmHangs | Self::FcmDropsAnswers => Part::Fcm,
        }
    }

    /// A node that starts needs Postgres.
    pub fn goes_with(self, other: Self) -> bool {
        let restarts = |fault| fault == Self::RollingRestart;
        let no_postgres = |fault: Self| fault.part() == Part::Postgres;
        self.part() != other.part()
            && !(restarts(self) && no_postgres(other))
            && !(restarts(other) && no_postgres(self))
    }

    /// The promptness goals of `docs/reliability.md`.
    pub fn goal(self) -> Goal {
        let goal = |during: Option<u64>, after| Goal {
            during: during.map(Duration::from_secs),
            after: Duration::from_secs(after),
        };
        match self {
            Self::NodeKill => goal(Some(20), 20),
            Self::NodeFreeze | Self::Clients(_) => goal(Some(15), 15),
            Self::RollingRestart => goal(Some(5), 5),
            Self::RedisDropsSubscribers | Self::RedisTinyBuffer => goal(Some(2), 2),
            Self::RedisKill | Self::RedisFreeze | Self::Redis(_) => goal(Some(3), 3),
            Self::PostgresCrash | Self::PostgresFreeze | Self::Postgres(_) => goal(None, 5),
            // Who is connected must not notice.
            Self::FcmQuota | Self::FcmUnavailable | Self::FcmHangs | Self::FcmDropsAnswers => {
                goal(Some(3), 3)
            }
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = || Self::all().into_iter().map(Self::name).collect::<Vec<_>>().join(" ");
        let found = Self::all().into_iter().find(|fault| fault.name() == text);
        found.ok_or_else(|| format!("`{text}` is none of: {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_that_finds_it_again() {
        let all = Fault::all();
        let names: HashSet<String> = all.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), all.len());
        assert!(names.contains("redis-half-open") && names.contains("node-kill"), "{names:?}");
        for fault in all {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
    }

    #[test]
    fn a_pair_breaks_two_parts() {
        assert!(Fault::NodeKill.goes_with(Fault::RedisKill));
        assert!(!Fault::RedisFreeze.goes_with(Fault::RedisKill));
        assert!(!Fault::RollingRestart.goes_with(Fault::PostgresFreeze));
    }
}
