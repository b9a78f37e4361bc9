//! The log: lines on standard output, written by a thread of their own.
//!
//! Whoever reads them may be slow, or stop: no connection waits for that. Lines wait in a queue instead; when it is half
//! full only warnings and errors find a place, when it is full none does, and what found none is counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde::Deserialize;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

const QUEUE_LINES_MAX: usize = 8_192;
/// What one write takes, about.
const WRITE_BYTES: usize = 64 * 1024;
/// What is still to be written when the process stops has this long.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);
const FLUSH_POLL: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Pretty,
    Json,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub format: Format,
    /// Levels by module, in the syntax of `EnvFilter`.
    pub filter: String,
}

/// Starts to write logs to standard output, until the process ends. Dropping the answer waits for what was said.
///
/// # Errors
/// When the filter is not valid, or logging was started before.
pub fn start(config: &Config) -> anyhow::Result<Logs> {
    let filter = EnvFilter::try_new(&config.filter).context("log.filter is not a valid filter")?;
    let (lines, queue) = Lines::new();
    let waiting = Arc::clone(&lines.waiting);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    let started = match config.format {
        Format::Pretty => builder.try_init(),
        // The only spans are those that bear a trace's id, never one in another.
        Format::Json => builder.json().with_span_list(false).try_init(),
    };
    started.map_err(|error| anyhow!("cannot start the log: {error}"))?;
    let (writer, written) = (io::stdout(), Arc::clone(&waiting));
    let thread = std::thread::Builder::new().name("log".into());
    thread.spawn(move || write_lines(writer, &queue, &written)).context("cannot start the log")?;
    Ok(Logs { waiting })
}

/// What was said and is not written yet.
pub struct Logs {
    waiting: Arc<AtomicUsize>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        let started = Instant::now();
        while self.waiting.load(Ordering::Acquire) > 0 && started.elapsed() < FLUSH_DEADLINE {
            std::thread::sleep(FLUSH_POLL);
        }
    }
}

/// The queue, as those see it who say something.
struct Lines {
    queue: SyncSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

impl Lines {
    fn new() -> (Self, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(QUEUE_LINES_MAX);
        (Self { queue: sender, waiting: Arc::default() }, receiver)
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Place<'a>;

    fn make_writer(&'a self) -> Place<'a> {
        Place { lines: self, max: QUEUE_LINES_MAX / 2 }
    }

    fn make_writer_for(&'a self, said: &Metadata<'_>) -> Place<'a> {
        let max = if *said.level() <= Level::WARN { QUEUE_LINES_MAX } else { QUEUE_LINES_MAX / 2 };
        Place { lines: self, max }
    }
}

/// Where one line goes, if there are not so many before it.
struct Place<'a> {
    lines: &'a Lines,
    max: usize,
}

impl Write for Place<'_> {
    /// Takes one line, whole: so the formatter gives them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let place = |waiting: usize| (waiting < self.max).then_some(waiting + 1);
        let waiting = &self.lines.waiting;
        let placed = waiting.fetch_update(Ordering::AcqRel, Ordering::Relaxed, place).is_ok();
        if !placed || self.lines.queue.try_send(line.to_vec()).is_err() {
            metrics::counter!("fanlight_log_lines_dropped_total").increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until nobody can say anything any more, many lines at a time when they come fast.
fn write_lines(mut out: impl Write, queue: &Receiver<Vec<u8>>, waiting: &AtomicUsize) {
    let mut text = Vec::with_capacity(WRITE_BYTES);
    while let Ok(line) = queue.recv() {
        text.extend_from_slice(&line);
        let mut lines = 1;
        while text.len() < WRITE_BYTES
            && let Ok(line) = queue.try_recv()
        {
            text.extend_from_slice(&line);
            lines += 1;
        }
        if out.write_all(&text).and_then(|()| out.flush()).is_err() {
            metrics::counter!("fanlight_log_lines_dropped_total").increment(lines);
        }
        text.clear();
        text.shrink_to(WRITE_BYTES);
        waiting.fetch_sub(usize::try_from(lines).unwrap_or(usize::MAX), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(lines: &Lines, max: usize, text: &str) {
        Place { lines, max }.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn what_was_said_is_written_in_order() {
        let (lines, queue) = Lines::new();
        let said: Vec<String> = (0..1_000).map(|number| format!("{number}\n")).collect();
        for line in &said {
            say(&lines, QUEUE_LINES_MAX, line);
        }
        let waiting = Arc::clone(&lines.waiting);
        drop(lines);
        let mut out = Vec::new();

        write_lines(&mut out, &queue, &waiting);

        assert_eq!((String::from_utf8(out).unwrap(), waiting.load(Ordering::Relaxed)), (said.concat(), 0));
    }

    #[test]
    fn while_nobody_reads_nobody_waits_and_errors_find_a_place_longest() {
        let (lines, queue) = Lines::new();
        (0..QUEUE_LINES_MAX).for_each(|_| say(&lines, QUEUE_LINES_MAX / 2, "news\n"));
        assert_eq!(lines.waiting.load(Ordering::Relaxed), QUEUE_LINES_MAX / 2);
        (0..QUEUE_LINES_MAX).for_each(|_| say(&lines, QUEUE_LINES_MAX, "error\n"));
        assert_eq!(lines.waiting.load(Ordering::Relaxed), QUEUE_LINES_MAX);
        assert_eq!(queue.try_iter().filter(|line| line == b"error\n").count(), QUEUE_LINES_MAX / 2);
    }
}
