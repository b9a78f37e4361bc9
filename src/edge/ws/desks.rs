//! Where the commands of a connection wait for features, one after the other, so that its events need not.
//!
//! A connection has a desk from its first such command on; one that never says anything costs nothing here. While
//! something waits, one task works at the desk. A desk that is full takes no more; what was taken is answered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::delivery::mailbox::{Farewell, Mailbox};
use crate::domain::ids::ConnectionId;
use crate::edge::ws::commands::{Answer, Call, Handler, Refusal};
use crate::edge::ws::json::FlatObject;
use crate::edge::ws::protocol::{self, CommandError, CommandErrorCode};
use crate::shutdown::Shutdown;

pub struct Desks {
    handlers: Vec<Arc<dyn Handler>>,
    queue_max: usize,
    shutdown: Shutdown,
    by_connection: Mutex<HashMap<ConnectionId, Desk>>,
}

#[derive(Default)]
struct Desk {
    waiting: VecDeque<Call>,
    is_working: bool,
    /// The connection is no more: whoever works here clears the desk.
    is_ended: bool,
}

impl Desks {
    #[must_use]
    pub fn new(handlers: Vec<Arc<dyn Handler>>, queue_max: usize, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self { handlers, queue_max, shutdown, by_connection: Mutex::default() })
    }

    /// Takes a command that is none of the edge's own. Returns the answer to one that it does not take.
    pub fn take(self: &Arc<Self>, mailbox: &Arc<Mailbox>, text: String) -> Option<Bytes> {
        let Some(name) = self.name_of(&text) else {
            count("none", "unknown");
            return Some(refused(&text, CommandError::Unknown.into()));
        };
        let mut desks = self.by_connection.lock();
        let desk = desks.entry(mailbox.connection).or_default();
        if desk.waiting.len() >= self.queue_max {
            drop(desks);
            count(name, "busy");
            let message = "So many commands of this connection wait already";
            return Some(refused(&text, Refusal::new(CommandErrorCode::TooManyCommands, message)));
        }
        desk.waiting.push_back(Call::new(mailbox, name, text));
        let was_working = std::mem::replace(&mut desk.is_working, true);
        drop(desks);
        if !was_working {
            self.shutdown.spawn_light(Arc::clone(self).work(Arc::clone(mailbox)));
        }
        None
    }

    /// The command's `type`, if a feature handles it.
    fn name_of(&self, text: &str) -> Option<&'static str> {
        let kind: String = FlatObject::read(text)?.field("type").ok()??;
        let mut names = self.handlers.iter().flat_map(|handler| handler.names());
        names.find(|name| **name == kind).copied()
    }

    fn handler_of(&self, name: &str) -> Option<&Arc<dyn Handler>> {
        self.handlers.iter().find(|handler| handler.names().contains(&name))
    }

    /// The connection has ended.
    pub fn end(&self, mailbox: &Arc<Mailbox>) {
        let mut desks = self.by_connection.lock();
        let Some(desk) = desks.get_mut(&mailbox.connection) else { return };
        desk.is_ended = true;
        desk.waiting.clear();
        if !desk.is_working {
            drop(desks);
            self.clear(mailbox);
        }
    }

    fn clear(&self, mailbox: &Arc<Mailbox>) {
        self.by_connection.lock().remove(&mailbox.connection);
        for handler in &self.handlers {
            handler.ended(mailbox);
        }
    }

    async fn work(self: Arc<Self>, mailbox: Arc<Mailbox>) {
        let mut working = Working { desks: &self, mailbox: &mailbox, is_done: false };
        while let Some(call) = self.next(&mailbox) {
            let (Some(handler), started) = (self.handler_of(call.name), Instant::now()) else { continue };
            let result = handler.handle(&call).await;
            count(call.name, if result.is_ok() { "ok" } else { "refused" });
            metrics::histogram!("fanlight_command_duration_seconds", "command" => call.name.to_lowercase())
                .record(started.elapsed());
            match result {
                Ok(Answer::Frame(frame)) => mailbox.answer(frame),
                Ok(Answer::Given) => {}
                Err(refusal) => mailbox.answer(call.refused(refusal)),
            }
        }
        working.is_done = true;
    }

    /// What is to be done next, or nothing for now.
    fn next(&self, mailbox: &Arc<Mailbox>) -> Option<Call> {
        let mut desks = self.by_connection.lock();
        let desk = desks.get_mut(&mailbox.connection)?;
        if let Some(call) = desk.waiting.pop_front() {
            return Some(call);
        }
        // An idle desk keeps no room for commands.
        desk.waiting = VecDeque::new();
        desk.is_working = false;
        if desk.is_ended {
            drop(desks);
            self.clear(mailbox);
        }
        None
    }
}

/// Clears the desk of a connection whose command broke off: that ends the connection.
struct Working<'a> {
    desks: &'a Desks,
    mailbox: &'a Arc<Mailbox>,
    is_done: bool,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.mailbox.close(Farewell::Leaving);
            self.desks.clear(self.mailbox);
        }
    }
}

fn refused(text: &str, refusal: Refusal) -> Bytes {
    let object = FlatObject::read(text);
    let reference = object.as_ref().and_then(|object| protocol::reference(object).ok().flatten());
    refusal.frame(reference)
}

fn count(name: &'static str, result: &'static str) {
    metrics::counter!("fanlight_commands_total", "command" => name.to_lowercase(), "result" => result)
        .increment(1);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;
    use crate::delivery::mailbox::Bounds;
    use crate::domain::ids::{SessionId, UserId};

    const PATIENCE: Duration = Duration::from_secs(20);
    const QUEUE_MAX: usize = 4;

    /// Answers when it may, in the order of the permits.
    struct Slow {
        permits: Semaphore,
        ended: AtomicUsize,
    }

    #[async_trait]
    impl Handler for Slow {
        fn names(&self) -> &'static [&'static str] {
            &["SLOW", "BROKEN"]
        }

        async fn handle(&self, call: &Call) -> Result<Answer, Refusal> {
            assert_ne!(call.name, "BROKEN");
            self.permits.acquire().await.unwrap().forget();
            let number: i64 = call.fields()?.needed("number")?;
            Ok(Answer::Frame(call.ok(&serde_json::json!({"number": number}))))
        }

        fn ended(&self, _: &Arc<Mailbox>) {
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn desks() -> (Arc<Desks>, Arc<Slow>, Arc<Mailbox>) {
        let slow = Arc::new(Slow { permits: Semaphore::new(0), ended: AtomicUsize::new(0) });
        let bounds = Bounds { frames_max: 100, bytes_max: 10_000 };
        let mailbox = Mailbox::new(UserId::generate(), SessionId::generate(), None, bounds);
        (Desks::new(vec![Arc::clone(&slow) as _], QUEUE_MAX, Shutdown::new()), slow, Arc::new(mailbox))
    }

    fn say(desks: &Arc<Desks>, mailbox: &Arc<Mailbox>, number: usize) -> Option<Bytes> {
        desks.take(mailbox, format!(r#"{{"type":"SLOW","number":{number},"ref":{number}}}"#))
    }

    async fn answers(mailbox: &Mailbox, count: usize) -> Vec<String> {
        let mut answers = Vec::new();
        while answers.len() < count {
            let mail = timeout(PATIENCE, mailbox.collect()).await.expect("an answer comes");
            assert_eq!(mail.farewell, None);
            let frames = mail.notices.iter().map(|notice| notice.frame[2..].to_vec());
            answers.extend(frames.map(|frame| String::from_utf8(frame).unwrap()));
        }
        answers
    }

    async fn until_ended(slow: &Slow) {
        let ended = async {
            while slow.ended.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, ended).await.expect("the handler hears of it");
    }

    #[tokio::test]
    async fn commands_are_handled_one_after_the_other_and_answered() {
        let (desks, slow, mailbox) = desks();
        for number in 0..QUEUE_MAX {
            assert_eq!(say(&desks, &mailbox, number), None);
        }
        slow.permits.add_permits(QUEUE_MAX);
        let answers = answers(&mailbox, QUEUE_MAX).await;
        let expected = |number| format!(r#"{{"type":"OK","ref":{number},"number":{number}}}"#);
        assert_eq!(answers, (0..QUEUE_MAX).map(expected).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_nobody_handles_and_what_is_too_much_is_refused_at_once() {
        let (desks, _slow, mailbox) = desks();
        let unknown = desks.take(&mailbox, r#"{"type":"NOPE","ref":1}"#.into()).unwrap();
        assert!(unknown.ends_with(br#""ref":1}"#), "{unknown:?}");
        assert!(desks.by_connection.lock().is_empty(), "it costs nothing");

        let taken = (0..QUEUE_MAX * 2).take_while(|number| say(&desks, &mailbox, *number).is_none()).count();
        assert_eq!(taken, QUEUE_MAX);
        let refusal = say(&desks, &mailbox, 7).unwrap();
        let refusal: serde_json::Value = serde_json::from_slice(&refusal[2..]).unwrap();
        assert_eq!((&refusal["code"], &refusal["ref"]), (&"too_many_commands".into(), &7.into()));
    }

    #[tokio::test]
    async fn a_command_counts_as_memory_until_it_is_done_or_given_up() {
        let (desks, slow, mailbox) = desks();
        let bytes = r#"{"type":"SLOW","number":1,"ref":1}"#.len();
        for number in 1..=3 {
            say(&desks, &mailbox, number);
        }
        assert_eq!(mailbox.weight(), 3 * bytes);
        slow.permits.add_permits(1);
        answers(&mailbox, 1).await;
        tokio::task::yield_now().await;
        assert_eq!(mailbox.weight(), 2 * bytes, "one is being handled, and one waits");
        desks.end(&mailbox);
        assert_eq!(mailbox.weight(), bytes);
        slow.permits.add_permits(1);
        until_ended(&slow).await;
        answers(&mailbox, 1).await;
        assert_eq!(mailbox.weight(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_ends_is_cleared_once_after_its_last_command() {
        let (desks, slow, mailbox) = desks();
        desks.end(&mailbox);
        assert_eq!(slow.ended.load(Ordering::SeqCst), 0, "it never said anything");

        say(&desks, &mailbox, 1);
        say(&desks, &mailbox, 2);
        tokio::task::yield_now().await;
        desks.end(&mailbox);
        assert_eq!(slow.ended.load(Ordering::SeqCst), 0, "the first is being handled");
        slow.permits.add_permits(2);
        until_ended(&slow).await;
        assert_eq!((slow.permits.available_permits(), slow.ended.load(Ordering::SeqCst)), (1, 1));
        assert!(desks.by_connection.lock().is_empty());
    }

    #[tokio::test]
    async fn an_idle_connection_that_ends_is_cleared_at_once() {
        let (desks, slow, mailbox) = desks();
        slow.permits.add_permits(1);
        say(&desks, &mailbox, 1);
        answers(&mailbox, 1).await;
        tokio::task::yield_now().await;
        desks.end(&mailbox);
        until_ended(&slow).await;
        assert!(desks.by_connection.lock().is_empty());
    }

    #[tokio::test]
    async fn a_command_that_panics_ends_its_connection() {
        let (desks, slow, mailbox) = desks();
        desks.take(&mailbox, r#"{"type":"BROKEN"}"#.into());
        until_ended(&slow).await;
        assert_eq!(mailbox.collect().await.farewell, Some(Farewell::Leaving));
        assert!(desks.by_connection.lock().is_empty());
    }
}
