//! One file for each job: load, call one domain function, say what happened.

pub(crate) mod bulk_change;
pub(crate) mod count_views;
pub(crate) mod embed_article;
pub(crate) mod expire_memories;
pub(crate) mod generate_answer;
pub(crate) mod import_documentation;
pub(crate) mod prune_history;
pub(crate) mod publish_scheduled;
pub(crate) mod reconcile_answers;
pub(crate) mod reconcile_embeddings;
pub(crate) mod reembed_article;
pub(crate) mod reindex;
pub(crate) mod remember_conversation;
