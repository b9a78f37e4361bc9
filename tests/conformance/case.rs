//! One case: what a client sends, what it must get back, and how the connection must end.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fanlight::dev::echo::{self, Settings};
use fanlight::edge::ws::socket::Limits;
use fanlight::shutdown::Shutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::wire::{BINARY, CLOSE, FIN, Frame, PATIENCE, PONG, Peer, TEXT, close, read_frame};

/// The largest message of section 9.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How the bytes of a case are cut on their way.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// All at once.
    Never,
    /// Each frame is written for itself.
    Frames,
    /// After so many bytes.
    Every(usize),
}

pub struct Case {
    number: String,
    frames: Vec<Vec<u8>>,
    cut: Cut,
    answers: Vec<Frame>,
    /// The payload of the close frame that ends it.
    end: Vec<u8>,
}

impl Case {
    /// The client sends these frames and closes; they must be answered, and the close by a close.
    pub fn kept(number: impl Into<String>, mut frames: Vec<Vec<u8>>, answers: Vec<Frame>) -> Self {
        frames.push(close(1000, ""));
        Self { number: number.into(), frames, cut: Cut::Never, answers, end: 1000_u16.to_be_bytes().into() }
    }

    /// One of these frames must make the server end the connection with this code, after these answers.
    pub fn refused(number: impl Into<String>, code: u16, frames: Vec<Vec<u8>>, answers: Vec<Frame>) -> Self {
        Self { number: number.into(), frames, cut: Cut::Never, answers, end: code.to_be_bytes().into() }
    }

    /// The client closes itself, and gets a close frame with this payload.
    pub fn closed(
        number: impl Into<String>,
        frames: Vec<Vec<u8>>,
        answers: Vec<Frame>,
        end: Vec<u8>,
    ) -> Self {
        Self { number: number.into(), frames, cut: Cut::Never, answers, end }
    }

    pub fn cut(self, cut: Cut) -> Self {
        Self { cut, ..self }
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        match self.cut {
            Cut::Never => vec![self.frames.concat()],
            Cut::Frames => self.frames.clone(),
            Cut::Every(bytes) => self.frames.concat().chunks(bytes).map(<[u8]>::to_vec).collect(),
        }
    }

    async fn run(&self, server: SocketAddr) {
        let Peer { mut reader, mut writer } = Peer::connect(server).await;
        let send = async {
            for piece in self.pieces() {
                // Whom the server has refused need not be able to say more.
                if writer.write_all(&piece).await.is_err() {
                    break;
                }
            }
        };
        let receive = async {
            let mut got = Vec::new();
            while let Some(frame) = read_frame(&mut reader).await.expect("the stream ends in order") {
                got.push(frame);
            }
            got
        };
        let both = timeout(PATIENCE, async { tokio::join!(send, receive) });
        let ((), got) = both.await.unwrap_or_else(|_| panic!("case {} hangs", self.number));
        self.judge(&got);
    }

    fn judge(&self, got: &[Frame]) {
        let number = &self.number;
        let Some(((FIN_CLOSE, end), answers)) =
            got.split_last().map(|((first, end), rest)| ((*first, end), rest))
        else {
            panic!("case {number}: the last frame must be a close: {}", shown(got));
        };
        assert!(end.starts_with(&self.end), "case {number}: ends with {end:?}");
        assert_eq!(self.end.is_empty(), end.is_empty(), "case {number}: ends with {end:?}");
        assert!(
            answers == self.answers,
            "case {number}: {} instead of {}",
            shown(answers),
            shown(&self.answers)
        );
    }
}

const FIN_CLOSE: u8 = FIN | CLOSE;

fn shown(frames: &[Frame]) -> String {
    let one = |(first, payload): &Frame| {
        let beginning = payload[..payload.len().min(24)].escape_ascii();
        format!("{first:#04x} with {} bytes \"{beginning}\"", payload.len())
    };
    format!("[{}]", frames.iter().map(one).collect::<Vec<_>>().join(", "))
}

pub fn text_echo(payload: impl AsRef<[u8]>) -> Frame {
    (FIN | TEXT, payload.as_ref().to_vec())
}

pub fn binary_echo(payload: impl AsRef<[u8]>) -> Frame {
    (FIN | BINARY, payload.as_ref().to_vec())
}

pub fn pong_with(payload: impl AsRef<[u8]>) -> Frame {
    (FIN | PONG, payload.as_ref().to_vec())
}

/// An echo server that ends with the test.
pub struct Echo {
    pub address: SocketAddr,
    shutdown: Shutdown,
}

impl Echo {
    pub fn start(header_timeout: Duration) -> Self {
        let limits = Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            fragments_max: MESSAGE_BYTES_MAX / 64,
            assembly_timeout: PATIENCE * 2,
        };
        let shutdown = Shutdown::new();
        let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
        let address = echo::start(anywhere, Settings { limits, header_timeout }, &shutdown).unwrap();
        Self { address, shutdown }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

/// Runs all cases, one after the other.
pub async fn run(cases: impl IntoIterator<Item = Case>) {
    let server = Echo::start(PATIENCE);
    for case in cases {
        case.run(server.address).await;
    }
}
