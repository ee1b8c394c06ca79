//! Keeping what search works on in step with what readers see.

use uuid::Uuid;

use super::{chunk, jobs::EmbedArticle, store};
use crate::{db::TenantTx, queue};

/// Makes the passages and term statistics of an article's published revision, in place of those of any earlier one, and
/// enqueues their embedding. An article that is not published loses its passages.
///
/// Call it in the transaction that publishes, retitles or retags the article.
pub(super) async fn refresh(tx: &mut TenantTx, article_id: Uuid) -> Result<(), sqlx::Error> {
    store::delete_passages(tx, article_id).await?;
    let Some(published) = store::published_text(tx, article_id).await? else { return Ok(()) };
    let passages = chunk::passages(&published.title, &published.content);
    store::insert_passages(tx, &published, &passages).await?;
    queue::enqueue(tx, &EmbedArticle { article_id, revision_id: published.revision_id }).await?;
    Ok(())
}

/// Makes search know the present tags of published articles. Their passages and embeddings stay.
pub(super) async fn refresh_tags(tx: &mut TenantTx, articles: &[Uuid]) -> Result<(), sqlx::Error> {
    store::index_tags(tx, articles).await
}
