//! API processes that are killed or paused: whoever is connected comes back to another one.

use std::time::Duration;

use rand::Rng as _;
use rustix::process::Signal;

use super::{super::fleet::Role, Faults, deck::Deck};

impl Faults {
    pub(super) async fn of_apis(self, seed: u64) {
        let mut deck = Deck::new(seed, 8, &[Signal::KILL, Signal::KILL, Signal::STOP]);
        loop {
            let wait = deck.about(Duration::from_secs(3));
            let pause = deck.about(Duration::from_secs(4));
            let which = deck.random.random_range(0..1000);
            let signal = deck.draw();
            if !self.next(wait, false).await {
                return;
            }
            let apis = self.of(Role::Api);
            let slot = apis[which % apis.len()];
            let name = slot.name();
            if !slot.signal(signal) {
                continue;
            }
            if signal == Signal::KILL {
                self.log.add("api killed");
                continue;
            }
            self.log.add("api paused");
            self.sleep(pause).await;
            // Another process that took its place since was not paused, and does not mind.
            if slot.name() == name {
                slot.signal(Signal::CONT);
            }
        }
    }
}
