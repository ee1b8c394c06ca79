//! Open and closed loops.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;

/// How many callers there are when as much as possible is asked.
const CALLERS: usize = 8;

/// How long each of many calls took, in milliseconds, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    pub(crate) fn new(mut milliseconds: Vec<f64>) -> Self {
        milliseconds.sort_by(f64::total_cmp);
        Self(milliseconds)
    }

    /// The time that this share of the calls did not exceed.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let at = ((self.0.len() as f64 * share).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }
}

/// Calls at a constant rate, whether earlier calls have been answered or not. The time of each counts from when it was due.
pub(crate) async fn at_rate<F>(
    rate: u32,
    seconds: u64,
    queries: &mut impl Iterator<Item = String>,
    call: impl Fn(String) -> F,
) -> anyhow::Result<Latencies>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let calls = u64::from(rate) * seconds;
    let start = Instant::now() + Duration::from_millis(10);
    let mut running = Vec::new();
    for (n, query) in (0..calls).zip(queries) {
        let due = start + Duration::from_secs(1) * u32::try_from(n)? / rate;
        tokio::time::sleep_until(due.into()).await;
        let call = call(query);
        running.push(tokio::spawn(async move {
            call.await?;
            anyhow::Ok(due.elapsed().as_secs_f64() * 1_000.0)
        }));
    }
    let mut milliseconds = Vec::new();
    for call in running {
        milliseconds.push(call.await??);
    }
    Ok(Latencies::new(milliseconds))
}

/// How many calls a second are answered when several callers ask again as soon as they were answered.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub(crate) async fn saturated<F>(
    seconds: u64,
    queries: &mut impl Iterator<Item = String>,
    call: impl Fn(String) -> F,
) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let wanted = 200 * usize::try_from(seconds)?;
    let calls: Vec<F> = queries.take(wanted).map(call).collect();
    let calls = Arc::new(Mutex::new(calls));
    let answered = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (calls, answered) = (Arc::clone(&calls), Arc::clone(&answered));
            tokio::spawn(async move {
                while Instant::now() < end {
                    let Some(call) = calls.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.pop() else { break };
                    call.await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let answered = answered.load(Ordering::Relaxed);
    ensure!(answered > 0, "nothing was answered");
    Ok(answered as f64 / start.elapsed().as_secs_f64())
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
