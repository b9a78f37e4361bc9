//! Lists that can grow come page by page.

use crate::edge::http::{ErrorCode, Problem};

const MAX: u32 = 100;
const DEFAULT: u32 = 50;

/// How many entries a client wants of a page, if it said.
///
/// # Errors
/// 400 when it is not within 1..100.
pub fn page_limit(asked: Option<u32>) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(DEFAULT);
    if (1..=MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::new(ErrorCode::BadParameter).detail(format!("limit: 1..{MAX}")))
    }
}

/// How many entries to read for a page: whether there is one more says whether there is another page.
#[must_use]
pub fn one_more(limit: u32) -> i64 {
    i64::from(limit) + 1
}

/// Takes away what is more than a page. Returns whether there was something.
pub fn cut<T>(found: &mut Vec<T>, limit: u32) -> bool {
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    has_more
}
