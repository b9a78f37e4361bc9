//! One connection, from its handshake to its end: the only task that reads from it or writes to it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::delivery::mailbox::{Farewell, Mail, Mailbox, Numbered};
use crate::delivery::membership::Membership;
use crate::delivery::registry::Registry;
use crate::delivery::settlement::Settlement;
use crate::domain::clock::SharedClock;
use crate::domain::ids::NodeId;
use crate::domain::random;
use crate::domain::tokens::Claims;
use crate::edge::auth::Authenticator;
use crate::edge::ws::Config;
use crate::edge::ws::close::Closing;
use crate::edge::ws::protocol::{self, Auth, Command, Reply, ResyncReason, WelcomeLimits};
use crate::edge::ws::replay::{Replay, Start};
use crate::edge::ws::session::{Action, Place, Receipt, Rules, Session, farewell_frame};
use crate::edge::ws::socket::{Message, ReadError, Reader, close_frame, finish};
use crate::edge::ws::wheel::Wheel;
use crate::failpoint;
use crate::shutdown::Shutdown;

/// A connection that ends gets this long to take its last bytes and to say its last word.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// After Postgres could not be read, when a connection tries again.
const CATCH_UP_RETRY: Duration = Duration::from_secs(1);

/// What all connections of a node share.
pub struct Sockets {
    pub node: NodeId,
    pub config: Config,
    pub authenticator: Arc<Authenticator>,
    pub registry: Arc<Registry>,
    pub membership: Arc<Membership>,
    pub settlement: Settlement,
    pub clock: SharedClock,
    pub shutdown: Shutdown,
    replay: Replay,
    wheel: Arc<Wheel>,
    open: AtomicUsize,
    draining: AtomicBool,
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
    /// The last seq it saw.
    pub since: Option<i64>,
    pub device: Option<String>,
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Close(Closing),
    /// The client closed, with this code.
    CloseBack(Option<u16>),
    /// There is nobody to say anything to.
    Gone,
}

/// The parts that [`Sockets::new`] puts together.
pub struct Parts {
    pub node: NodeId,
    pub config: Config,
    pub delivery: crate::delivery::Config,
    pub pool: crate::db::PgPool,
    pub authenticator: Arc<Authenticator>,
    pub registry: Arc<Registry>,
    pub membership: Arc<Membership>,
    pub settlement: Settlement,
    pub clock: SharedClock,
    pub shutdown: Shutdown,
}

impl Sockets {
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let replay = Replay {
            pool: parts.pool,
            events_max: i64::from(parts.delivery.replay_events_max),
            page_events: i64::from(parts.delivery.replay_page_events),
        };
        Arc::new(Self {
            node: parts.node,
            config: parts.config,
            authenticator: parts.authenticator,
            registry: parts.registry,
            membership: parts.membership,
            settlement: parts.settlement,
            clock: parts.clock,
            wheel: Wheel::start(&parts.shutdown),
            shutdown: parts.shutdown,
            replay,
            open: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        })
    }

    /// How many connections are open, in whatever stage.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Holds a place for one more connection, if there is one.
    pub fn admit(self: &Arc<Self>) -> Option<Admission> {
        if self.draining.load(Ordering::Relaxed) {
            return None;
        }
        let admission = Admission(Arc::clone(self));
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        // The admission gives the place back when it is dropped.
        (before < self.config.connections_max).then_some(admission)
    }

    /// Takes no new connections, and ends all others, spread over `window`, so that they do not all come
    /// back at once.
    pub async fn drain(&self, window: Duration) {
        // Before the look at the registry: a connection that is not in it yet sees this when it is.
        self.draining.store(true, Ordering::SeqCst);
        let all = self.registry.all();
        let pause = window.checked_div(u32::try_from(all.len()).unwrap_or(u32::MAX)).unwrap_or_default();
        let started = Instant::now();
        for (index, mailbox) in all.iter().enumerate() {
            mailbox.close(Farewell::Leaving);
            let due = started + pause.saturating_mul(u32::try_from(index + 1).unwrap_or(u32::MAX));
            tokio::time::sleep_until(due).await;
        }
    }

    /// Serves a connection until it ends. `leftover`: what HTTP had read beyond the handshake.
    pub async fn serve(self: Arc<Self>, mut stream: TcpStream, leftover: Bytes, hello: Hello) {
        let started = Instant::now();
        let (reading, mut writer) = stream.split();
        let mut reading = std::io::Cursor::new(leftover).chain(reading);
        let mut reader = Reader::new(&mut reading, self.config.limits());
        let end = self.converse(&mut reader, &mut writer, hello).await;
        drop(reader);
        let (code, frame) = match end {
            End::Close(closing) => (closing.code(), Some(farewell_frame(closing))),
            End::CloseBack(code) => (code.unwrap_or(1005), Some(close_back_frame(code))),
            End::Gone => (1006, None),
        };
        if frame.is_some() {
            let _timed_out = timeout(FAREWELL_TIMEOUT, finish(&mut reading, &mut writer, frame)).await;
        }
        metrics::counter!("fanlight_connections_closed_total", "code" => code.to_string()).increment(1);
        metrics::histogram!("fanlight_connection_duration_seconds").record(started.elapsed());
    }

    async fn converse<R, W>(&self, reader: &mut Reader<R>, writer: &mut W, hello: Hello) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (claims, hello) = match self.authenticate(reader, hello).await {
            Ok(authenticated) => authenticated,
            Err(end) => return end,
        };
        if self.others(&claims, hello.device.as_deref()) >= self.config.connections_per_user_max {
            return End::Close(Closing::TooManyConnections);
        }
        let bounds = self.config.bounds();
        let mailbox = Arc::new(Mailbox::new(claims.sub, claims.sid, hello.device, bounds));
        // Registered before the replay: an event committed in between would otherwise reach neither path.
        let registration = Registration { registry: &self.registry, mailbox: &mailbox };
        self.membership.enter(&mailbox).await;

        let started = Instant::now();
        let session = Session::new(self.rules(), hello.receipt, self.instant_of(&claims), started);
        let mut connection = Connection {
            sockets: self,
            mailbox: &mailbox,
            session,
            writer,
            receipt: hello.receipt,
            catch_up_at: None,
        };
        let end = match connection.run(reader, hello.since).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        tracing::info!(
            user.id = %mailbox.user, connection.id = %mailbox.connection, session.id = %mailbox.session,
            sent_seq = connection.session.sent_seq(), seconds = started.elapsed().as_secs(), end = ?end,
            "connection closed"
        );
        drop(registration);
        self.membership.leave(&mailbox).await;
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
                let limit = Duration::from_millis(self.config.auth_timeout_ms);
                let failed = Err(End::Close(Closing::AuthenticationFailed));
                let text = match timeout(limit, reader.message()).await {
                    Ok(Ok(Message::Text(text))) => text,
                    Ok(Ok(Message::Close(code))) => return Err(End::CloseBack(code)),
                    Ok(Err(ReadError::Refused(closing))) => return Err(End::Close(closing)),
                    Ok(Err(ReadError::Gone)) => return Err(End::Gone),
                    Ok(Ok(_)) | Err(_) => return failed,
                };
                let (Ok(Command::Auth(auth)), _) = protocol::parse(&text) else { return failed };
                match self.authenticator.verify(&auth.token) {
                    Ok(claims) => {
                        let since = auth.since.or(hello.since);
                        let device = auth.device.and_then(device_name).or(hello.device.clone());
                        Ok((claims, Hello { since, device, ..hello }))
                    }
                    Err(_) => failed,
                }
            }
        }
    }

    /// The user's connections here, but for those that a new one of this device replaces.
    fn others(&self, claims: &Claims, device: Option<&str>) -> usize {
        let connections = self.registry.connections_of(claims.sub);
        connections.iter().filter(|other| device.is_none() || other.device.as_deref() != device).count()
    }

    fn rules(&self) -> Rules {
        Rules {
            heartbeat: Duration::from_millis(self.config.heartbeat_ms),
            pong_timeout: Duration::from_millis(self.config.pong_timeout_ms),
            messages_per_second: self.config.messages_per_second,
            messages_burst: self.config.messages_burst,
        }
    }

    /// When these claims end, on the clock that timers use.
    fn instant_of(&self, claims: &Claims) -> Instant {
        let left = (claims.expires_at() - self.clock.now()).to_std().unwrap_or(Duration::ZERO);
        // Far enough to be no limit, near enough for the arithmetic of timers.
        Instant::now() + left.min(Duration::from_secs(365 * 24 * 3600))
    }
}

/// A device's name as clients may choose it: 1 to 191 characters, as in the device registration.
pub fn device_name(name: String) -> Option<String> {
    (1..=191).contains(&name.chars().count()).then_some(name)
}

/// RFC 6455 §5.5.1: a close frame is answered with the same code, an empty one with an empty one.
fn close_back_frame(code: Option<u16>) -> Bytes {
    code.map_or_else(|| Bytes::from_static(&[0x88, 0x00]), |code| close_frame(code, ""))
}

/// A place among the node's connections.
pub struct Admission(Arc<Sockets>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes the connection out of the registry however its task ends.
struct Registration<'a> {
    registry: &'a Registry,
    mailbox: &'a Mailbox,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.registry.remove(self.mailbox);
    }
}

enum Never {}

struct Connection<'a, W> {
    sockets: &'a Sockets,
    mailbox: &'a Arc<Mailbox>,
    session: Session,
    writer: &'a mut W,
    receipt: Receipt,
    /// Postgres could not be read: when to try again.
    catch_up_at: Option<Instant>,
}

impl<W: AsyncWrite + Unpin> Connection<'_, W> {
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut Reader<R>,
        since: Option<i64>,
    ) -> Result<Never, End> {
        // A revocation that came while this connection was not yet in the registry.
        if self.sockets.authenticator.revoked().contains(self.mailbox.session) {
            return Err(End::Close(Closing::SessionRevoked));
        }
        if self.sockets.draining.load(Ordering::SeqCst) {
            return Err(self.take_leave(Farewell::Leaving).await);
        }
        self.begin(since).await?;
        self.schedule_tick();
        let mailbox = self.mailbox;
        loop {
            let mut read = pin!(reader.message());
            let message = loop {
                // Cancel-safe: `read` is kept until it returns; `collect` takes nothing unless it returns.
                let mail = tokio::select! {
                    message = &mut read => break message,
                    mail = mailbox.collect() => mail,
                };
                self.on_mail(mail).await?;
            };
            let message = message.map_err(|error| match error {
                ReadError::Refused(closing) => End::Close(closing),
                ReadError::Gone => End::Gone,
            })?;
            let actions = self.session.on_message(message, Instant::now());
            self.perform(actions).await?;
        }
    }

    /// Says welcome, and sends what the client missed.
    async fn begin(&mut self, since: Option<i64>) -> Result<(), End> {
        let unreadable = |error: sqlx::Error| {
            tracing::warn!(%error, "cannot read what a client missed");
            End::Close(Closing::TryLater)
        };
        let (start, last_seq) =
            self.sockets.replay.start(self.mailbox.user, since).await.map_err(unreadable)?;
        if self.receipt == Receipt::Ack {
            self.write(&self.welcome(last_seq).frame()).await?;
        }
        let result = match start {
            Start::Resume { after } => {
                self.session.start_after(after);
                self.sockets.settlement.confirm(self.mailbox, after);
                if last_seq > after {
                    self.catch_up().await?;
                }
                if last_seq > after { "replayed" } else { "lossless" }
            }
            Start::Unsettled { last_seq } => {
                self.send_unsettled(last_seq).await.map_err(|failure| match failure {
                    Failure::Database(error) => unreadable(error),
                    Failure::End(end) => end,
                })?;
                "fresh"
            }
            Start::Resync { reason, last_seq } => {
                self.resync(reason, last_seq).await?;
                "resync"
            }
        };
        metrics::counter!("fanlight_resumes_total", "result" => result).increment(1);
        self.mailbox.set_sent_seq(self.session.sent_seq());
        Ok(())
    }

    fn welcome(&self, seq: i64) -> Reply<'static> {
        let config = &self.sockets.config;
        Reply::Welcome {
            connection_id: self.mailbox.connection,
            node: self.sockets.node,
            seq,
            heartbeat_ms: config.heartbeat_ms,
            limits: WelcomeLimits {
                message_bytes_max: config.message_bytes_max,
                messages_per_second: config.messages_per_second,
                messages_burst: config.messages_burst,
            },
        }
    }

    async fn send_unsettled(&mut self, last_seq: i64) -> Result<(), Failure> {
        let replay = &self.sockets.replay;
        let mut after = 0;
        let mut sent = 0;
        loop {
            let page = replay.unsettled_page(self.mailbox.user, after, last_seq).await?;
            let (Some(first), Some(last)) = (page.first(), page.last()) else { break };
            if after == 0 {
                self.session.start_after(first.seq - 1);
            }
            after = last.seq;
            sent += i64::try_from(page.len()).unwrap_or(i64::MAX);
            if sent > replay.events_max {
                self.resync(ResyncReason::TooFarBehind, last_seq).await.map_err(Failure::End)?;
                return Ok(());
            }
            self.write_events(&page).await.map_err(Failure::End)?;
        }
        if after == 0 {
            self.session.start_after(last_seq);
        }
        self.session.skip_to(last_seq);
        Ok(())
    }

    async fn resync(&mut self, reason: ResyncReason, seq: i64) -> Result<(), End> {
        metrics::counter!("fanlight_resyncs_total", "reason" => reason.as_str()).increment(1);
        self.session.start_after(seq);
        self.write(&Reply::Resync { reason, from_seq: seq }.frame()).await
    }

    async fn on_mail(&mut self, mail: Mail) -> Result<(), End> {
        if let Some(farewell) = mail.farewell {
            return Err(self.take_leave(farewell).await);
        }
        if mail.tick {
            let now = Instant::now();
            let actions = self.session.on_tick(now);
            self.perform(actions).await?;
            if self.catch_up_at.is_some_and(|at| at <= now) {
                self.catch_up().await?;
            }
            self.schedule_tick();
        }
        let next: Vec<Numbered> = self.in_order(mail.events);
        if !next.is_empty() {
            self.write_events(&next).await?;
        }
        if mail.newest_seq > self.session.sent_seq() {
            metrics::counter!("fanlight_gap_repairs_total").increment(1);
            self.catch_up().await?;
        }
        Ok(())
    }

    /// The events that directly continue what was sent; what lies behind a gap is read from Postgres.
    fn in_order(&self, events: impl IntoIterator<Item = Numbered>) -> Vec<Numbered> {
        let mut next = Vec::new();
        for event in events {
            let expected = self.session.sent_seq() + i64::try_from(next.len()).unwrap_or(i64::MAX);
            if self.session.place(event.seq) != Place::Seen && event.seq == expected + 1 {
                next.push(event);
            }
        }
        next
    }

    /// Reads from Postgres, page by page, all that comes after the last event sent.
    async fn catch_up(&mut self) -> Result<(), End> {
        let replay = &self.sockets.replay;
        loop {
            let page = match replay.page(self.mailbox.user, self.session.sent_seq()).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "cannot read what a connection lacks; will try again");
                    // Not all at once, when Postgres is just back.
                    let wait = CATCH_UP_RETRY + random::jitter(CATCH_UP_RETRY);
                    self.catch_up_at = Some(Instant::now() + wait);
                    self.schedule_tick();
                    return Ok(());
                }
            };
            self.catch_up_at = None;
            // What is pruned out of turn leaves a hole, and a hole is told.
            for run in page.chunk_by(|one, next| one.seq + 1 == next.seq) {
                if run[0].seq != self.session.sent_seq() + 1 {
                    self.resync(ResyncReason::BeyondRetention, run[0].seq - 1).await?;
                }
                self.write_events(run).await?;
            }
            // Whatever is committed from now on says so in the mailbox.
            if !replay.is_full(&page) {
                return Ok(());
            }
        }
    }

    /// Writes events that follow each other, and asks for their receipt, in one go.
    async fn write_events(&mut self, events: &[Numbered]) -> Result<(), End> {
        let Some(last) = events.last() else { return Ok(()) };
        failpoint!("before_write");
        let mut out =
            BytesMut::with_capacity(events.iter().map(|event| event.frame.len()).sum::<usize>() + 32);
        for event in events {
            out.extend_from_slice(&event.frame);
        }
        if let Some(ping) = self.session.wrote(last.seq, Instant::now()) {
            out.extend_from_slice(&ping);
        }
        // Before the write: a confirmation can only come after it.
        self.mailbox.set_sent_seq(self.session.sent_seq());
        metrics::counter!("fanlight_events_written_total").increment(events.len() as u64);
        self.write(&out).await
    }

    async fn perform(&mut self, actions: Vec<Action>) -> Result<(), End> {
        for action in actions {
            match action {
                Action::Write(bytes) => self.write(&bytes).await?,
                Action::Confirm(seq) => self.sockets.settlement.confirm(self.mailbox, seq),
                Action::Renew { auth, answer } => self.renew(&auth, &answer).await?,
                Action::Close(closing) => return Err(End::Close(closing)),
                Action::CloseBack(code) => return Err(End::CloseBack(code)),
            }
        }
        Ok(())
    }

    /// A newer token of the same session lengthens the connection's life.
    async fn renew(&mut self, auth: &Auth, answer: &[u8]) -> Result<(), End> {
        match self.sockets.authenticator.verify(&auth.token) {
            Ok(claims) if claims.sub == self.mailbox.user && claims.sid == self.mailbox.session => {
                self.session.renew(self.sockets.instant_of(&claims));
                self.schedule_tick();
                self.write(answer).await
            }
            _ => Err(End::Close(Closing::AuthenticationFailed)),
        }
    }

    async fn take_leave(&mut self, farewell: Farewell) -> End {
        if farewell == Farewell::Leaving && self.receipt == Receipt::Ack {
            let spread = Duration::from_secs(1);
            let wait = u64::try_from(random::jitter(spread).as_millis()).unwrap_or(0);
            if let Err(end) = self.write(&Reply::Draining { reconnect_after_ms: wait }.frame()).await {
                return end;
            }
        }
        End::Close(farewell.into())
    }

    /// Writes all of `bytes`, or ends the connection: nothing can follow half a frame.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let limit = Duration::from_millis(self.sockets.config.write_timeout_ms);
        let mut write = pin!(timeout(limit, self.writer.write_all(bytes)));
        // Cancel-safe: a write that is given up ends the connection.
        let farewell = tokio::select! {
            biased;
            written = &mut write => return outcome(written),
            farewell = self.mailbox.dismissed() => farewell,
        };
        match timeout(FAREWELL_TIMEOUT, write).await {
            Ok(written) => outcome(written).and(Err(End::Close(farewell.into()))),
            Err(_) => Err(End::Gone),
        }
    }

    fn schedule_tick(&self) {
        let next = self.session.next_tick();
        let next = self.catch_up_at.map_or(next, |at| at.min(next));
        self.sockets.wheel.schedule(self.mailbox, next);
    }
}

fn outcome(written: Result<std::io::Result<()>, tokio::time::error::Elapsed>) -> Result<(), End> {
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => {
            metrics::counter!("fanlight_write_timeouts_total").increment(1);
            Err(End::Gone)
        }
    }
}

enum Failure {
    Database(sqlx::Error),
    End(End),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
