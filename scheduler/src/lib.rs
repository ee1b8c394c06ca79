//! Turning due lines of the cron table into jobs, for the scheduler's process and for tests.

mod due;
pub mod leader;
mod metrics;
pub mod schedule;
