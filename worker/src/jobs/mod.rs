//! One file for each job: load, call one domain function, say what happened.

pub(crate) mod embed_article;
pub(crate) mod reconcile_embeddings;
