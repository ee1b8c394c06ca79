//! End-to-end tests: the real API, worker and import against a real PostgreSQL and Redis. Each file is about one promise.

mod import;
mod jobs;
mod processes;
mod queue;
mod search;
