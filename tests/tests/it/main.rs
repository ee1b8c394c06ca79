//! End-to-end tests: the real API, worker and import against a real PostgreSQL and Redis. Each file is about one promise.

mod admin_api;
mod auth;
mod bad_input;
mod contextual;
mod dashboards;
mod feedback;
mod import;
mod jobs;
mod lists;
mod logs;
mod openapi;
mod processes;
mod prune;
mod queue;
mod reindex;
mod related;
mod search;
mod search_history;
mod search_words;
mod silence;
mod taxonomy;
mod tenants;
mod traces;
mod views;
mod visibility;
mod writing;
