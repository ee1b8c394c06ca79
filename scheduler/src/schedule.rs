//! The whole cron table on one screen.
//!
//! Expressions are those of the `cron` crate: seconds first, days of the week by name.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use shared::{
    assistant::{ExpireMemories, ReconcileAnswers},
    knowledge::{CountViews, ReconcileEmbeddings},
    scheduling::Template,
    search::PruneHistory,
};

use crate::due::Times;

/// A line: a stable name, when it is due, and the job that each tenant gets.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Stable for ever: what was made for it is remembered under it.
    pub name: &'static str,
    /// The expression.
    pub cron: &'static str,
    /// In which its hours are meant.
    pub time_zone: Tz,
    /// What happens to missed ticks.
    pub catch_up: CatchUp,
    /// What happens while the job of the tick before is open.
    pub overlap: Overlap,
    /// What it enqueues: the job, given the unique key that stands in when the job has none of its own.
    pub work: fn(Option<String>) -> Result<Template, serde_json::Error>,
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

/// The product's lines.
#[rustfmt::skip]
pub const SCHEDULE: &[Line] = &[
    Line { name: "reconcile_embeddings", cron: "0 * * * * *", time_zone: Tz::UTC, catch_up: CatchUp::Latest, overlap: Overlap::Skip, work: |key| Template::of(&ReconcileEmbeddings {}, key) },
    Line { name: "count_views", cron: "30 * * * * *", time_zone: Tz::UTC, catch_up: CatchUp::Latest, overlap: Overlap::Skip, work: |key| Template::of(&CountViews {}, key) },
    Line { name: "reconcile_answers", cron: "45 * * * * *", time_zone: Tz::UTC, catch_up: CatchUp::Latest, overlap: Overlap::Skip, work: |key| Template::of(&ReconcileAnswers {}, key) },
    Line { name: "expire_memories", cron: "0 40 3 * * *", time_zone: Tz::UTC, catch_up: CatchUp::Latest, overlap: Overlap::Skip, work: |key| Template::of(&ExpireMemories {}, key) },
    Line { name: "prune_history", cron: "0 20 3 * * *", time_zone: Tz::UTC, catch_up: CatchUp::Latest, overlap: Overlap::Skip, work: |key| Template::of(&PruneHistory {}, key) },
];

impl Line {
    /// The next times after `now`, at most so many.
    pub fn upcoming(&self, now: DateTime<Utc>, count: usize) -> anyhow::Result<Vec<DateTime<Utc>>> {
        Ok(Times::of(self)?.after(now).take(count).collect())
    }

    /// The job that each tenant gets.
    pub(crate) fn template(&self) -> Result<Template, serde_json::Error> {
        (self.work)((self.overlap == Overlap::Skip).then(|| format!("line:{}", self.name)))
    }
}
