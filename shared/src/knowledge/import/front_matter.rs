//! The block of settings at the beginning of a file: YAML between `---` lines or TOML between `+++` lines.

use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::document::ParseError;
use crate::knowledge::{Difficulty, Locale, Status};

/// What an author said about an article besides its text. Keys are read in any case, with `-` or `_`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FrontMatter {
    pub title: Option<String>,
    pub slug: Option<String>,
    /// From `summary`, else `description`. Beside a `summary`, `description` is one of the other keys.
    pub summary: Option<String>,
    /// Outermost first: `category: [Guides, Orders]`, or `category: Guides > Orders`. Empty when there is none.
    pub category: Vec<String>,
    /// In order, each once.
    pub tags: Vec<String>,
    pub difficulty: Option<Difficulty>,
    pub target_roles: Option<Vec<String>>,
    /// A language tag such as `pt-BR`; its form is checked, not whether the language is known.
    pub locale: Option<String>,
    /// `draft: true`, as Hugo and Docusaurus write it, counts as draft too.
    pub status: Option<Status>,
    pub review_due: Option<NaiveDate>,
    /// All other keys as written.
    pub extra: Map<String, Value>,
}

const MAX_FRONT_MATTER_BYTES: usize = 64 * 1024;
const MAX_TAGS: usize = 50;

/// The front matter of a file and the text behind it. A file without front matter is all text.
pub(super) fn split(text: &str) -> Result<(FrontMatter, &str), ParseError> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let delimiter = match first.trim_end() {
        "---" => "---",
        "+++" => "+++",
        _ => return Ok((FrontMatter::default(), text)),
    };
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == delimiter || (delimiter == "---" && line.trim_end() == "...") {
            let body = &rest[at + line.len()..];
            return match parse(&rest[..at], delimiter)? {
                Some(front_matter) => Ok((front_matter, body)),
                None => Ok((FrontMatter::default(), text)),
            };
        }
        at += line.len();
    }
    // An opening line alone is a thematic break.
    Ok((FrontMatter::default(), text))
}

/// None when the block is no mapping at all: text between two thematic breaks.
fn parse(source: &str, delimiter: &str) -> Result<Option<FrontMatter>, ParseError> {
    if source.len() > MAX_FRONT_MATTER_BYTES {
        return Err(ParseError::FrontMatter(format!("it is longer than {} KB", MAX_FRONT_MATTER_BYTES / 1024)));
    }
    let value = if delimiter == "+++" { toml_value(source)? } else { yaml_value(source)? };
    match value {
        Value::Null => Ok(Some(FrontMatter::default())),
        Value::Object(keys) => read(keys).map(Some),
        _ if !source.contains(':') => Ok(None),
        _ => Err(ParseError::FrontMatter("it must consist of `key: value` lines".to_owned())),
    }
}

/// YAML as JSON.
pub(in crate::knowledge) fn yaml(source: &str) -> Result<Value, String> {
    yaml_value(source).map_err(|error| error.to_string())
}

fn yaml_value(source: &str) -> Result<Value, ParseError> {
    // Comments alone are an empty document.
    if source.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Value::Null);
    }
    // Copies made through aliases are what makes a small file expand to gigabytes; settings need none.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_aliases: 64, max_nodes: 10_000, max_depth: 32, max_documents: 1 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 10_000 },
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(source, options)
        .map_err(|error| ParseError::FrontMatter(format!("it is not valid YAML: {}", one_line(&error.to_string()))))
}

fn toml_value(source: &str) -> Result<Value, ParseError> {
    let invalid = |message: &str| ParseError::FrontMatter(format!("it is not valid TOML: {}", one_line(message)));
    let table: toml::Table = toml::from_str(source).map_err(|error| invalid(error.message()))?;
    Ok(from_toml(toml::Value::Table(table)))
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, from_toml(value))).collect(),
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read(keys: Map<String, Value>) -> Result<FrontMatter, ParseError> {
    let mut front_matter = FrontMatter::default();
    let mut description = None;
    let mut is_draft = false;
    for (key, value) in keys {
        if value.is_null() {
            continue;
        }
        match key.to_ascii_lowercase().replace('-', "_").as_str() {
            "title" => front_matter.title = Some(text(&key, &value)?),
            "slug" => front_matter.slug = Some(text(&key, &value)?),
            "summary" => front_matter.summary = Some(text(&key, &value)?),
            "description" => description = Some((text(&key, &value)?, key, value)),
            "category" => front_matter.category = category(&key, &value)?,
            "tags" => front_matter.tags = list(&key, &value)?,
            "difficulty" => front_matter.difficulty = Some(difficulty(&key, &value)?),
            "target_roles" => front_matter.target_roles = Some(list(&key, &value)?),
            "locale" => front_matter.locale = Some(locale(&key, &value)?),
            "status" => front_matter.status = Some(status(&key, &value)?),
            "draft" => is_draft = value.as_bool().ok_or_else(|| wrong(&key, &value, "true or false"))?,
            "review_due" => front_matter.review_due = Some(date(&key, &value)?),
            _ => drop(front_matter.extra.insert(key, value)),
        }
    }
    if let Some((text, key, value)) = description {
        if front_matter.summary.is_none() {
            front_matter.summary = Some(text);
        } else {
            front_matter.extra.insert(key, value);
        }
    }
    front_matter.status = front_matter.status.or(is_draft.then_some(Status::Draft));
    Ok(front_matter)
}

fn text(key: &str, value: &Value) -> Result<String, ParseError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        // `1.10` has already lost its zero.
        Value::Number(_) => Err(wrong(key, value, "a text; put a number with a point in quotes")),
        _ => Err(wrong(key, value, "a text")),
    }
}

/// A list of texts, or one text with commas. Each item once.
fn list(key: &str, value: &Value) -> Result<Vec<String>, ParseError> {
    let items = match value {
        Value::String(items) => items.split(',').map(str::to_owned).collect(),
        Value::Number(_) => vec![text(key, value)?],
        Value::Array(items) => items.iter().map(|item| text(key, item)).collect::<Result<Vec<_>, _>>()?,
        _ => return Err(wrong(key, value, "a list of texts, or one text with commas")),
    };
    let mut kept: Vec<String> = Vec::new();
    for item in items.iter().map(|item| one_line(item)).filter(|item| !item.is_empty()) {
        if !kept.contains(&item) {
            kept.push(item);
        }
        if kept.len() > MAX_TAGS {
            return Err(wrong(key, value, &format!("at most {MAX_TAGS} entries")));
        }
    }
    Ok(kept)
}

fn category(key: &str, value: &Value) -> Result<Vec<String>, ParseError> {
    let path: Vec<String> = match value {
        Value::Array(levels) => levels.iter().map(|level| text(key, level)).collect::<Result<_, _>>()?,
        Value::String(path) => path.split('>').map(str::to_owned).collect(),
        Value::Number(_) => vec![text(key, value)?],
        _ => return Err(wrong(key, value, "a text, or a list of texts from the outermost category inwards")),
    };
    Ok(path.iter().map(|level| one_line(level)).filter(|level| !level.is_empty()).collect())
}

fn difficulty(key: &str, value: &Value) -> Result<Difficulty, ParseError> {
    match value.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("beginner") => Ok(Difficulty::Beginner),
        Some("intermediate") => Ok(Difficulty::Intermediate),
        Some("advanced") => Ok(Difficulty::Advanced),
        _ => Err(wrong(key, value, "beginner, intermediate or advanced")),
    }
}

fn status(key: &str, value: &Value) -> Result<Status, ParseError> {
    match value.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("draft") => Ok(Status::Draft),
        Some("review") => Ok(Status::Review),
        Some("published") => Ok(Status::Published),
        Some("archived") => Ok(Status::Archived),
        _ => Err(wrong(key, value, "draft, review, published or archived")),
    }
}

fn locale(key: &str, value: &Value) -> Result<String, ParseError> {
    let tag = value.as_str().map(|tag| tag.trim().replace('_', "-"));
    tag.filter(|tag| tag.parse::<Locale>().is_ok())
        .ok_or_else(|| wrong(key, value, "a language tag such as en or pt-BR"))
}

/// A date, or the date of a point in time.
fn date(key: &str, value: &Value) -> Result<NaiveDate, ParseError> {
    let written = value.as_str().map(|date| date.trim().split(['T', ' ']).next().unwrap_or_default());
    written
        .and_then(|date| NaiveDate::parse_from_str(date, "%Y-%m-%d").ok())
        .ok_or_else(|| wrong(key, value, "a date such as 2027-03-31"))
}

fn wrong(key: &str, value: &Value, expected: &str) -> ParseError {
    const MAX_CHARS: usize = 60;
    let mut found = value.to_string();
    if let Some((end, _)) = found.char_indices().nth(MAX_CHARS) {
        found.truncate(end);
        found.push('…');
    }
    ParseError::Key { key: key.to_owned(), found, expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> FrontMatter {
        split(text).map(|(front_matter, _)| front_matter).expect("front matter is valid")
    }

    fn message(text: &str) -> String {
        split(text).map_or_else(|error| error.to_string(), |(front_matter, _)| format!("no error: {front_matter:?}"))
    }

    #[test]
    fn yaml_and_toml_say_the_same() {
        let yaml = "---\nTitle: Refunds\nslug: refunds\nsummary: How to\ncategory: Guides > Orders\ntags: [money, 'two words']\n\
            difficulty: Beginner\ntarget-roles: agent, admin\nlocale: pt_BR\nstatus: review\nreview_due: 2027-01-31\nweight: 3\n---\nBody\n";
        let toml = "+++\ntitle = \"Refunds\"\nslug = \"refunds\"\nsummary = \"How to\"\ncategory = [\"Guides\", \"Orders\"]\n\
            tags = \"money, two words\"\ndifficulty = \"BEGINNER\"\ntarget_roles = [\"agent\", \"admin\"]\nlocale = \"pt-BR\"\n\
            status = \"REVIEW\"\nreview_due = 2027-01-31\nweight = 3\n+++\nBody\n";
        let front_matter = read_all(yaml);
        assert_eq!(read_all(toml), front_matter);
        assert_eq!(front_matter.category, ["Guides", "Orders"]);
        assert_eq!(front_matter.tags, ["money", "two words"]);
        assert_eq!(front_matter.difficulty.map(Difficulty::as_str), Some("BEGINNER"));
        assert_eq!(front_matter.target_roles, Some(vec!["agent".to_owned(), "admin".to_owned()]));
        assert_eq!(front_matter.locale.as_deref(), Some("pt-BR"));
        assert_eq!(front_matter.status.map(Status::as_str), Some("REVIEW"));
        assert_eq!(front_matter.review_due, NaiveDate::from_ymd_opt(2027, 1, 31));
        assert_eq!(Value::Object(front_matter.extra), serde_json::json!({"weight": 3}));
        assert_eq!(split(yaml).map(|(_, body)| body).ok(), Some("Body\n"));
    }

    #[test]
    fn a_description_is_the_summary_of_files_that_have_no_other() {
        let alone = read_all("---\ndescription: How to\n---\n");
        assert_eq!((alone.summary.as_deref(), alone.extra.len()), (Some("How to"), 0));
        for text in ["---\nsummary: Short\nDescription: Long\n---\n", "---\nDescription: Long\nsummary: Short\n---\n"] {
            let both = read_all(text);
            assert_eq!(both.summary.as_deref(), Some("Short"));
            assert_eq!(Value::Object(both.extra), serde_json::json!({"Description": "Long"}));
        }
    }

    #[test]
    fn files_without_front_matter_are_all_text() {
        for text in ["Text\n", "---\nText\n", "---\nText\n---\nMore\n", "----\na: b\n---\n", ""] {
            assert_eq!(split(text).ok(), Some((FrontMatter::default(), text)));
        }
        assert_eq!(split("---\n# nothing\n---\nText").ok(), Some((FrontMatter::default(), "Text")));
    }

    #[test]
    fn empty_values_are_no_values() {
        assert_eq!(read_all("---\ntitle:\ntags: ~\nstatus: null\n---\n"), FrontMatter::default());
    }

    #[test]
    fn a_draft_flag_is_a_status() {
        assert_eq!(read_all("---\ndraft: true\n---\n").status, Some(Status::Draft));
        assert_eq!(read_all("---\ndraft: false\n---\n").status, None);
        assert_eq!(read_all("---\ndraft: true\nstatus: published\n---\n").status, Some(Status::Published));
    }

    #[test]
    fn numbers_that_are_names_are_taken_as_written() {
        let front_matter = read_all("---\ntitle: 2024\ntags: [007, 5]\nslug: 2fa\n---\n");
        assert_eq!((front_matter.title.as_deref(), front_matter.slug.as_deref()), (Some("2024"), Some("2fa")));
        assert_eq!(front_matter.tags, ["007", "5"]);
        assert!(message("---\ntitle: 1.10\n---\n").contains("in quotes"));
    }

    #[test]
    fn mistakes_name_the_key_what_was_found_and_what_is_legal() {
        for (text, parts) in [
            ("---\nstatus: live\n---\n", ["`status`", "\"live\"", "draft, review, published or archived"]),
            ("---\nDifficulty: 3\n---\n", ["`Difficulty`", "3", "beginner, intermediate or advanced"]),
            ("---\ntitle: [a, b]\n---\n", ["`title`", "[\"a\",\"b\"]", "a text"]),
            ("---\ntags: {a: b}\n---\n", ["`tags`", "{\"a\":\"b\"}", "a list"]),
            ("---\nreview_due: soon\n---\n", ["`review_due`", "\"soon\"", "2027-03-31"]),
            ("---\nreview_due: 2027-02-30\n---\n", ["`review_due`", "\"2027-02-30\"", "a date"]),
            ("---\nlocale: English please\n---\n", ["`locale`", "English please", "a language tag"]),
            ("---\ndraft: maybe\n---\n", ["`draft`", "maybe", "true or false"]),
            ("---\ntarget_roles: true\n---\n", ["`target_roles`", "true", "a list"]),
        ] {
            let message = message(text);
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }

    #[test]
    fn broken_syntax_is_one_sentence() {
        for text in [
            "---\na: [b\n---\n",
            "---\na: b\na: c\n---\n",
            "+++\na = \n+++\n",
            "---\n- a: b\n---\n",
            "---\na: b: c\n---\n",
        ] {
            let message = message(text);
            assert!(message.starts_with("the front matter cannot be read: it "), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn alias_bombs_are_refused_at_once() {
        let mut bomb = "---\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.extend([format!("a{level}: &a{level} ["), below, "]\n".to_owned()]);
        }
        bomb.push_str("---\nText\n");
        let start = std::time::Instant::now();
        assert!(message(&bomb).contains("not valid YAML"), "{}", message(&bomb));
        assert!(start.elapsed().as_secs() < 5);
    }
}
