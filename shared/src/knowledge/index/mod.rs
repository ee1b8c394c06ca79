//! Keeping what search works on in step with what readers see.

mod store;

use uuid::Uuid;

use super::{
    chunk::{self, Passage},
    jobs::EmbedArticle,
    words::words,
};
use crate::{db::TenantTx, queue};

/// Keeps others from indexing articles of the tenant until the transaction ends. Whoever indexed one before has committed.
pub(super) async fn lock(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    store::lock(tx).await
}

/// Makes the passages and terms of an article's published revision, in place of those of any earlier one, and enqueues the
/// embedding of passages that are new. Passages that stay as they are keep their embeddings. An article that is not published
/// loses its passages.
///
/// Call it in the transaction that publishes, retitles, retags or translates the article.
pub(super) async fn refresh(tx: &mut TenantTx, article_id: Uuid) -> Result<(), sqlx::Error> {
    store::lock(tx).await?;
    let Some(published) = store::published_text(tx, article_id).await? else {
        return store::forget(tx, article_id).await;
    };
    let passages = chunk::passages(&published.title, &published.content);
    let rows = Rows::of(&published.title, &passages);
    let searchable = Searchable::of(&published, &passages);
    store::remove_other_passages(tx, &published, &rows).await?;
    let new_passages = store::write_passages(tx, &published, &rows, &searchable).await?;
    let terms = store::terms(tx, &published.language, &searchable).await?;
    let ids = store::term_ids(tx, &published.language, &terms).await?;
    let document = Document::of(&terms, &ids, &passages);
    store::replace_document(tx, &published, &document).await?;
    if new_passages > 0 {
        queue::enqueue(tx, &EmbedArticle { article_id, revision_id: published.revision_id }).await?;
    }
    Ok(())
}

/// Joins heading paths for their way into SQL, where arrays of arrays must be rectangular.
const PATH_SEPARATOR: &str = "\u{1f}";

/// The text of a published article, and how it is to be indexed.
struct Published {
    article_id: Uuid,
    revision_id: Uuid,
    title: String,
    summary: String,
    content: String,
    /// Names of its tags, with spaces between them.
    tags: String,
    /// As the SQL function `search_language` names it.
    language: String,
}

/// Passages as columns, the title's in front.
struct Rows {
    ordinals: Vec<i32>,
    paths: Vec<String>,
    anchors: Vec<Option<String>>,
    bodies: Vec<String>,
    contexts: Vec<String>,
}

impl Rows {
    fn of(title: &str, passages: &[Passage]) -> Self {
        let mut rows = Self {
            ordinals: vec![0],
            paths: vec![String::new()],
            anchors: vec![None],
            bodies: vec![title.to_owned()],
            contexts: vec![title.to_owned()],
        };
        for passage in passages {
            rows.ordinals.push(passage.ordinal + 1);
            rows.paths.push(passage.heading_path.join(PATH_SEPARATOR));
            rows.anchors.push(passage.anchor.clone());
            rows.bodies.push(passage.text.clone());
            rows.contexts.push(passage.contextual_text(title));
        }
        rows
    }
}

/// The same as [`words`], for each of [`Rows`].
struct Searchable {
    title: String,
    summary: String,
    tags: String,
    /// Of each passage; empty for the title's.
    headings: Vec<String>,
    bodies: Vec<String>,
}

impl Searchable {
    fn of(published: &Published, passages: &[Passage]) -> Self {
        let title = words(&published.title);
        let headings = passages.iter().map(|p| words(&p.heading_path.join(" ")));
        let bodies = passages.iter().map(|p| words(&p.text));
        Self {
            summary: words(&published.summary),
            tags: words(&published.tags),
            headings: std::iter::once(String::new()).chain(headings).collect(),
            bodies: std::iter::once(String::new()).chain(bodies).collect(),
            title,
        }
    }
}

/// A stemmed word of an article.
struct Term {
    lexeme: String,
    /// The shortest of the words that it stands for.
    word: String,
    title_count: i64,
    body_count: i64,
}

/// What the keyword arm needs of an article; see the columns of `search_documents`.
struct Document {
    term_ids: Vec<i32>,
    title_term_ids: Vec<i32>,
    terms: Vec<u8>,
    title_length: i32,
    body_length: i32,
    passage_count: i32,
}

impl Document {
    /// `ids` are those of `terms`, in their order. A word of the summary or of a tag that is nowhere else counts as one of
    /// the body.
    fn of(terms: &[Term], ids: &[i32], passages: &[Passage]) -> Self {
        let mut by_id: Vec<(i32, &Term)> = ids.iter().copied().zip(terms).collect();
        by_id.sort_unstable_by_key(|(id, _)| *id);
        let mut document = Self {
            term_ids: Vec::with_capacity(by_id.len()),
            title_term_ids: Vec::new(),
            terms: Vec::with_capacity(6 * by_id.len()),
            title_length: 0,
            body_length: 0,
            passage_count: i32::try_from(passages.len() + 1).unwrap_or(i32::MAX),
        };
        for (id, term) in by_id {
            let body_count = if term.title_count == 0 { term.body_count.max(1) } else { term.body_count };
            document.term_ids.push(id);
            if term.title_count > 0 {
                document.title_term_ids.push(id);
            }
            document.terms.extend_from_slice(&id.to_be_bytes());
            document.terms.push(u8::try_from(term.title_count).unwrap_or(u8::MAX));
            document.terms.push(u8::try_from(body_count).unwrap_or(u8::MAX));
            document.title_length += i32::try_from(term.title_count).unwrap_or(i32::MAX);
            document.body_length = document.body_length.saturating_add(i32::try_from(body_count).unwrap_or(i32::MAX));
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(title_count: i64, body_count: i64) -> Term {
        Term { lexeme: String::new(), word: String::new(), title_count, body_count }
    }

    #[test]
    fn terms_are_ascending_and_a_tag_counts_as_a_word_of_the_body() {
        let document = Document::of(&[term(1, 300), term(0, 2), term(0, 0)], &[70_000, 3, 5], &[]);
        assert_eq!(document.term_ids, [3, 5, 70_000]);
        assert_eq!(document.title_term_ids, [70_000]);
        assert_eq!(document.terms, [0, 0, 0, 3, 0, 2, 0, 0, 0, 5, 0, 1, 0, 1, 17, 112, 1, 255]);
        assert_eq!((document.title_length, document.body_length, document.passage_count), (1, 303, 1));
    }
}
