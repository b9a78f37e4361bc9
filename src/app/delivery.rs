//! Starts what carries events and room changes on a node, and what others ask of it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::db::{self, Pools};
use crate::delivery::backlog;
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::fallback::Fallback;
use crate::delivery::membership::Membership;
use crate::delivery::reconcile::{BrokerHealth, Reconciler};
use crate::delivery::registry::Registry;
use crate::delivery::rooms::{self, Rooms};
use crate::delivery::route::Route;
use crate::delivery::settlement::Settlement;
use crate::delivery::sweeper::Sweeper;
use crate::domain::clock::SharedClock;
use crate::domain::ids::NodeId;
use crate::edge::ops::Health;
use crate::features::{devices, messages, presence};
use crate::ports::broker::{RedisBroker, Topics};
use crate::ports::presence::marks::RedisMarks;
use crate::ports::presence::{Presence, RedisPresence};
use crate::ports::push;
use crate::ports::redis::RedisLink;
use crate::shutdown::Shutdown;

/// The parts of delivery that others refer to.
pub struct Delivery {
    pub registry: Arc<Registry>,
    pub membership: Arc<Membership>,
    presence: Arc<dyn Presence>,
    pub settlement: Settlement,
    pub dispatcher: Dispatcher,
    topics: Arc<dyn Topics>,
    broker_health: Arc<BrokerHealth>,
    pub health: Arc<Health>,
}

impl Delivery {
    pub fn start(
        config: &Config,
        (pools, database): (&Pools, &Arc<db::Watch>),
        link: &RedisLink,
        node: NodeId,
        clock: &SharedClock,
        working: &Shutdown,
    ) -> anyhow::Result<Self> {
        let settings = &config.delivery;
        let Pools { requests, background } = pools;
        let registry = Arc::new(Registry::default());
        let broker = Arc::new(RedisBroker::new(link.clone(), node));
        let presence: Arc<dyn Presence> = Arc::new(RedisPresence::new(link.clone()));
        let broker_health = Arc::new(BrokerHealth::default());
        let gateway = push::gateway(&config.push, Arc::clone(clock))?;
        let tokens =
            Arc::new(devices::PushDevices::new(background.clone(), Arc::clone(clock), &config.devices));
        let fallback = Fallback::start(background.clone(), settings, tokens, gateway, working);
        let route = Route {
            registry: Arc::clone(&registry),
            broker: Arc::clone(&broker) as _,
            health: Arc::clone(&broker_health),
        };
        let dispatcher = Dispatcher::start(&route, &fallback, settings.dispatch_queue_events, working);
        let settlement = Settlement::new(settings.settled_by);
        let interval = Duration::from_millis(settings.settle_interval_ms);
        working.spawn(
            "delivery.settlement",
            settlement.clone().run(requests.clone(), interval, working.clone()),
        );
        let sweeper =
            Sweeper { pool: background.clone(), config: settings.clone(), route, fallback: fallback.clone() };
        working.spawn("delivery.sweeper", sweeper.run(working.clone()));
        let prune = Sweeper::prune(background.clone(), settings.clone(), working.clone());
        working.spawn("delivery.prune", prune);
        working.spawn("delivery.backlog", backlog::watch(background.clone(), working.clone()));
        let reconciler = Reconciler {
            pool: requests.clone(),
            registry: Arc::clone(&registry),
            health: Arc::clone(&broker_health),
            interval: Duration::from_millis(settings.reconcile_interval_ms),
        };
        working.spawn("delivery.reconcile", reconciler.run(working.clone()));
        let health = Health::new(Arc::clone(&broker_health), Arc::clone(&registry));
        working.spawn(
            "ops.health",
            Arc::clone(&health).watch(pools.clone(), Arc::clone(database), working.clone()),
        );
        let topics = Arc::clone(&broker) as _;
        let membership = Membership::new(
            node,
            Arc::clone(&registry),
            Arc::clone(&presence),
            broker,
            Arc::clone(&broker_health),
            fallback,
        );
        Ok(Self { registry, membership, presence, settlement, dispatcher, topics, broker_health, health })
    }

    pub fn start_rooms(&self, config: &Config, node: NodeId, pools: &Pools, working: &Shutdown) -> Rooms {
        let parts = rooms::Parts {
            node,
            config: config.delivery.rooms.clone(),
            log: Arc::new(messages::Log { pool: pools.requests.clone() }),
            topics: Arc::clone(&self.topics),
            health: Arc::clone(&self.broker_health),
        };
        Rooms::start(parts, working)
    }

    pub fn start_presence(
        &self,
        config: &Config,
        node: NodeId,
        pools: &Pools,
        link: &RedisLink,
        working: &Shutdown,
    ) -> Arc<presence::Service> {
        let parts = presence::Parts {
            node,
            config: config.presence.clone(),
            pool: pools.requests.clone(),
            background: pools.background.clone(),
            registry: Arc::clone(&self.registry),
            membership: Arc::clone(&self.membership),
            presence: Arc::clone(&self.presence),
            marks: Arc::new(RedisMarks::new(link.clone())),
            health: Arc::clone(&self.broker_health),
        };
        presence::Service::start(parts, working)
    }
}
