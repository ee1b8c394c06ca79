//! Nothing is lost and nothing is done twice: what the queue promises, and that it holds when something dies.
//!
//! Jobs here only write down that they ran, in a history that is never corrected afterwards ([`support::History`]).
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that uses them")]

mod choosing;
mod connections;
mod crashing;
mod enqueueing;
mod failing;
mod forgetting;
mod operating;
mod scripts;
mod sharing;
mod stopping;
pub(crate) mod support;
mod traces;
