//! Leaders that are killed, paused or cut off, and clocks that are wrong.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rand::Rng as _;
use rustix::process::Signal;
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};

use super::{
    super::fleet::{Role, Slot},
    Faults,
    deck::Deck,
};

/// How long a leader that went silent keeps the lead.
const LEADERS_LEASE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy)]
enum OfSchedulers {
    LeaderKilled,
    LeaderPaused,
    LeaderConnectionKilled,
    LeaderCutOff,
    ClockWrong,
    AnyKilled,
}

impl Faults {
    pub(super) async fn of_schedulers(self, seed: u64) {
        use OfSchedulers::{AnyKilled, ClockWrong, LeaderConnectionKilled, LeaderCutOff, LeaderKilled, LeaderPaused};
        let all = [LeaderKilled, LeaderPaused, LeaderConnectionKilled, LeaderCutOff, ClockWrong, AnyKilled];
        let mut deck = Deck::new(seed, 6, &all);
        loop {
            let wait = deck.about(Duration::from_secs(4));
            let what = deck.draw();
            let which = deck.random.random_range(0..1000);
            let ahead = [-3600, -60, -5, 5, 20][deck.random.random_range(0..5)];
            let pause = deck.about(Duration::from_secs(6));
            if !self.next(wait, false).await {
                return;
            }
            let schedulers = self.of(Role::Scheduler);
            let leader = self
                .leader()
                .await
                .and_then(|name| schedulers.iter().copied().find(|slot| slot.name().as_deref() == Some(name.as_str())));
            let slot = leader.unwrap_or(schedulers[which % schedulers.len()]);
            match what {
                LeaderKilled => {
                    slot.signal(Signal::KILL);
                    self.log.add("leader killed");
                }
                LeaderPaused => {
                    slot.signal(Signal::STOP);
                    self.log.add("leader paused");
                    self.sleep(pause).await;
                    slot.signal(Signal::CONT);
                }
                LeaderConnectionKilled => {
                    slot.postgres.reset_connections();
                    self.log.add("leader's connection killed");
                }
                LeaderCutOff => {
                    slot.postgres.silence_everything();
                    self.log.add("leader cut off");
                    self.sleep(pause).await;
                    slot.postgres.cut();
                    slot.postgres.restore();
                }
                ClockWrong => {
                    self.log.add(format!("scheduler's clock off by {ahead} s"));
                    self.lead_alone(slot, ahead, pause).await;
                }
                AnyKilled => {
                    schedulers[which % schedulers.len()].signal(Signal::KILL);
                    self.log.add("scheduler killed");
                }
            }
        }
    }

    /// A scheduler whose clock is an hour ahead leads for a while.
    pub(in crate::torture) async fn one_hour_ahead(&self) {
        self.log.add("scheduler's clock off by 3600 s");
        for slot in self.of(Role::Scheduler).into_iter().filter(|slot| slot.is_first()) {
            self.lead_alone(slot, 3600, Duration::from_secs(10)).await;
        }
    }

    /// Lets a scheduler lead on a clock that is so much ahead, for about so long: the others are paused.
    async fn lead_alone(&self, slot: &Arc<Slot>, ahead_seconds: i64, time: Duration) {
        let others: Vec<_> = self.of(Role::Scheduler).into_iter().filter(|other| !Arc::ptr_eq(other, slot)).collect();
        for other in &others {
            other.signal(Signal::STOP);
        }
        slot.ahead_seconds.store(ahead_seconds, Ordering::SeqCst);
        slot.signal(Signal::KILL);
        // The lease of the leader before it runs out first.
        tokio::time::sleep(LEADERS_LEASE + time).await;
        slot.ahead_seconds.store(0, Ordering::SeqCst);
        slot.signal(Signal::KILL);
        for other in &others {
            other.signal(Signal::CONT);
        }
    }

    async fn leader(&self) -> Option<String> {
        let mut owner = PgConnection::connect(self.owner_url.expose_secret()).await.ok()?;
        sqlx::query_scalar("select process from torture.leader").fetch_one(&mut owner).await.ok()
    }
}
