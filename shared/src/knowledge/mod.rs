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
mod category_tree;
pub mod chunk;
pub mod embed;
mod embed_store;
mod excerpt;
pub mod export;
pub mod feedback;
pub mod import;
mod index;
mod jobs;
pub mod lag;
mod listing;
mod locale;
mod page_url;
mod read;
pub mod reindex;
pub mod slug;
mod store;
pub mod taxonomy;
pub mod views;
mod words;
pub mod writing;

pub use article::{ArticleProperties, ArticleText, Difficulty, Status};
pub use category_tree::{CategoryNode, CategoryPaths, Crumb, categories, category_by_slug, category_paths};
pub use embed::{BuiltModel, IndexStatus, index_status};
pub use jobs::{
    BulkAction, BulkChange, CountViews, EmbedArticle, ImportDocumentation, PublishScheduled, ReconcileEmbeddings,
    ReembedArticle, Reindex, ReindexPart,
};
pub use listing::{ArticleFilter, Place, Sort, SortBy, articles, articles_by_id};
pub use locale::Locale;
pub use page_url::{PageUrl, PageUrlError};
pub(crate) use read::helpful_ratio;
pub use read::{ArticleSummary, ArticleView, LinkTo, article, link_targets, moved_to};
pub(crate) use words::{folded, identifiers, words};
