//! Workers that are killed, paused, or may open no more files.

use std::time::Duration;

use rand::Rng as _;
use rustix::process::{Resource, Rlimit, Signal};
use shared::clock::Clock;

use super::{
    super::{LEASE, fleet::Role},
    Faults,
    deck::Deck,
};

impl Faults {
    pub(super) async fn kills(self, seed: u64) {
        let mut deck = Deck::new(seed, 1, &[Signal::KILL]);
        loop {
            let wait = deck.about(Duration::from_millis(1800));
            let which = deck.random.random_range(0..1000);
            let signal = deck.draw();
            if !self.next(wait, false).await {
                return;
            }
            let workers = self.of(Role::Worker);
            if workers[which % workers.len()].signal(signal) {
                self.log.add("worker killed");
            }
        }
    }

    /// Workers that are as good as dead for two to three leases, and come back believing that nothing happened.
    pub(super) async fn pauses(self, seed: u64) {
        let mut deck = Deck::new(seed, 2, &[()]);
        loop {
            let wait = deck.about(Duration::from_secs(6));
            let pause = LEASE.mul_f64(deck.random.random_range(2.0..3.0));
            let which = deck.random.random_range(0..1000);
            if !self.next(wait, false).await {
                return;
            }
            let workers = self.of(Role::Worker);
            let slot = workers[which % workers.len()];
            let name = slot.name();
            if slot.signal(Signal::STOP) {
                self.log.add("worker paused for 2-3 leases");
                self.sleep(pause).await;
                // Another process that took its place since was not paused, and does not mind.
                if slot.name() == name {
                    slot.signal(Signal::CONT);
                }
            }
        }
    }

    pub(super) async fn limits(self, seed: u64) {
        let mut deck = Deck::new(seed, 3, &[()]);
        loop {
            let wait = deck.about(Duration::from_secs(12));
            let which = deck.random.random_range(0..1000);
            if !self.next(wait, true).await {
                return;
            }
            let workers = self.of(Role::Worker);
            let slot = workers[which % workers.len()];
            let Some(pid) = slot.pid() else { continue };
            let Ok(open) = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())) else { continue };
            let few = Some(open.count() as u64);
            let since = Clock::system().now();
            let limit = |current, maximum| Rlimit { current, maximum };
            let Ok(before) = rustix::process::prlimit(Some(pid), Resource::Nofile, limit(few, Some(4096))) else {
                continue;
            };
            self.log.add("worker out of file descriptors");
            // New connections are what it needs descriptors for.
            slot.postgres.reset_connections();
            self.sleep_in_storm(Duration::from_secs(3)).await;
            if slot.pid() == Some(pid) {
                let _ = rustix::process::prlimit(
                    Some(pid),
                    Resource::Nofile,
                    limit(before.current.map(|most| most.min(4096)), Some(4096)),
                );
            }
            self.log.disturbed_since(since);
        }
    }
}
