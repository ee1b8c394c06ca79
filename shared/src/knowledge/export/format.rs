//! The files of an exported tree, which the import reads back without a loss: Markdown behind YAML, with a block `helpcenter`
//! that holds what other tools need not know. Behind the front matter and one empty line stands the text exactly as it is
//! stored; nothing is mended or tidied when a file with that block is read.
//!
//! Values are written as JSON, which YAML includes, so that every text is quoted and nothing depends on how it looks.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::knowledge::{Difficulty, Status};

/// The format that is written. Files with a higher number are refused.
pub(crate) const FORMAT: u32 = 1;

/// The name of the file that says what the category of a folder is.
pub(crate) const CATEGORY_FILE: &str = "_category_.yml";
/// The name of the file with the names of all tags, in the root.
pub(crate) const TAGS_FILE: &str = "_tags_.yml";
/// The folder of the images.
pub(crate) const IMAGES_FOLDER: &str = "_images";

/// The keys of an article's front matter that have a meaning, in the order in which they are written.
const OUR_KEYS: [&str; 10] =
    ["title", "slug", "summary", "tags", "difficulty", "target_roles", "locale", "status", "review_due", "helpcenter"];

/// An article, or the text of one that authors go on with beside what readers see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ArticleFile {
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub slug: String,
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_roles: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_due: Option<NaiveDate>,
    /// None only while a file is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helpcenter: Option<ArticleBlock>,
    /// What other tools wrote, as they wrote it.
    #[serde(flatten)]
    pub other_keys: Map<String, Value>,
    /// Markdown.
    #[serde(skip)]
    pub content: String,
}

/// What only a help center needs to know of an article.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArticleBlock {
    pub format: u32,
    /// The article.
    pub id: Uuid,
    /// The file has a newer text, which readers do not see yet, of the article; nothing else in it counts.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_draft: bool,
    /// Given when the article has translations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translation_group: Option<Uuid>,
    /// What an editor wants to be read next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Uuid>,
    /// Addresses that lead to the article still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_slugs: Vec<String>,
    /// The import that keeps the article.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its file there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reviewed_at: Option<DateTime<Utc>>,
    /// Where destinations in the text lead whose looks do not say it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, Destination>,
    /// Keys of other tools that have the name of one of ours.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub other_keys: Map<String, Value>,
}

/// Where a destination leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Destination {
    /// To a file of the tree.
    File(String),
    /// Nowhere; it is shown as broken.
    Broken,
    /// Wherever it says; it is none of ours.
    Foreign,
}

/// The category of a folder. Files of authors have the keys that they want; `label` and `position` are what Docusaurus calls
/// name and order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CategoryFile {
    #[serde(alias = "label", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    #[serde(alias = "position", default, skip_serializing_if = "Option::is_none")]
    pub order: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helpcenter: Option<CategoryBlock>,
}

/// What only a help center needs to know of a category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CategoryBlock {
    pub format: u32,
    pub id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
}

/// The names of all tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TagsFile {
    pub tags: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Why a file is not what it says that it is: what is wrong with its front matter.
pub(crate) type Wrong = String;

impl ArticleFile {
    /// The file.
    pub(crate) fn write(&self) -> Result<String, serde_json::Error> {
        let mut file = self.clone();
        if let Some(block) = &mut file.helpcenter {
            // Read as ours, they would be lost or misunderstood.
            let is_ours = |key: &&String| OUR_KEYS.contains(&key.as_str());
            let names: Vec<String> = file.other_keys.keys().filter(is_ours).cloned().collect();
            for name in names {
                let value = file.other_keys.remove(&name);
                block.other_keys.extend(value.map(|value| (name, value)));
            }
        }
        let mut out = "---\n".to_owned();
        let Value::Object(keys) = serde_json::to_value(&file)? else { return Ok(out) };
        for key in OUR_KEYS {
            match keys.get(key) {
                Some(Value::Object(block)) if key == "helpcenter" => push_block(&mut out, block)?,
                Some(value) => push_key(&mut out, "", key, value)?,
                None => {}
            }
        }
        for (key, value) in &file.other_keys {
            push_key(&mut out, "", key, value)?;
        }
        let _ = write!(out, "---\n\n{}", self.content);
        Ok(out)
    }

    /// The article in a file, if it is one of an exported tree.
    pub(crate) fn read(bytes: &[u8], yaml: impl Fn(&str) -> Result<Value, Wrong>) -> Option<Result<Self, Wrong>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // Where a tool changed the end of the first line, it changed all of them.
        let is_changed = text.starts_with("---\r\n");
        let text = if is_changed { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) };
        let (front_matter, content) = text.strip_prefix("---\n")?.split_once("\n---\n")?;
        if !front_matter.lines().any(|line| line.starts_with("helpcenter:")) {
            return None;
        }
        let keys = match yaml(&format!("{front_matter}\n")) {
            Ok(keys) => keys,
            Err(wrong) => return Some(Err(wrong)),
        };
        keys.get("helpcenter")?.get("format")?;
        Some(Self::parsed(&keys, content.strip_prefix('\n').unwrap_or(content)))
    }

    fn parsed(keys: &Value, content: &str) -> Result<Self, Wrong> {
        let mut file: Self = understood(keys, &json!({ "title": "" }))?;
        if let Some(block) = &mut file.helpcenter {
            check_format(block.format)?;
            file.other_keys.extend(std::mem::take(&mut block.other_keys));
        }
        content.clone_into(&mut file.content);
        Ok(file)
    }
}

impl CategoryFile {
    /// The file.
    pub(crate) fn write(&self) -> Result<String, serde_json::Error> {
        let mut out = String::new();
        let Value::Object(keys) = serde_json::to_value(self)? else { return Ok(out) };
        for key in ["name", "slug", "description", "icon", "color", "order", "active", "helpcenter"] {
            match keys.get(key) {
                Some(Value::Object(block)) => push_block(&mut out, block)?,
                Some(value) => push_key(&mut out, "", key, value)?,
                None => {}
            }
        }
        Ok(out)
    }

    /// What a file says of its folder's category.
    pub(crate) fn read(text: &str, yaml: impl Fn(&str) -> Result<Value, Wrong>) -> Result<Self, Wrong> {
        let value = yaml(text)?;
        if value.is_null() {
            return Ok(Self::default());
        }
        let file: Self = understood(&value, &json!({}))?;
        file.helpcenter.as_ref().map_or(Ok(()), |block| check_format(block.format))?;
        Ok(file)
    }
}

impl TagsFile {
    /// The file.
    pub(crate) fn write(&self) -> Result<String, serde_json::Error> {
        let mut out = "tags:\n".to_owned();
        for tag in &self.tags {
            let _ = writeln!(out, "  - {}", quoted(tag)?);
        }
        Ok(out)
    }

    /// The names of the tags.
    pub(crate) fn read(text: &str, yaml: impl Fn(&str) -> Result<Value, Wrong>) -> Result<Self, Wrong> {
        understood(&yaml(text)?, &json!({}))
    }
}

/// The keys as what they mean, or the first one that means nothing. `least` is what must be there.
fn understood<T: DeserializeOwned>(keys: &Value, least: &Value) -> Result<T, Wrong> {
    let error = match serde_json::from_value(keys.clone()) {
        Ok(understood) => return Ok(understood),
        Err(error) => error,
    };
    for (key, value) in keys.as_object().into_iter().flatten() {
        let mut alone = least.clone();
        alone[key] = value.clone();
        if let Err(error) = serde_json::from_value::<T>(alone) {
            return Err(format!("`{key}`: {error}"));
        }
    }
    Err(error.to_string())
}

fn check_format(format: u32) -> Result<(), Wrong> {
    if format == FORMAT {
        return Ok(());
    }
    Err(format!("it was exported in format {format}; this release reads format {FORMAT}"))
}

fn push_block(out: &mut String, block: &Map<String, Value>) -> Result<(), serde_json::Error> {
    out.push_str("helpcenter:\n");
    // What the others mean depends on it.
    let (format, others): (Vec<_>, Vec<_>) = block.iter().partition(|(key, _)| *key == "format");
    for (key, value) in format.into_iter().chain(others) {
        push_key(out, "  ", key, value)?;
    }
    Ok(())
}

/// A line of YAML. Names that the format defines, and words of fixed lists, need no quotes.
fn push_key(out: &mut String, indent: &str, key: &str, value: &Value) -> Result<(), serde_json::Error> {
    let is_plain = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && !["null", "true", "false", "yes", "no", "on", "off", "y", "n", ""].contains(&key);
    let key_is_a_choice = matches!(key, "difficulty" | "status");
    let key = if is_plain { key.to_owned() } else { quoted(key)? };
    let value = match value {
        Value::String(word)
            if key_is_a_choice && word.parse::<Status>().is_ok_and(|status| status.as_str() == word) =>
        {
            word.clone()
        }
        Value::String(word)
            if key_is_a_choice && word.parse::<Difficulty>().is_ok_and(|level| level.as_str() == word) =>
        {
            word.clone()
        }
        value => spaced(value)?,
    };
    let _ = writeln!(out, "{indent}{key}: {value}");
    Ok(())
}

/// A value as JSON on one line, with a space behind commas and colons.
fn spaced(value: &Value) -> Result<String, serde_json::Error> {
    Ok(match value {
        Value::Array(items) => {
            let items = items.iter().map(spaced).collect::<Result<Vec<_>, _>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Object(keys) => {
            let keys = keys.iter().map(|(key, value)| Ok(format!("{}: {}", quoted(key)?, spaced(value)?)));
            format!("{{{}}}", keys.collect::<Result<Vec<_>, serde_json::Error>>()?.join(", "))
        }
        Value::String(text) => quoted(text)?,
        other => other.to_string(),
    })
}

/// A text in quotes, with everything escaped that YAML does not take as it is (YAML 1.2, 5.1) or that nobody would see.
fn quoted(text: &str) -> Result<String, serde_json::Error> {
    let mut out = String::with_capacity(text.len() + 2);
    for character in serde_json::to_string(text)?.chars() {
        let is_printable = !matches!(
            character,
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        );
        if is_printable {
            out.push(character);
        } else {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        }
    }
    Ok(out)
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
