//! What all connections of a node share, and how one of them begins and ends.
//!
//! A connection is counted from its handshake on, is in the registry from its authentication on, and leaves
//! both however its task ends. Once the node drains, nobody new comes in, at whatever stage they are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::db::EpochId;
use crate::delivery::budget::{Budget, Share};
use crate::delivery::mailbox::{Farewell, Mailbox};
use crate::delivery::membership::Membership;
use crate::delivery::outbox::Cursor;
use crate::delivery::registry::Registry;
use crate::delivery::settlement::Settlement;
use crate::domain::clock::SharedClock;
use crate::domain::ids::NodeId;
use crate::domain::random;
use crate::domain::tokens::Claims;
use crate::edge::auth::Authenticator;
use crate::edge::ws::Config;
use crate::edge::ws::admission::{Admission, Door};
use crate::edge::ws::close::Closing;
use crate::edge::ws::commands::Handler;
use crate::edge::ws::connection::{Connection, End};
use crate::edge::ws::continued::Continued;
use crate::edge::ws::desks::Desks;
use crate::edge::ws::meter::Meter;
use crate::edge::ws::protocol::{self, Command};
use crate::edge::ws::registration::Registration;
use crate::edge::ws::replay::Replay;
use crate::edge::ws::session::{Receipt, Rules, Session};
use crate::edge::ws::socket::{Message, Reader, close_back_frame, farewell};
use crate::edge::ws::traffic::Traffic;
use crate::edge::ws::wheel::Wheel;
use crate::shutdown::Shutdown;

/// All connections of a node.
pub struct Sockets {
    pub parts: Parts,
    pub wheel: Arc<Wheel>,
    pub door: Arc<Door>,
    pub desks: Arc<Desks>,
    pub traffic: Traffic,
}

/// What all connections of a node share.
pub struct Parts {
    pub node: NodeId,
    pub config: Config,
    pub authenticator: Arc<Authenticator>,
    pub registry: Arc<Registry>,
    pub membership: Arc<Membership>,
    pub settlement: Settlement,
    pub budget: Arc<Budget>,
    pub replay: Replay,
    /// What features do when clients say so.
    pub handlers: Vec<Arc<dyn Handler>>,
    pub clock: SharedClock,
    pub shutdown: Shutdown,
}

/// What a client showed in its handshake.
#[derive(Clone, Debug)]
pub enum Credentials {
    Valid(Claims),
    Missing,
    Invalid,
    /// It will send `AUTH` as its first frame.
    Awaited,
}

/// What a client asked for in its handshake.
#[derive(Clone, Debug)]
pub struct Hello {
    pub credentials: Credentials,
    pub receipt: Receipt,
    pub seen: Cursor,
    pub device: Option<String>,
}

impl Sockets {
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let wheel = Wheel::start(&parts.shutdown);
        let door = Door::new(&parts.config, Arc::clone(&parts.budget));
        let (queue_max, shutdown) = (parts.config.commands_queued_max, parts.shutdown.clone());
        let desks = Desks::new(parts.handlers.clone(), queue_max, shutdown);
        Arc::new(Self { parts, wheel, door, desks, traffic: Traffic::new() })
    }

    /// How many connections are open, in whatever stage.
    #[must_use]
    pub fn open(&self) -> usize {
        self.door.open()
    }

    /// Ends all connections, spread over `window`, so that they do not all come back at once.
    pub async fn drain(&self, window: Duration) {
        // Before the look at the registry: who comes later sees it, who came earlier is in there.
        self.door.close();
        let all = self.parts.registry.all();
        let pause = window.checked_div(u32::try_from(all.len()).unwrap_or(u32::MAX)).unwrap_or_default();
        let started = Instant::now();
        for (index, mailbox) in all.iter().enumerate() {
            mailbox.close(Farewell::Leaving);
            let due = started + pause.saturating_mul(u32::try_from(index + 1).unwrap_or(u32::MAX));
            tokio::time::sleep_until(due).await;
        }
    }

    /// Serves a connection until it ends. `leftover`: what HTTP had read beyond the handshake.
    pub async fn serve(
        self: Arc<Self>,
        mut stream: TcpStream,
        leftover: Bytes,
        hello: Hello,
        mut admission: Admission,
    ) {
        let started = Instant::now();
        let (reading, mut writer) = stream.split();
        // From the first byte on: also who is still a stranger takes memory.
        let share = Share::of(&self.parts.budget);
        let mut reading = Continued::new(leftover, reading, &share);
        let mut reader = Reader::new(&mut reading, self.parts.config.limits(), share);
        let end = self.converse(&mut reader, &mut writer, hello, &mut admission).await;
        drop(reader);
        // A client may choose among thousands of codes; a label must not.
        let (code, frame) = match end {
            End::Close(closing) => (closing.code().to_string(), Some(closing.frame())),
            End::CloseBack(code) => (end.reason().to_owned(), Some(close_back_frame(code))),
            End::Gone => (end.reason().to_owned(), None),
        };
        if let Some(frame) = frame {
            farewell(&mut reading, &mut writer, frame).await;
        }
        self.traffic.ended(code, end.reason(), started.elapsed());
    }

    async fn converse<R, W>(
        &self,
        reader: &mut Reader<R>,
        writer: &mut W,
        hello: Hello,
        admission: &mut Admission,
    ) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        // In a box: most of a connection's life comes after it.
        let (claims, hello) = match Box::pin(self.authenticate(reader, hello)).await {
            Ok(authenticated) => authenticated,
            Err(end) => return end,
        };
        let known_at = Instant::now();
        admission.know();
        let bounds = self.parts.config.bounds();
        let mailbox = Mailbox::new(claims.sub, claims.sid, hello.device, bounds);
        let mailbox = Arc::new(mailbox.within(Arc::clone(reader.share())));
        // Registered before the replay: an event committed in between would otherwise reach neither path.
        let registration = Registration { sockets: self, mailbox: &mailbox };
        let per_user_max = self.parts.config.connections_per_user_max;
        if self.parts.membership.enter(&mailbox, per_user_max).await.is_err() {
            return End::Close(Closing::TooManyConnections);
        }
        if self.door.is_closed() {
            mailbox.close(Farewell::Leaving);
        }

        let started = Instant::now();
        let session = Session::new(self.rules(), hello.receipt, self.instant_of(&claims), started);
        let mut connection = Connection {
            sockets: self,
            meter: Meter::new(&self.traffic),
            beginning: admission.take_beginning(),
            known_at,
            asked_at: None,
            mailbox: &mailbox,
            session,
            writer,
            receipt: hello.receipt,
            catch_up_at: None,
            epoch: None,
            takeovers: 0,
        };
        let end = match connection.run(reader, hello.seen).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        connection.meter.tell(&mailbox, end, connection.session.sent_seq(), started.elapsed());
        drop(registration);
        if self.door.is_closed() {
            self.parts.membership.depart(&mailbox).await;
        } else {
            self.parts.membership.leave(&mailbox).await;
        }
        end
    }

    /// Who the client is; it may still have to say so in its first frame.
    async fn authenticate<R: AsyncRead + Unpin>(
        &self,
        reader: &mut Reader<R>,
        hello: Hello,
    ) -> Result<(Claims, Hello), End> {
        match hello.credentials.clone() {
            Credentials::Valid(claims) => Ok((claims, hello)),
            Credentials::Missing => Err(End::Close(Closing::MissingToken)),
            Credentials::Invalid => Err(End::Close(Closing::InvalidToken)),
            Credentials::Awaited => {
                let limits = self.parts.config.limits();
                reader.allow(limits.of_strangers());
                let limit = Duration::from_millis(self.parts.config.auth_timeout_ms);
                let failed = Err(End::Close(Closing::AuthenticationFailed));
                let Ok(message) = timeout(limit, reader.message()).await else { return failed };
                let message = message?;
                self.traffic.received(&message);
                let text = match message {
                    Message::Text(text) => text,
                    Message::Close(code) => return Err(End::CloseBack(code)),
                    _ => return failed,
                };
                let (Ok(Command::Auth(auth)), _) = protocol::parse(&text) else { return failed };
                match self.parts.authenticator.verify(&auth.token) {
                    Ok(claims) => {
                        reader.allow(limits);
                        let since = auth.since.or(hello.seen.since);
                        let epoch = auth.epoch.map(EpochId).or(hello.seen.epoch);
                        let seen = Cursor { since, epoch };
                        let device = auth.device.and_then(device_name).or(hello.device.clone());
                        Ok((claims, Hello { seen, device, ..hello }))
                    }
                    Err(_) => failed,
                }
            }
        }
    }

    fn rules(&self) -> Rules {
        let age_max = Duration::from_millis(self.parts.config.age_max_ms);
        Rules {
            heartbeat: Duration::from_millis(self.parts.config.heartbeat_ms),
            pong_timeout: Duration::from_millis(self.parts.config.pong_timeout_ms),
            // Not together with all others of a rush.
            age_max: age_max + random::jitter(age_max / 10),
            rates: self.parts.config.rates(),
        }
    }

    /// When these claims end, on the clock that timers use.
    pub fn instant_of(&self, claims: &Claims) -> Instant {
        let left = (claims.expires_at() - self.parts.clock.now()).to_std().unwrap_or(Duration::ZERO);
        // Far enough to be no limit, near enough for the arithmetic of timers.
        Instant::now() + left.min(Duration::from_secs(365 * 24 * 3600))
    }
}

/// A device's name as clients may choose it: 1 to 191 characters, as in the device registration.
pub fn device_name(name: String) -> Option<String> {
    (1..=191).contains(&name.chars().count()).then_some(name)
}
