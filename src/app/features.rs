//! Starts the features of a node, and their jobs.

use std::sync::Arc;

use tokio::sync::Notify;
use utoipa_axum::router::OpenApiRouter;

use super::attention::Screens;
use crate::config::Config;
use crate::db::Pools;
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::membership::Membership;
use crate::delivery::rooms::Rooms;
use crate::domain::clock::SharedClock;
use crate::domain::tokens::KeyRing;
use crate::edge::auth::Authenticator;
use crate::edge::ws::Handler;
use crate::features::{
    accounts, channels, devices, linking, messages, notifications, presence, rooms, status, uploads,
};
use crate::ports::throttle::Throttle;
use crate::shutdown::Shutdown;

/// What the features are started with.
pub struct Features<'a> {
    pub config: &'a Config,
    pub pools: &'a Pools,
    pub clock: &'a SharedClock,
    pub throttle: Arc<dyn Throttle>,
    pub dispatcher: &'a Dispatcher,
    pub rooms: &'a Rooms,
    pub presence: &'a Arc<presence::Service>,
    pub working: &'a Shutdown,
}

/// What they answer.
pub struct Started {
    pub routes: OpenApiRouter,
    /// Those that bound by themselves how long a request may be and take.
    pub unhurried: OpenApiRouter,
    /// On sockets.
    pub handlers: Vec<Arc<dyn Handler>>,
}

impl Features<'_> {
    /// Starts them all. `revoke` is what a revoked session means on this node.
    pub fn start(
        &self,
        keys: Arc<KeyRing>,
        authenticator: &Arc<Authenticator>,
        revoke: accounts::Announce,
        membership: &Arc<Membership>,
    ) -> anyhow::Result<Started> {
        let announce = super::announce(Arc::clone(&revoke), membership, self.working);
        let noticed = Arc::new(Notify::new());
        let messages = self.messages(Arc::clone(&noticed));
        let uploads = self.uploads()?;
        let routes = self
            .accounts(keys, announce)?
            .merge(self.linking())
            .merge(self.status())
            .merge(self.devices())
            .merge(self.channels())
            .merge(messages::routes(Arc::clone(&messages)))
            .merge(uploads::routes(Arc::clone(&uploads)))
            .merge(self.notifications(noticed))
            .merge(presence::routes(Arc::clone(self.presence)));
        self.watch_revocations(authenticator, revoke);
        let handlers: Vec<Arc<dyn Handler>> = vec![
            self.rooms(),
            Arc::new(messages::Commands::new(messages)),
            Arc::new(presence::Commands { service: Arc::clone(self.presence) }),
        ];
        Ok(Started { routes, unhurried: uploads::receiving_routes(uploads), handlers })
    }

    fn accounts(&self, keys: Arc<KeyRing>, announce: accounts::Announce) -> anyhow::Result<OpenApiRouter> {
        let service = accounts::Service::new(accounts::Settings {
            pool: self.pools.requests.clone(),
            clock: Arc::clone(self.clock),
            keys,
            throttle: Arc::clone(&self.throttle),
            announce,
            secure_cookies: self.config.is_production(),
            config: self.config.accounts.clone(),
        })?;
        let cleaning = accounts::housekeeping::run(
            self.pools.background.clone(),
            Arc::clone(self.clock),
            self.config.accounts.clone(),
            self.working.clone(),
        );
        self.working.spawn("accounts.housekeeping", cleaning);
        Ok(accounts::routes(Arc::new(service)))
    }

    fn watch_revocations(&self, authenticator: &Arc<Authenticator>, revoke: accounts::Announce) {
        let watch = accounts::revocation::Watch {
            authenticator: Arc::clone(authenticator),
            pool: self.pools.requests.clone(),
            clock: Arc::clone(self.clock),
            access_ttl: self.config.accounts.access_ttl(),
            found: revoke,
        };
        self.working.spawn("accounts.revocation", accounts::revocation::watch(watch, self.working.clone()));
    }

    fn linking(&self) -> OpenApiRouter {
        linking::routes(linking::Service::new(
            self.pools.requests.clone(),
            Arc::clone(self.clock),
            self.dispatcher.clone(),
            Arc::clone(&self.throttle),
            self.config.linking.clone(),
        ))
    }

    fn status(&self) -> OpenApiRouter {
        let service = status::Service::new(
            self.pools.requests.clone(),
            Arc::clone(self.clock),
            self.dispatcher.clone(),
            self.config.status.clone(),
        );
        let lapsing = status::run_lapse_job(Arc::clone(&service), self.working.clone());
        self.working.spawn("status.lapse", lapsing);
        status::routes(service)
    }

    fn devices(&self) -> OpenApiRouter {
        let service = devices::Service::new(
            self.pools.requests.clone(),
            Arc::clone(self.clock),
            self.config.devices.clone(),
        );
        let retiring = devices::run_stale_job(Arc::clone(&service), self.working.clone());
        self.working.spawn("devices.stale", retiring);
        devices::routes(service)
    }

    fn channels(&self) -> OpenApiRouter {
        let purging = channels::run_purge_job(
            self.pools.background.clone(),
            self.config.channels.clone(),
            self.working.clone(),
        );
        self.working.spawn("channels.purge", purging);
        channels::routes(channels::Service::new(channels::Settings {
            pool: self.pools.requests.clone(),
            clock: Arc::clone(self.clock),
            dispatcher: self.dispatcher.clone(),
            throttle: Arc::clone(&self.throttle),
            followers: Box::new(self.rooms.clone()),
            config: self.config.channels.clone(),
        }))
    }

    fn messages(&self, noticed: Arc<Notify>) -> Arc<messages::Service> {
        let settings = &self.config.messages;
        let pruning =
            messages::run_prune_job(self.pools.background.clone(), settings.clone(), self.working.clone());
        self.working.spawn("messages.prune", pruning);
        messages::Service::new(messages::Settings {
            pool: self.pools.requests.clone(),
            clock: Arc::clone(self.clock),
            dispatcher: self.dispatcher.clone(),
            audience: Box::new(self.rooms.clone()),
            throttle: Arc::clone(&self.throttle),
            noticed,
            config: settings.clone(),
        })
    }

    fn uploads(&self) -> anyhow::Result<Arc<uploads::Service>> {
        let settings = &self.config.uploads;
        let service = uploads::Service::new(uploads::Settings {
            pool: self.pools.requests.clone(),
            clock: Arc::clone(self.clock),
            throttle: Arc::clone(&self.throttle),
            blobs: settings.open()?,
            working: self.working.clone(),
            config: settings.clone(),
        });
        let sweeping = uploads::run_sweep_job(Arc::clone(&service), self.working.clone());
        self.working.spawn("uploads.sweep", sweeping);
        Ok(service)
    }

    fn notifications(&self, noticed: Arc<Notify>) -> OpenApiRouter {
        let config = &self.config.notifications;
        let teller = notifications::Teller {
            pool: self.pools.requests.clone(),
            clock: Arc::clone(self.clock),
            dispatcher: self.dispatcher.clone(),
            attention: Arc::new(Screens { presence: Arc::clone(self.presence) }),
            noticed,
            config: config.clone(),
        };
        self.working.spawn("notifications.telling", teller.run(self.working.clone()));
        let watching = notifications::watch_backlog(
            self.pools.background.clone(),
            Arc::clone(self.clock),
            self.working.clone(),
        );
        self.working.spawn("notifications.backlog", watching);
        notifications::routes(notifications::Service::new(
            self.pools.requests.clone(),
            Arc::clone(self.clock),
            Arc::clone(&self.throttle),
            config.clone(),
        ))
    }

    fn rooms(&self) -> Arc<dyn Handler> {
        let doorkeeper = Arc::new(channels::Doorkeeper { pool: self.pools.requests.clone() });
        rooms::start(self.rooms.clone(), doorkeeper, Arc::clone(self.clock), self.working)
    }
}
