//! Secrets from the system's random source.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `N` unpredictable bytes.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    aws_lc_rs::rand::fill(&mut out).expect("the system's random source never fails once it is seeded");
    out
}

/// An opaque secret of 256 bits, in base64url without padding (43 characters).
#[must_use]
pub fn secret() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// A duration between zero and `max`, evenly: "full jitter", which spreads a crowd best.
#[must_use]
pub fn jitter(max: std::time::Duration) -> std::time::Duration {
    let fraction = f64::from(u32::from_be_bytes(bytes())) / f64::from(u32::MAX);
    max.mul_f64(fraction)
}
