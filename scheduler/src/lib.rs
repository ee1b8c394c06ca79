//! Turning due lines of the cron table into jobs, for the scheduler's process and for tests.

pub mod due;
pub mod leader;
mod metrics;
pub mod schedule;
