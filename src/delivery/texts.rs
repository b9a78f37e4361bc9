//! What a push says to a person, in the language of their device.
//!
//! The texts are `config/locales/*.toml`, part of the binary. Every language has every text. A language we
//! do not speak is answered in English, and a text that this version does not know (an event from a newer
//! node, in the middle of a deployment) by a general one: a push is never lost for want of words.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// Spoken where nothing better is known.
const FALLBACK_LANGUAGE: &str = "en";
/// For an event whose own text is not known.
const FALLBACK_TEXT: &str = "generic";

const SOURCES: [(&str, &str); 4] = [
    ("en", include_str!("../../config/locales/en.toml")),
    ("es", include_str!("../../config/locales/es.toml")),
    ("da", include_str!("../../config/locales/da.toml")),
    ("vi", include_str!("../../config/locales/vi.toml")),
];

static LANGUAGES: LazyLock<Vec<(&str, Language)>> = LazyLock::new(|| {
    SOURCES
        .into_iter()
        .map(|(tag, source)| (tag, toml::from_str(source).expect("the embedded texts are tested")))
        .collect()
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Language {
    /// What stands for a placeholder that the event does not fill.
    defaults: BTreeMap<String, String>,
    texts: BTreeMap<String, Text>,
}

/// A title and a body; in the catalogue with `{placeholders}`, as an answer without.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub title: String,
    pub body: String,
}

/// The text `key` in the language of `locale`: its own variant (`pt-BR`), else its language (`pt`), else English.
#[must_use]
pub fn render(key: &str, args: &BTreeMap<String, String>, locale: &str) -> Text {
    let language = language_of(locale);
    let text = language
        .texts
        .get(key)
        .or_else(|| language.texts.get(FALLBACK_TEXT))
        .expect("every language has the general text");
    let value = |name: &str| args.get(name).or_else(|| language.defaults.get(name)).map(String::as_str);
    Text { title: fill(&text.title, value), body: fill(&text.body, value) }
}

fn language_of(locale: &str) -> &'static Language {
    let primary = locale.split('-').next().unwrap_or(locale);
    [locale, primary, FALLBACK_LANGUAGE]
        .into_iter()
        .find_map(|wanted| LANGUAGES.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(wanted)))
        .map(|(_, language)| language)
        .expect("English is embedded")
}

/// Puts values in the place of `{names}`, in one pass: a value that looks like a placeholder stays as it is.
fn fill<'v>(template: &str, value: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push_str(value(name).unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("name".to_owned(), name.to_owned())])
    }

    #[test]
    fn every_language_has_every_text_and_a_word_for_every_placeholder() {
        let keys = |language: &Language| language.texts.keys().cloned().collect::<Vec<_>>();
        let english = language_of("en");
        for (tag, language) in LANGUAGES.iter() {
            assert_eq!(keys(language), keys(english), "texts of {tag}");
            for (key, text) in &language.texts {
                let rendered = render(key, &BTreeMap::new(), tag);
                assert!(!rendered.title.is_empty() && !rendered.body.is_empty(), "{tag} {key}");
                assert!(!format!("{rendered:?}").contains("{n"), "{tag} {key}: {text:?}");
                assert!(["{name}", "{actor}"].iter().any(|it| text.title.contains(it)), "{tag} {key}");
            }
        }
    }

    #[test]
    fn the_nearest_language_is_spoken() {
        let body = |locale| render("partner_status_changed.busy", &named("Mia"), locale).body;
        assert_eq!(body("da"), "Optaget nu");
        assert_eq!(body("da-DK"), "Optaget nu");
        assert_eq!(body("VI-vn"), "Hiện đang bận");
        assert_eq!(body("pt-BR"), "Busy now");
        assert_eq!(body(""), "Busy now");
    }

    #[test]
    fn a_name_is_never_read_as_a_placeholder() {
        assert_eq!(render("partner_linked", &named("{name} {"), "en").title, "{name} {");
        assert_eq!(render("partner_linked", &BTreeMap::new(), "es").title, "Tu pareja");
    }

    #[test]
    fn an_unknown_text_still_says_something() {
        assert_eq!(render("from_the_future", &named("Mia"), "en").body, "There is news for you");
    }
}
