//! A circuit breaker: spares callers the wait for a remote service that does not answer, and the service their calls.
//!
//! After [`FAILURES`] calls in a row that failed, the circuit is open: calls are refused at once. After a rest, one call may
//! try; the others are still refused. Its success closes the circuit, its failure begins a rest twice as long.
//!
//! Time is given by the caller, so that this is a plain state machine.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many calls must fail in a row.
const FAILURES: u32 = 5;
/// How long the circuit is open at first.
const REST: Duration = Duration::from_secs(5);
/// How long it is open at most.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Decides which calls of one remote service are made.
#[derive(Debug)]
pub(crate) struct Circuit {
    state: Mutex<State>,
    first_rest: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, rest: Duration },
    Trying { rest: Duration },
}

/// What a call has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// The circuit is open now, for so long.
    Opened(Duration),
    /// The circuit is closed again.
    Closed,
}

/// Leave to make a call. Dropped without a word on how the call ended, it counts as never given.
#[derive(Debug)]
#[must_use = "a permit that is dropped lets somebody else try"]
pub(crate) struct Permit<'a> {
    circuit: &'a Circuit,
    /// As long as the call is the one that tries, and has not ended.
    tries: Option<Duration>,
    asked_at: Instant,
}

impl Circuit {
    /// A closed one.
    pub(crate) fn new() -> Self {
        Self::with_rest(REST)
    }

    /// A closed one that rests for so long at first.
    pub(crate) fn with_rest(first_rest: Duration) -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }), first_rest }
    }

    /// Leave to make a call now; `None` while the circuit is open.
    pub(crate) fn permit(&self, now: Instant) -> Option<Permit<'_>> {
        let mut state = self.lock();
        let tries = match *state {
            State::Closed { .. } => None,
            State::Open { until, rest } if now >= until => {
                *state = State::Trying { rest };
                Some(rest)
            }
            State::Open { .. } | State::Trying { .. } => return None,
        };
        Some(Permit { circuit: self, tries, asked_at: now })
    }

    /// Whether a call would be refused now.
    pub(crate) fn refuses(&self, now: Instant) -> bool {
        match *self.lock() {
            State::Closed { .. } => false,
            State::Open { until, .. } => now < until,
            State::Trying { .. } => true,
        }
    }

    /// Whether calls are refused, but for one that tries.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(*self.lock(), State::Closed { .. })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// The service has answered.
    pub(crate) fn succeeded(mut self) -> Change {
        let mut state = self.circuit.lock();
        self.tries = None;
        let was_open = !matches!(*state, State::Closed { .. });
        *state = State::Closed { failures: 0 };
        if was_open { Change::Closed } else { Change::None }
    }

    /// The service has not answered, or not as it should.
    pub(crate) fn failed(mut self, now: Instant) -> Change {
        let mut state = self.circuit.lock();
        let tried = self.tries.take();
        let rest = match (*state, tried) {
            (State::Closed { failures }, _) if failures + 1 < FAILURES => {
                *state = State::Closed { failures: failures + 1 };
                return Change::None;
            }
            (State::Closed { .. }, _) => self.circuit.first_rest,
            (State::Trying { .. }, Some(rest)) => (2 * rest).min(LONGEST_REST),
            // A call from before the circuit opened: that is known already.
            (State::Open { .. } | State::Trying { .. }, _) => return Change::None,
        };
        *state = State::Open { until: now + rest, rest };
        Change::Opened(rest)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(rest) = self.tries.take() {
            let mut state = self.circuit.lock();
            if matches!(*state, State::Trying { .. }) {
                *state = State::Open { until: self.asked_at, rest };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A circuit that has just opened.
    fn opened(now: Instant) -> Circuit {
        let circuit = Circuit::new();
        for _ in 1..FAILURES {
            assert_eq!(circuit.permit(now).unwrap().failed(now), Change::None);
        }
        assert!(!circuit.is_open());
        assert_eq!(circuit.permit(now).unwrap().failed(now), Change::Opened(REST));
        circuit
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_refuses_until_the_rest_is_over() {
        let now = Instant::now();
        let circuit = opened(now);
        assert!(circuit.is_open() && circuit.refuses(now));
        assert!(circuit.permit(now).is_none());
        assert!(circuit.permit(now + REST.mul_f64(0.99)).is_none());
        assert!(!circuit.refuses(now + REST));
        let tries = circuit.permit(now + REST);
        assert!(tries.is_some() && circuit.refuses(now + REST));
    }

    #[test]
    fn a_success_in_between_begins_the_count_anew() {
        let (now, circuit) = (Instant::now(), Circuit::new());
        for _ in 0..3 {
            for _ in 1..FAILURES {
                let _ = circuit.permit(now).unwrap().failed(now);
            }
            assert_eq!(circuit.permit(now).unwrap().succeeded(), Change::None);
        }
        assert!(!circuit.is_open());
    }

    #[test]
    fn one_call_tries_and_its_success_closes() {
        let now = Instant::now();
        let circuit = opened(now);
        let later = now + REST;
        let permit = circuit.permit(later).unwrap();
        assert!(circuit.permit(later).is_none(), "one at a time");
        assert_eq!(permit.succeeded(), Change::Closed);
        assert!(!circuit.is_open());
        assert!(circuit.permit(later).is_some());
    }

    #[test]
    fn a_failed_try_doubles_the_rest_up_to_its_longest() {
        let mut now = Instant::now();
        let circuit = opened(now);
        let mut rest = REST;
        for _ in 0..8 {
            now += rest;
            let longer = (2 * rest).min(LONGEST_REST);
            assert_eq!(circuit.permit(now).unwrap().failed(now), Change::Opened(longer));
            assert!(circuit.permit(now + rest.mul_f64(0.99)).is_none());
            rest = longer;
        }
        assert_eq!(rest, LONGEST_REST);
    }

    #[test]
    fn a_try_that_is_given_up_leaves_room_for_the_next_at_once() {
        let now = Instant::now();
        let circuit = opened(now);
        let later = now + REST;
        drop(circuit.permit(later));
        assert!(circuit.is_open());
        assert_eq!(circuit.permit(later).unwrap().failed(later), Change::Opened(2 * REST));
    }

    #[test]
    fn calls_from_before_it_opened_change_nothing_when_they_fail_and_close_it_when_they_succeed() {
        let (now, circuit) = (Instant::now(), Circuit::new());
        let (slow, slower) = (circuit.permit(now).unwrap(), circuit.permit(now).unwrap());
        for _ in 0..FAILURES {
            let _ = circuit.permit(now).unwrap().failed(now);
        }
        assert_eq!(slow.failed(now + REST / 2), Change::None);
        assert!(circuit.permit(now + REST).is_some(), "the rest is no longer for it");
        assert_eq!(slower.succeeded(), Change::Closed);
    }
}
