//! The whole cron table on one screen.
//!
//! Expressions are those of the `cron` crate: seconds first, days of the week by name.

use chrono_tz::Tz;
use shared::{knowledge::ReconcileEmbeddings, queue::Job, scheduling::Template};

/// A line: a stable name, when it is due, and the job that each tenant gets.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) cron: &'static str,
    pub(crate) time_zone: Tz,
    pub(crate) catch_up: CatchUp,
    pub(crate) overlap: Overlap,
    pub(crate) work: Work,
}

/// What happens to ticks that were missed while no scheduler ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "the policies that a line can have"))]
pub(crate) enum CatchUp {
    /// The latest is made up for: right for work that converges.
    Latest,
    /// Each is made up for, at most this many of the latest: right for work that is about its time.
    Each(usize),
    /// None is, once it is more than a minute late.
    Skip,
}

/// What happens at a tick when the job of the tick before is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(dead_code, reason = "the policies that a line can have")]
pub(crate) enum Overlap {
    /// That tenant gets no further job.
    Skip,
    /// It gets one all the same, unless the job's own unique key says otherwise.
    Allow,
}

/// What a line enqueues.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    ReconcileEmbeddings,
}

#[rustfmt::skip]
pub(crate) const SCHEDULE: &[Line] = &[
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
