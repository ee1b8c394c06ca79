//! End-to-end tests: the real API, worker and import against a real PostgreSQL and Redis. Each file is about one promise.

mod admin_api;
mod assets;
mod auth;
mod bad_input;
mod dashboards;
mod export;
mod feedback;
mod import;
mod import_upload;
mod jobs;
mod logs;
mod openapi;
mod processes;
mod queue;
mod reindex;
mod search;
mod search_history;
mod search_words;
mod silence;
mod taxonomy;
mod tenants;
mod traces;
mod visibility;
mod writing;
