//! What `fuzz/` checks, in every build: its corpus, and a bounded number of changes to it, the same ones each time.
//!
//! libFuzzer sees which input reaches new code and goes on for as long as one likes; this finds what a change breaks
//! at once.

use std::panic::catch_unwind;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod targets;

const CHANGED_INPUTS: usize = 20_000;
const CHANGES_MAX: usize = 4;

#[test]
fn frames() {
    check("frames", targets::frames);
}

#[test]
fn commands() {
    check("commands", targets::commands);
}

#[test]
fn tokens() {
    check("tokens", targets::tokens);
}

fn check(target: &str, run: fn(&[u8])) {
    let corpus = corpus(target);
    assert!(corpus.len() >= 10, "the corpus of {target} is gone");
    let mut random = Random(0x5EED);
    let changed = (0..CHANGED_INPUTS).map(|_| random.changed(&corpus));
    for input in corpus.iter().cloned().chain(changed) {
        let held = catch_unwind(|| run(&input)).is_ok();
        assert!(held, "{target} fails for \"{}\"; keep it in fuzz/corpus/{target}", input.escape_ascii());
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = folder.read_dir().expect("the corpus is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).expect("readable")).collect()
}

/// `SplitMix64` (Steele et al., 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, and 0 if there is nothing less.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).expect("less than a usize")
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn changed(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.one_of(corpus).clone();
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change(&mut input, corpus);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        const TELLING: [u8; 12] = [0, 1, 0x7D, 0x7E, 0x7F, 0x80, 0xFD, 0xFE, 0xFF, b'"', b'.', b'{'];
        let (at, end) = (self.below(input.len() + 1), self.below(input.len() + 1));
        let range = at.min(end)..at.max(end);
        match self.below(6) {
            0 => input.truncate(at),
            1 => drop(input.drain(range)),
            2 => input.insert(at, *self.one_of(&TELLING)),
            3 => {
                let again = input[range].to_vec();
                input.splice(at..at, again);
            }
            4 => {
                let other = self.one_of(corpus);
                let from = self.below(other.len());
                input.splice(at.., other[from..].iter().copied());
            }
            _ if at < input.len() => input[at] ^= 1 << self.below(8),
            _ => input.push(*self.one_of(&TELLING)),
        }
    }
}
