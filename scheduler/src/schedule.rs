//! The whole cron table on one screen.
//!
//! Expressions are those of the `cron` crate: seconds first, days of the week by name.

use chrono_tz::Tz;
use shared::{knowledge::ReconcileEmbeddings, queue::Job, scheduling::Template};

/// A line: when it is due, and the job that each tenant gets then.
#[derive(Debug)]
pub struct Line {
    /// Stable: what was due under another name is not made up for.
    pub name: &'static str,
    /// When it is due.
    pub cron: &'static str,
    /// Whose clocks that means.
    pub time_zone: Tz,
    /// What happens to missed ticks.
    pub catch_up: CatchUp,
    /// What happens while the job of the tick before is open.
    pub overlap: Overlap,
    /// The job.
    pub work: Work,
}

/// What happens to ticks that were missed while no scheduler ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// The latest is made up for: right for work that converges.
    Latest,
    /// Each is made up for, at most this many of the latest: right for work that is about its time.
    Each(usize),
    /// None is, once it is more than a minute late.
    Skip,
}

/// What happens at a tick when the job of the tick before is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// That tenant gets no further job.
    Skip,
    /// It gets one all the same, unless the job's own unique key says otherwise.
    Allow,
}

/// What a line enqueues.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Finds articles whose embeddings are missing or stale.
    ReconcileEmbeddings,
}

/// The product's lines.
#[rustfmt::skip]
pub const SCHEDULE: &[Line] = &[
    Line { name: "reconcile_embeddings", cron: "0 * * * * *", time_zone: Tz::UTC, catch_up: CatchUp::Latest, overlap: Overlap::Skip, work: Work::ReconcileEmbeddings },
];

impl Line {
    /// The job that each tenant gets.
    pub(crate) fn template(&self) -> Result<Template, serde_json::Error> {
        match self.work {
            Work::ReconcileEmbeddings => self.template_of(&ReconcileEmbeddings {}),
        }
    }

    fn template_of<J: Job>(&self, job: &J) -> Result<Template, serde_json::Error> {
        Template::of(job, (self.overlap == Overlap::Skip).then(|| format!("line:{}", self.name)))
    }
}
