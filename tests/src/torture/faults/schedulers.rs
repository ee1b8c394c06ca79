//! Leaders that are killed, paused or cut off.

use std::time::Duration;

use rand::Rng as _;
use rustix::process::Signal;
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};

use super::{super::fleet::Role, Faults, deck::Deck};

#[derive(Debug, Clone, Copy)]
enum OfSchedulers {
    LeaderKilled,
    LeaderPaused,
    LeaderConnectionKilled,
    LeaderCutOff,
    AnyKilled,
}

impl Faults {
    pub(super) async fn of_schedulers(self, seed: u64) {
        use OfSchedulers::{AnyKilled, LeaderConnectionKilled, LeaderCutOff, LeaderKilled, LeaderPaused};
        let all = [LeaderKilled, LeaderPaused, LeaderConnectionKilled, LeaderCutOff, AnyKilled];
        let mut deck = Deck::new(seed, 6, &all);
        loop {
            let wait = deck.about(Duration::from_secs(4));
            let what = deck.draw();
            let which = deck.random.random_range(0..1000);
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
                AnyKilled => {
                    schedulers[which % schedulers.len()].signal(Signal::KILL);
                    self.log.add("scheduler killed");
                }
            }
        }
    }

    async fn leader(&self) -> Option<String> {
        let mut owner = PgConnection::connect(self.owner_url.expose_secret()).await.ok()?;
        sqlx::query_scalar("select process from torture.leader").fetch_one(&mut owner).await.ok()
    }
}
