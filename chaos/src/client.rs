//! One person's phone: a socket that comes back with `since`, and everything that can be wrong with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::history::{Ended, Opened, Record, Recorder, now};
use crate::memory::{Memory, Read};
use crate::moods::{Mood, Moods};
use crate::rooms::follower::Follower;
use crate::rooms::{Progress, Room};
use crate::users::User;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// A connection that was silent this long is asked whether it lives, ...
const ASK_AFTER: Duration = Duration::from_secs(4);
/// ... and given up when it says nothing to that.
const DEAD_AFTER: Duration = Duration::from_secs(8);
const ACK_DELAY_MS_MAX: u64 = 400;
const NO_CLOSE_FRAME: u16 = 1006;
/// What a polite client says.
const NORMAL: u16 = 1000;

/// What the whole run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everybody follows their habit.
    Storm,
    /// Who is connected stays so, and reads.
    Calm,
    /// Everybody comes, and fetches what they missed.
    Recall,
    Over,
}

/// What all clients share.
pub struct World {
    pub doors: Vec<SocketAddr>,
    pub recorder: Recorder,
    pub connections: AtomicU64,
    pub phase: watch::Sender<Phase>,
    pub users: Arc<Vec<User>>,
    pub rooms: Arc<Vec<Room>>,
    /// How far everybody is in their rooms.
    pub progress: Progress,
}

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub struct Client {
    world: Arc<World>,
    user: User,
    rng: fastrand::Rng,
    phase: watch::Receiver<Phase>,
    moods: Moods,
    memory: Memory,
    follower: Follower,
}

impl Client {
    pub fn new(
        world: &Arc<World>,
        user: User,
        follower: Follower,
        mut rng: fastrand::Rng,
        storm: Duration,
    ) -> Self {
        let moods = Moods::new(user.habit, rng.fork(), storm);
        let phase = world.phase.subscribe();
        let memory = Memory::new(user.index);
        Self { world: Arc::clone(world), user, rng, phase, moods, memory, follower }
    }

    /// Lives until the run is over.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let phase = *self.phase.borrow_and_update();
            if phase == Phase::Over {
                return;
            }
            if let Some(back_at) = self.moods.away_until(phase) {
                // Cancel-safe: both only wait.
                tokio::select! {
                    () = tokio::time::sleep_until(back_at) => {}
                    changed = self.phase.changed() => if changed.is_err() { return },
                }
                continue;
            }
            match self.connect(phase).await {
                Some((stream, connection)) => {
                    failures = 0;
                    let code = self.converse(stream, connection, phase).await;
                    self.follower.disconnected(&self.world.recorder);
                    let (user, at) = (self.user.index, now());
                    self.world.recorder.add(Record::Ended(Ended { user, connection, at, code }));
                }
                None => failures += 1,
            }
            let longest = BACKOFF_FIRST.saturating_mul(1 << failures.min(6)).min(BACKOFF_MAX);
            sleep(longest.mul_f64(self.rng.f64())).await;
        }
    }

    /// Opens a socket through one of the doors; `None` if it cannot.
    async fn connect(&mut self, phase: Phase) -> Option<(Stream, u64)> {
        // Half of them through the load balancer, which is the first.
        let door = if self.rng.bool() { 0 } else { self.rng.usize(0..self.world.doors.len()) };
        let recall = phase == Phase::Recall;
        let since = (self.user.resumes || recall).then(|| self.memory.complete_up_to());
        let query = since.map_or(String::new(), |since| format!("&since={since}"));
        let url = format!(
            "ws://{}/ws?token={}{query}&deviceId=phone",
            self.world.doors[door], self.user.person.token
        );
        let mut request = url.into_client_request().ok()?;
        if self.user.acks {
            request.headers_mut().insert("sec-websocket-protocol", "fanlight.v1".parse().ok()?);
        }
        let connecting = timeout(CONNECT_WITHIN, tokio_tungstenite::connect_async(request));
        let (stream, _) = connecting.await.ok()?.ok()?;
        let connection = self.world.connections.fetch_add(1, Ordering::Relaxed);
        let (user, at) = (self.user.index, now());
        self.world.recorder.add(Record::Opened(Opened { user, connection, at, since, recall }));
        self.memory.connected(connection, since);
        self.follower.connected(connection);
        Some((stream, connection))
    }

    /// Reads until the end of the connection. Returns its close code.
    async fn converse(&mut self, mut stream: Stream, connection: u64, began_in: Phase) -> u16 {
        self.moods.connected();
        let mut heard_at = Instant::now();
        let mut asked = false;
        let mut ack: Option<Instant> = None;
        loop {
            let phase = *self.phase.borrow_and_update();
            if phase == Phase::Over || (phase == Phase::Recall && began_in != phase && self.must_recall()) {
                return self.close(&mut stream).await;
            }
            let mood = self.moods.now(phase);
            match mood {
                Mood::Reads => {}
                Mood::Frozen => {
                    // Cancel-safe: both only wait.
                    tokio::select! {
                        () = tokio::time::sleep_until(self.moods.next_change()) => {}
                        _ = self.phase.changed() => {}
                    }
                    heard_at = Instant::now();
                    continue;
                }
                Mood::Leaves => return self.close(&mut stream).await,
                Mood::Vanishes => return NO_CLOSE_FRAME,
            }
            if self.speak(&mut stream, phase).await.is_err() {
                return NO_CLOSE_FRAME;
            }
            let look_at = heard_at + if asked { DEAD_AFTER } else { ASK_AFTER };
            let wake_at = ack.unwrap_or(look_at).min(look_at).min(self.moods.next_change());
            let wake_at = self.follower.due_at(phase).map_or(wake_at, |due| due.min(wake_at));
            // Cancel-safe: a stream keeps what it has read of a message, a letter stays where it is; the others only wait.
            let message = tokio::select! {
                message = stream.next() => message,
                () = tokio::time::sleep_until(wake_at) => {
                    let now = Instant::now();
                    if ack.is_some_and(|at| at <= now) {
                        ack = None;
                        let ack = format!(r#"{{"type":"ACK","seq":{}}}"#, self.memory.newest());
                        if stream.send(Message::text(ack)).await.is_err() {
                            return NO_CLOSE_FRAME;
                        }
                    }
                    if look_at <= now {
                        let dead = asked || stream.send(Message::text(r#"{"type":"PING"}"#)).await.is_err();
                        if dead {
                            return NO_CLOSE_FRAME;
                        }
                        asked = true;
                    }
                    continue;
                }
                () = self.follower.letter() => continue,
                _ = self.phase.changed() => continue,
            };
            (heard_at, asked) = (Instant::now(), false);
            match message {
                Some(Ok(Message::Text(text))) => {
                    let is_event = self.read(&text);
                    if is_event && self.user.acks && ack.is_none() {
                        ack = Some(Instant::now() + Duration::from_millis(self.rng.u64(0..ACK_DELAY_MS_MAX)));
                    }
                }
                Some(Ok(Message::Close(close))) => {
                    return close.map_or(NO_CLOSE_FRAME, |close| close.code.into());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return NO_CLOSE_FRAME,
            }
            debug_assert_eq!(self.memory.connection(), connection);
        }
    }

    /// Says what there is to say about rooms.
    async fn speak(&mut self, stream: &mut Stream, phase: Phase) -> Result<(), WsError> {
        for command in self.follower.due(phase, &self.world.recorder) {
            stream.send(Message::text(command)).await?;
        }
        Ok(())
    }

    /// Takes down what came. Returns whether it is a durable event.
    fn read(&mut self, text: &str) -> bool {
        let recorder = &self.world.recorder;
        if self.follower.read(text, recorder, &self.world.progress) {
            return false;
        }
        match self.memory.read(text) {
            Read::Event(record) => {
                recorder.add(record);
                return true;
            }
            Read::Resync(record) => recorder.add(record),
            Read::Other => {}
        }
        false
    }

    /// Whether this connection cannot bring what is missing, or never says that something is.
    fn must_recall(&self) -> bool {
        self.memory.lacks_something() || !self.user.resumes
    }

    async fn close(&self, stream: &mut Stream) -> u16 {
        // Whoever does not answer in time is left.
        let _answer = timeout(Duration::from_secs(1), stream.close(None)).await;
        NORMAL
    }
}
