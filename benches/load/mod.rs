//! Couples who change their lights, and the arithmetic of what that took.

use fanlight::dev::people::Person;

/// A request that changes somebody's light.
pub fn change(actor: &Person, status: &str) -> Vec<u8> {
    let body = format!(r#"{{"status":"{status}"}}"#);
    format!(
        "PATCH /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        actor.token,
        body.len()
    )
    .into_bytes()
}

/// The value below which this share of all lies; NaN of none.
pub fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 samples")]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}
