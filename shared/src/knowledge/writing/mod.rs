//! Writing articles: creating and changing them, their way to the readers, and what they were before.
//!
//! Each change of text is a revision. What readers see is the published revision; authors go on with the latest one beside
//! it. Whoever changes an article names the version that they saw, so that nobody overwrites what another one wrote.
//! Authors write; editors decide what readers see ([`workflow`]).

mod links;
mod managed;
mod revisions;
mod store;
mod workflow;

use chrono::NaiveDate;
use serde_json::json;
use uuid::Uuid;

pub use managed::{ManagedArticle, ManagedFilter, ManagedSort, Translation, managed_article, managed_articles};
pub use revisions::{Comparison, Revision, compare, restore, revision, revisions};
pub use workflow::{PublishError, Step, confirm_review, publish_scheduled, take_step};

use super::{
    article::{ArticleText, Difficulty},
    index,
    locale::Locale,
    slug::{Slug, slugify},
    store as articles,
};
use crate::{
    audit,
    auth::{Permission, Principal, Roles},
    db::TenantTx,
};

/// Most characters in a title.
pub const MAX_TITLE_CHARS: usize = 200;
/// Most characters in a summary.
pub const MAX_SUMMARY_CHARS: usize = 500;
/// Most characters in what a revision is said to be about.
pub const MAX_NOTE_CHARS: usize = 500;
/// Most tags of an article.
pub const MAX_TAGS: usize = 50;
/// Most articles that an editor can name as related.
pub const MAX_RELATED: usize = 20;
/// How many numbers are tried to make a slug unique.
const SLUG_ATTEMPTS: u32 = 1_000;

/// Who writes.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Named in revisions and in the audit log.
    pub actor: String,
    /// Whether they decide what readers see.
    pub is_editor: bool,
}

impl Writer {
    /// The caller, who must be allowed to write at least.
    pub fn of(caller: &Principal) -> Self {
        Self { actor: caller.actor(), is_editor: caller.may(Permission::Edit) }
    }
}

/// Why an article was not changed; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no such article.
    #[error("There is no article with this id.")]
    NotFound,
    /// Somebody else changed it meanwhile.
    #[error(
        "Somebody changed the article since version {seen}; it is at version {} now. Compare, and send your change again with that version.",
        current.version
    )]
    Conflict {
        /// The version that the change was made for.
        seen: i32,
        /// As it is now.
        current: Box<ManagedArticle>,
    },
    /// This is for editors.
    #[error("Only editors may do this: {0}.")]
    EditorsOnly(&'static str),
    /// The wanted address is another article's.
    #[error("Another article has the slug {0:?}. Choose another one.")]
    SlugTaken(String),
    /// Nothing can go from the one status to the other.
    #[error("An article that is {from} cannot become {to}.")]
    NoSuchStep {
        /// What it is.
        from: String,
        /// What it should be.
        to: &'static str,
    },
    /// Readers cannot get it as it is.
    #[error("The article cannot be published yet: {}.", .0.join("; "))]
    Incomplete(Vec<&'static str>),
    /// A value is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// PostgreSQL.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A new article. It begins as a draft.
#[derive(Debug, Clone)]
pub struct NewArticle {
    /// Its text.
    pub text: ArticleText,
    /// Its address; made of the title when left out.
    pub slug: Option<Slug>,
    /// Its category.
    pub category_id: Option<Uuid>,
    /// Names of its tags; those that do not exist are made.
    pub tags: Vec<String>,
    /// How much a reader must know already.
    pub difficulty: Difficulty,
    /// Who may read it once it is published: role names, or `all`.
    pub target_roles: Vec<String>,
    /// Its language.
    pub locale: Locale,
    /// The article that it says the same as, in another language.
    pub translation_of: Option<Uuid>,
    /// When somebody should read it again.
    pub review_due_on: Option<NaiveDate>,
    /// What an editor wants to be read next.
    pub related: Vec<Uuid>,
    /// What the revision is about.
    pub note: String,
}

/// A change of an article; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct ArticleChange {
    /// Title of the next revision.
    pub title: Option<String>,
    /// Summary of the next revision.
    pub summary: Option<String>,
    /// Content of the next revision.
    pub content: Option<String>,
    /// Its address; the former one leads there from then on.
    pub slug: Option<Slug>,
    /// Its category, or none.
    pub category_id: Option<Option<Uuid>>,
    /// Names of all of its tags.
    pub tags: Option<Vec<String>>,
    /// How much a reader must know already.
    pub difficulty: Option<Difficulty>,
    /// Who may read it.
    pub target_roles: Option<Vec<String>>,
    /// Its language.
    pub locale: Option<Locale>,
    /// The article that it says the same as in another language, or none.
    pub translation_of: Option<Option<Uuid>>,
    /// When somebody should read it again, or never.
    pub review_due_on: Option<Option<NaiveDate>>,
    /// What an editor wants to be read next, all of it.
    pub related: Option<Vec<Uuid>>,
    /// What the revision is about.
    pub note: String,
}

/// Creates a draft; returns its id.
pub async fn create(tx: &mut TenantTx, writer: &Writer, new: &NewArticle) -> Result<Uuid, WriteError> {
    check_text(&new.text, &new.note)?;
    check_properties(tx, new.category_id, &new.tags, &new.target_roles).await?;
    let slug = match &new.slug {
        Some(slug) if articles::slug_is_taken(tx, slug.as_str(), None).await? => {
            return Err(WriteError::SlugTaken(slug.to_string()));
        }
        Some(slug) => slug.to_string(),
        None => free_slug(tx, &new.text.title).await?,
    };
    let group = match new.translation_of {
        Some(original) => Some(translation_group(tx, original, None, &new.locale).await?),
        None => None,
    };
    let id = store::insert(tx, &slug, new, group).await?;
    articles::insert_revision(tx, id, &new.text, &writer.actor, &new.note).await?;
    articles::set_tags(tx, id, &tags(&new.tags)).await?;
    set_related(tx, id, &new.related).await?;
    links::update(tx, id).await?;
    audit::record_with(tx, &writer.actor, "article.created", &id.to_string(), &json!({ "title": new.text.title }))
        .await?;
    Ok(id)
}

/// Changes an article that is at the version which the writer saw. A change that changes nothing leaves no trace.
pub async fn change(
    tx: &mut TenantTx,
    writer: &Writer,
    id: Uuid,
    seen: i32,
    change: &ArticleChange,
) -> Result<(), WriteError> {
    let current = lock(tx, id, seen).await?;
    let text = ArticleText {
        title: change.title.clone().unwrap_or_else(|| current.title.clone()),
        summary: change.summary.clone().unwrap_or_else(|| current.summary.clone()),
        content: change.content.clone().unwrap_or_else(|| current.content.clone()),
    };
    check_text(&text, &change.note)?;
    let has_new_text = text != current.text();
    let mut next = store::Properties::of(&current);
    next.apply(change);
    check_properties(tx, next.category_id, &next.tags, &next.target_roles).await?;
    if let Some(original) = change.translation_of {
        next.translation_group = match original {
            Some(original) => translation_group(tx, original, Some(id), &next.locale).await?,
            None if current.translations.is_empty() => current.translation_group,
            None => Uuid::now_v7(),
        };
    }
    let mut fields = store::Properties::of(&current).differences(&next);
    let related = change.related.as_ref().filter(|related| **related != current.related);
    fields.extend(related.map(|_| "related"));
    let is_decided = current.is_published() || current.publish_at.is_some();
    if !fields.is_empty() && is_decided && !writer.is_editor {
        return Err(WriteError::EditorsOnly(
            "the article is published or will be, and this would change what readers get; its text may be changed as a draft",
        ));
    }
    if next.slug != current.slug && articles::slug_is_taken(tx, &next.slug, Some(id)).await? {
        return Err(WriteError::SlugTaken(next.slug));
    }
    if fields.is_empty() && !has_new_text {
        return Ok(());
    }
    if has_new_text {
        articles::insert_revision(tx, id, &text, &writer.actor, &change.note).await?;
        fields.push("text");
    }
    if let Some(related) = related {
        set_related(tx, id, related).await?;
    }
    store::update(tx, id, &next).await?;
    articles::set_tags(tx, id, &tags(&next.tags)).await?;
    if has_new_text {
        links::update(tx, id).await?;
    }
    if current.is_published() && fields.iter().any(|field| ["locale", "tags"].contains(field)) {
        index::refresh(tx, id).await?;
    }
    audit::record_with(tx, &writer.actor, "article.changed", &id.to_string(), &json!({ "fields": fields })).await?;
    Ok(())
}

/// The article, kept from others until the transaction ends, if it is at the version that the writer saw.
async fn lock(tx: &mut TenantTx, id: Uuid, seen: i32) -> Result<ManagedArticle, WriteError> {
    store::lock(tx, id).await?;
    let current = managed_article(tx, id).await?.ok_or(WriteError::NotFound)?;
    if current.version != seen {
        return Err(WriteError::Conflict { seen, current: Box::new(current) });
    }
    Ok(current)
}

fn check_text(text: &ArticleText, note: &str) -> Result<(), WriteError> {
    let invalid = |problem: String| Err(WriteError::Invalid(problem));
    let title = text.title.chars().count();
    let summary = text.summary.chars().count();
    if text.title.trim().is_empty() || title > MAX_TITLE_CHARS {
        return invalid(format!("`title` must have 1 to {MAX_TITLE_CHARS} characters; this one has {title}."));
    }
    if text.title.chars().any(char::is_control) {
        return invalid("`title` must be one line without control characters.".to_owned());
    }
    if summary > MAX_SUMMARY_CHARS {
        return invalid(format!("`summary` may have at most {MAX_SUMMARY_CHARS} characters; this one has {summary}."));
    }
    if note.chars().count() > MAX_NOTE_CHARS {
        return invalid(format!("`note` may have at most {MAX_NOTE_CHARS} characters."));
    }
    Ok(())
}

async fn check_properties(
    tx: &mut TenantTx,
    category_id: Option<Uuid>,
    tags: &[String],
    target_roles: &[String],
) -> Result<(), WriteError> {
    let invalid = |problem: String| Err(WriteError::Invalid(problem));
    if let Some(category) = category_id
        && !store::category_exists(tx, category).await?
    {
        return invalid(format!("There is no category {category}."));
    }
    if tags.len() > MAX_TAGS {
        return invalid(format!("`tags` may name at most {MAX_TAGS}; here are {}.", tags.len()));
    }
    for tag in tags {
        if tag.chars().count() > 100 || slugify(tag).is_none() {
            return invalid(format!(
                "{tag:?} is no tag: one has 1 to 100 characters, at least one of them a letter or digit."
            ));
        }
    }
    if let Err(problem) = Roles::new(target_roles.to_vec()) {
        return invalid(format!("`target_roles`: {problem}."));
    }
    Ok(())
}

/// Name and slug of each tag.
fn tags(names: &[String]) -> Vec<(String, String)> {
    names.iter().filter_map(|name| Some((name.trim().to_owned(), slugify(name)?.to_string()))).collect()
}

/// The group of an article's translations, which must have none in this language yet.
async fn translation_group(
    tx: &mut TenantTx,
    original: Uuid,
    translation: Option<Uuid>,
    locale: &Locale,
) -> Result<Uuid, WriteError> {
    let Some(group) = store::translation_group(tx, original).await? else {
        return Err(WriteError::Invalid(format!("`translation_of` names no article: there is no {original}.")));
    };
    if let Some(other) =
        store::translated(tx, group, locale.as_str()).await?.filter(|other| Some(*other) != translation)
    {
        return Err(WriteError::Invalid(format!("The article has a text in {locale} already: {other}.")));
    }
    Ok(group)
}

async fn set_related(tx: &mut TenantTx, id: Uuid, related: &[Uuid]) -> Result<(), WriteError> {
    if related.len() > MAX_RELATED || related.contains(&id) {
        let problem = format!("`related` may name at most {MAX_RELATED} other articles.");
        return Err(WriteError::Invalid(problem));
    }
    if let Some(unknown) = store::set_related(tx, id, related).await? {
        return Err(WriteError::Invalid(format!("`related` names no article: there is no {unknown}.")));
    }
    Ok(())
}

/// The title's slug, with a number where another article has it.
async fn free_slug(tx: &mut TenantTx, title: &str) -> Result<String, WriteError> {
    let wanted = slugify(title).unwrap_or_else(Slug::fallback);
    for number in 1..=SLUG_ATTEMPTS {
        let slug = if number == 1 { wanted.to_string() } else { format!("{wanted}-{number}") };
        if !articles::slug_is_taken(tx, &slug, None).await? {
            return Ok(slug);
        }
    }
    Err(WriteError::SlugTaken(wanted.to_string()))
}
