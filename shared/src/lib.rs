//! The help center's core: everything that api, worker, scheduler and command line share.
//!
//! Domain slices, each with its own documentation, SQL (`store.rs`) and job payloads (`jobs.rs`):
//!
//! | module | what |
//! |---|---|
//! | [`knowledge`] | articles, revisions, categories, tags, import, and how text becomes passages |
//! | [`search`] | the keyword and the semantic arm, their fusion, snippets |
//! | [`assistant`] | questions, answers that cite, what is remembered of people |
//!
//! and what they stand on: [`queue`] (jobs), [`scheduling`] (ticks), [`embedding`] (vectors), [`llm`] (language models),
//! [`outbound`] (servers that tenants name), [`secrets`] (what is encrypted), [`auth`] (callers),
//! [`tenancy`], [`db`] (the tenant-bound transaction), [`audit`], [`rate_limit`], [`markdown`], [`pagination`], [`config`],
//! [`clock`], [`telemetry`].
//!
//! This crate knows nothing of HTTP servers; only [`queue`] knows apalis.

pub mod assistant;
pub mod audit;
pub mod auth;
mod circuit;
pub mod clock;
pub mod config;
pub mod db;
pub mod embedding;
pub mod knowledge;
pub mod llm;
pub mod markdown;
pub mod outbound;
pub mod pagination;
pub mod queue;
pub mod rate_limit;
mod redis_connection;
mod remote;
pub mod reranker;
pub mod scheduling;
pub mod search;
pub mod secrets;
pub mod telemetry;
pub mod tenancy;
