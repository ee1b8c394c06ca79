//! The knowledge base: articles, their revisions, categories and tags; how files become articles, and articles passages.
//!
//! The text of an article lives in its revisions. `published_revision_id` is what readers see, `latest_revision_id` what
//! authors edit. Publishing a revision replaces the article's passages in the same transaction, so that keyword search
//! knows it at once, and enqueues [`EmbedArticle`], so that semantic search follows.
//!
//! Who sees an article is decided by the SQL function `article_is_visible` alone.

mod article;
pub mod assets;
pub mod bulk;
pub mod chunk;
pub mod embed;
pub mod export;
pub mod feedback;
pub mod import;
mod index;
mod jobs;
pub mod lag;
mod locale;
mod read;
pub mod reindex;
pub mod slug;
mod store;
pub mod taxonomy;
mod words;
pub mod writing;

pub use article::{ArticleProperties, ArticleText, Difficulty, Status};
pub use embed::{IndexStatus, index_status};
pub use jobs::{
    BulkAction, BulkChange, EmbedArticle, ImportDocumentation, PublishScheduled, ReconcileEmbeddings, Reindex,
    ReindexPart,
};
pub use locale::Locale;
pub(crate) use read::helpful_ratio;
pub use read::{
    ArticleFilter, ArticleSummary, ArticleView, CategoryNode, Crumb, LinkTo, Order, article, articles, breadcrumbs,
    categories, category_by_id, category_by_slug, category_with_descendants, link_targets, moved_to,
};
pub(crate) use words::{folded, identifiers, words};
