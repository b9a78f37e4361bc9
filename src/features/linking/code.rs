//! The code that one person shows and the other types in.

use crate::domain::random;

/// No I, O, 0 and 1: nobody has to guess which one is meant.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// 50 bits: ten guesses a minute need 20,000 years to find one of 10,000 live codes.
const LENGTH: usize = 10;

/// A well-formed link code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkCode(String);

impl LinkCode {
    /// A new code from the system's random source. The alphabet has 32 letters, so that five bits choose
    /// one without a bias.
    #[must_use]
    pub fn generate() -> Self {
        let letter = |byte: u8| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]);
        Self(random::bytes::<LENGTH>().map(letter).iter().collect())
    }

    /// What somebody typed, trimmed and upper-cased; `None` if it cannot be a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase();
        let well_formed = text.len() == LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte));
        well_formed.then_some(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_use_the_whole_alphabet_and_nothing_else() {
        let codes: Vec<LinkCode> = (0..1000).map(|_| LinkCode::generate()).collect();
        let letters: HashSet<u8> = codes.iter().flat_map(|code| code.as_str().bytes()).collect();
        assert_eq!(letters, ALPHABET.iter().copied().collect());
        assert!(codes.iter().all(|code| LinkCode::parse(code.as_str()).as_ref() == Some(code)));
    }

    #[test]
    fn input_is_trimmed_and_upper_cased() {
        assert_eq!(LinkCode::parse(" abcde23456\n").unwrap().as_str(), "ABCDE23456");
        for wrong in ["", "ABCDE2345", "ABCDE234567", "ABCDE2345I", "ABCDE2345O", "ABCDE23450", "ABCDE2345É"]
        {
            assert_eq!(LinkCode::parse(wrong), None, "{wrong}");
        }
    }
}
