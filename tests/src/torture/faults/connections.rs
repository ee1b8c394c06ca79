//! Connections that break, fall silent, are slow or lose replies.

use std::time::Duration;

use rand::Rng as _;
use shared::clock::Clock;

use super::{Faults, deck::Deck};

#[derive(Debug, Clone, Copy)]
enum OfConnections {
    Cut,
    Reset,
    Slow,
    Narrow,
    RepliesLost,
}

impl Faults {
    pub(super) async fn connections(self, seed: u64, stream: u64) {
        use OfConnections::{Cut, Narrow, RepliesLost, Reset, Slow};
        let all = [Cut, Cut, Reset, Reset, Reset, Slow, Narrow, RepliesLost, RepliesLost, RepliesLost, RepliesLost];
        let mut deck = Deck::new(seed, stream, &all);
        loop {
            let wait = deck.about(Duration::from_millis(500));
            let what = deck.draw();
            let which = deck.random.random_range(0..1000);
            let is_of_redis = deck.random.random_bool(0.4);
            let time = deck.about(Duration::from_secs(2));
            let one_of = deck.random.random_range(10..=20);
            let latency = Duration::from_millis(deck.random.random_range(50..150));
            if !self.next(wait, true).await {
                return;
            }
            let slot = &self.slots[which % self.slots.len()];
            let proxy = if is_of_redis && slot.uses_redis() { &slot.redis } else { &slot.postgres };
            let since = Clock::system().now();
            match what {
                Cut => {
                    self.log.add("connections cut, none accepted for a while");
                    proxy.cut();
                    self.sleep_in_storm(time / 2).await;
                    proxy.restore();
                }
                Reset => {
                    self.log.add("connections reset");
                    proxy.reset_connections();
                }
                Slow => {
                    self.log.add("connections slow (latency)");
                    proxy.slow_down(latency, 0);
                    self.sleep_in_storm(time).await;
                    proxy.slow_down(Duration::ZERO, 0);
                }
                Narrow => {
                    self.log.add("connections slow (bandwidth)");
                    proxy.slow_down(Duration::ZERO, 64 * 1024);
                    self.sleep_in_storm(time).await;
                    proxy.slow_down(Duration::ZERO, 0);
                }
                RepliesLost => {
                    let before = proxy.lost_replies();
                    proxy.lose_one_reply_of(one_of);
                    self.sleep_in_storm(time).await;
                    proxy.lose_one_reply_of(0);
                    self.log.add_many("reply lost after the command was carried out", proxy.lost_replies() - before);
                }
            }
            self.log.disturbed_since(since);
        }
    }

    /// Connections that are half open: neither side hears of the other, nor of an end.
    pub(super) async fn silences(self, seed: u64) {
        let mut deck = Deck::new(seed, 7, &[()]);
        loop {
            let wait = deck.about(Duration::from_secs(2));
            let which = deck.random.random_range(0..1000);
            let is_of_redis = deck.random.random_bool(0.4);
            let time = deck.about(Duration::from_secs(16));
            if !self.next(wait, true).await {
                return;
            }
            let slot = &self.slots[which % self.slots.len()];
            let proxy = if is_of_redis && slot.uses_redis() { &slot.redis } else { &slot.postgres };
            let since = Clock::system().now();
            self.log.add("connections silent");
            proxy.silence_connections();
            self.sleep_in_storm(time).await;
            proxy.cut();
            proxy.restore();
            self.log.disturbed_since(since);
        }
    }
}
