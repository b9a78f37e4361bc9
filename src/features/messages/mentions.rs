//! Whom a message names with `@username`.
//!
//! Only the names are found here; who of them is a member, the database knows.

/// Usernames are so long (`features::accounts`).
const NAME_CHARS: std::ops::RangeInclusive<usize> = 3..=50;

/// The names behind `@`, in lower case, each once, at most `names_max`.
pub fn names(content: &str, names_max: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (at, _) in content.match_indices('@') {
        // Not in the middle of an e-mail address.
        if content[..at].chars().next_back().is_some_and(|before| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &content[at + 1..];
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        // A dot behind a name may end the sentence or belong to the name: both are looked for.
        let (whole, bare) = (&rest[..end], rest[..end].trim_end_matches(['.', '-', '_']));
        for name in [whole, bare] {
            let name = name.to_ascii_lowercase();
            if NAME_CHARS.contains(&name.len()) && !found.contains(&name) {
                if found.len() == names_max {
                    return found;
                }
                found.push(name);
            }
        }
    }
    found
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_where_no_name_goes_on() {
        for (content, expected) in [
            ("@mia", &["mia"][..]),
            ("hello @Mia, and (@ben_2)", &["mia", "ben_2"]),
            ("@mia @MIA", &["mia"]),
            ("ask @mia. Or @ben-", &["mia.", "mia", "ben-", "ben"]),
            ("mia@example.com", &[]),
            ("@mi @", &[]),
            ("@@mia\n@ben", &["mia", "ben"]),
            ("@mia@ben", &["mia"]),
            ("@mïa", &[]),
        ] {
            assert_eq!(names(content, 50), expected, "{content}");
        }
        assert!(names(&format!("@{}", "a".repeat(51)), 50).is_empty());
    }

    #[test]
    fn only_so_many_are_looked_for() {
        let crowd = (0..3_000).map(|number| format!("@user{number} ")).collect::<Vec<_>>().concat();
        assert_eq!(names(&crowd, 50).len(), 50);
    }
}
