//! The jobs that a worker runs, for its process and for tests.

mod jobs;
mod registry;

pub use registry::{Context, registry};
