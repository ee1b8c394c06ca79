//! The faults: what they do, and when. The plan follows from the seed alone; on which process a fault falls is part of it.

mod apis;
mod connections;
mod deck;
mod log;
mod postgres;
mod redis;
mod schedulers;
mod workers;

use std::{fmt, sync::Arc, time::Duration};

use rustix::process::Signal;
use secrecy::SecretString;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};
use tokio_util::sync::CancellationToken;

pub(super) use self::log::Log;
use super::{
    fleet::{Role, Slot},
    servers::{Postgres, Redis},
};

/// Storm and calm take turns. In a calm processes are killed and schedulers disturbed, but no server and no connection.
const STORM: Duration = Duration::from_secs(24);
const CALM: Duration = Duration::from_secs(16);

/// What faults are about.
#[derive(Clone)]
pub(super) struct Faults {
    pub(super) slots: Vec<Arc<Slot>>,
    pub(super) postgres: Arc<AsyncMutex<Postgres>>,
    pub(super) redis: Arc<AsyncMutex<Redis>>,
    pub(super) owner_url: SecretString,
    pub(super) service_url: SecretString,
    pub(super) log: Arc<Log>,
    pub(super) started: Instant,
    pub(super) stop: CancellationToken,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Faults {
    /// Starts all kinds of faults; they end, and leave everything running, when `stop` is cancelled.
    pub(super) fn begin(&self, seed: u64) -> tokio::task::JoinSet<()> {
        let mut lanes = tokio::task::JoinSet::new();
        lanes.spawn(self.clone().kills(seed));
        lanes.spawn(self.clone().pauses(seed));
        lanes.spawn(self.clone().limits(seed));
        lanes.spawn(self.clone().of_apis(seed));
        for stream in 10..15 {
            lanes.spawn(self.clone().connections(seed, stream));
        }
        lanes.spawn(self.clone().silences(seed));
        lanes.spawn(self.clone().of_redis(seed));
        lanes.spawn(self.clone().of_postgres(seed));
        lanes.spawn(self.clone().of_schedulers(seed));
        lanes
    }

    async fn sleep(&self, time: Duration) {
        let _ = self.stop.run_until_cancelled(tokio::time::sleep(time)).await;
    }

    /// Waits, and in a calm until it is over. Whether to go on.
    async fn next(&self, time: Duration, only_in_storms: bool) -> bool {
        self.sleep(time).await;
        if only_in_storms {
            let cycle = (STORM + CALM).as_secs_f64();
            let into = self.started.elapsed().as_secs_f64() % cycle;
            if into > STORM.as_secs_f64() {
                self.sleep(Duration::from_secs_f64(cycle - into)).await;
            }
        }
        !self.stop.is_cancelled()
    }

    /// Waits, at most until the storm is over.
    async fn sleep_in_storm(&self, time: Duration) {
        let cycle = (STORM + CALM).as_secs_f64();
        let left = STORM.as_secs_f64() - self.started.elapsed().as_secs_f64() % cycle;
        self.sleep(time.min(Duration::from_secs_f64(left.max(0.0)))).await;
    }

    fn of(&self, role: Role) -> Vec<&Arc<Slot>> {
        self.slots.iter().filter(|slot| slot.role == role).collect()
    }

    /// Ends everything that faults may have left behind.
    pub(super) fn heal(&self) {
        for slot in &self.slots {
            for proxy in [&slot.postgres, &slot.redis] {
                proxy.lose_one_reply_of(0);
                proxy.slow_down(Duration::ZERO, 0);
                proxy.cut();
                proxy.restore();
            }
            slot.signal(Signal::CONT);
        }
    }
}
