//! The whole cron table on one screen.
//!
//! Expressions are those of the `cron` crate: seconds first, days of the week by name, UTC.

use shared::{
    db::{Database, TenantTx},
    knowledge::ReconcileEmbeddings,
    queue, tenancy,
};

/// A line: a stable name, when it is due, and what it enqueues for each tenant.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) cron: &'static str,
    pub(crate) work: Work,
}

/// What a line enqueues.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    ReconcileEmbeddings,
}

pub(crate) const SCHEDULE: &[Line] =
    &[Line { name: "reconcile_embeddings", cron: "0 * * * * *", work: Work::ReconcileEmbeddings }];

impl Work {
    /// Enqueues the line's job for every tenant; returns for how many.
    pub(crate) async fn enqueue(self, database: &Database) -> Result<usize, sqlx::Error> {
        let tenants = tenancy::all(database).await?;
        for tenant in &tenants {
            let mut tx = database.tenant(tenant.id).await?;
            self.enqueue_for(&mut tx).await?;
            tx.commit().await?;
        }
        Ok(tenants.len())
    }

    async fn enqueue_for(self, tx: &mut TenantTx) -> Result<(), sqlx::Error> {
        match self {
            Self::ReconcileEmbeddings => queue::enqueue(tx, &ReconcileEmbeddings {}).await?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, str::FromStr as _};

    use super::*;

    #[test]
    fn every_line_has_a_name_of_its_own_and_a_readable_expression() {
        let names: HashSet<&str> = SCHEDULE.iter().map(|line| line.name).collect();
        assert_eq!(names.len(), SCHEDULE.len());
        for line in SCHEDULE {
            assert!(cron::Schedule::from_str(line.cron).is_ok(), "{}: {}", line.name, line.cron);
        }
    }
}
