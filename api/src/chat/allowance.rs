//! How often a socket may say something, whatever it is.

use tokio::time::{Duration, Instant};

/// So many at once, …
const BURST: u32 = 60;
/// … then one in this time.
const EVERY: Duration = Duration::from_millis(200);
/// Whoever goes on after so many refusals is not heard any more.
const MOST_REFUSED: u32 = 40;

/// What a socket may say.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    since: Instant,
    refused: u32,
}

/// Why something is not heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TooFast {
    /// It may be said again soon.
    Wait,
    /// It was told so often enough.
    Abuse,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, since: now, refused: 0 }
    }

    pub(super) fn take(&mut self, now: Instant) -> Result<(), TooFast> {
        let earned = u32::try_from((now - self.since).as_millis() / EVERY.as_millis()).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.since = now;
        }
        if self.left == BURST {
            self.refused = 0;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None if self.refused >= MOST_REFUSED => Err(TooFast::Abuse),
            None => {
                self.refused += 1;
                Err(TooFast::Wait)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_heard_a_flood_is_not() {
        let begin = Instant::now();
        let mut allowance = Allowance::new(begin);
        assert!((0..BURST).all(|_| allowance.take(begin).is_ok()));
        assert_eq!(allowance.take(begin), Err(TooFast::Wait));
        let later = begin + EVERY * 2;
        assert_eq!(
            [allowance.take(later), allowance.take(later), allowance.take(later)],
            [Ok(()), Ok(()), Err(TooFast::Wait)]
        );
        let refusals: Vec<_> = (0..MOST_REFUSED).map(|_| allowance.take(later)).collect();
        assert_eq!(refusals.last(), Some(&Err(TooFast::Abuse)));
        let much_later = later + EVERY * BURST;
        assert_eq!(allowance.take(much_later), Ok(()), "after a rest all is forgiven");
        assert_eq!(allowance.refused, 0);
    }
}
