//! How often the assistant may be asked, over whichever protocol.
//!
//! A person has their own limits. Visitors without an account could make themselves a new session for each question, so the
//! address that they come from counts. A machine asks for many people: it may do [`MACHINES`] times as much. All of a tenant together
//! have a limit too. Without Redis nobody is let through: nothing could be answered anyway.

use std::{net::IpAddr, sync::LazyLock};

use prometheus::IntCounterVec;
use shared::{
    assistant::Asker,
    auth::{Identity, Pepper, Principal},
    config::ChatConfig,
    rate_limit::{Exceeded, Limit, Pace, Places, RateLimiter},
    telemetry::metrics::counters,
};

use crate::{
    address::neighbourhood,
    error::{ApiError, Code},
};

/// How many times as much as a person a machine may, and for sockets all visitors of one address.
const MACHINES: u32 = 10;
const PERSON: &str = "questions";
const DAY: &str = "questions-of-day";
const TENANT: &str = "questions-of-all";
/// What is said when there is no telling how often something was done.
const AWAY: &str = "The assistant is not available at the moment. Please try again in a few seconds.";

static LIMITED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_assistant_questions_refused_total",
        "Questions that were refused because of a limit: of a `person` a minute or a `day`, or of the `tenant`; or `unavailable`, \
         because Redis did not answer.",
        &["limit"],
    )
});

/// Makes the counters exist.
pub(crate) fn prepare_metrics() {
    for limit in ["person", "day", "tenant", "unavailable"] {
        LIMITED.with_label_values(&[limit]);
    }
}

/// Lets a question through, or says when to come back.
pub(crate) async fn admit(
    limiter: &RateLimiter,
    config: &ChatConfig,
    pepper: &Pepper,
    caller: &Principal,
    asker: &Asker,
    address: IpAddr,
) -> Result<(), ApiError> {
    let subject = subject(pepper, caller, asker, address);
    let times = if matches!(caller.identity, Identity::Machine { .. }) { MACHINES } else { 1 };
    let (most, burst) =
        (config.questions_per_minute.saturating_mul(times), config.questions_burst.saturating_mul(times));
    let all = config.tenant_questions_per_minute;
    let limits = [
        Limit { name: PERSON, subject: subject.clone(), pace: Pace::Minute { most, burst } },
        Limit { name: DAY, subject, pace: Pace::Day(config.questions_per_day.saturating_mul(times)) },
        // A sixth of a minute's at once: one tenant's crowd does not fill the queue.
        Limit { name: TENANT, subject: String::new(), pace: Pace::Minute { most: all, burst: (all / 6).max(1) } },
    ];
    match limiter.take(caller.tenant, &limits).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(exceeded)) => Err(refused(exceeded)),
        Err(error) => {
            LIMITED.with_label_values(&["unavailable"]).inc();
            Err(ApiError { cause: Some(error.into()), ..ApiError::new(Code::ServiceUnavailable, AWAY) })
        }
    }
}

fn refused(Exceeded { name, retry_after }: Exceeded) -> ApiError {
    let (limit, what) = match name {
        DAY => ("day", "These were all questions that you may ask today."),
        TENANT => ("tenant", "Too many questions are being asked at the moment."),
        _ => ("person", "You ask faster than the assistant may answer."),
    };
    LIMITED.with_label_values(&[limit]).inc();
    let seconds = retry_after.as_millis().div_ceil(1000).max(1);
    ApiError::new(Code::RateLimited, format!("{what} Please try again in {seconds} s."))
        .with("retry_after_seconds", &u64::try_from(seconds).unwrap_or(u64::MAX))
}

/// Whose sockets count together, and how many they may be.
pub(crate) fn sockets(
    config: &ChatConfig,
    pepper: &Pepper,
    caller: &Principal,
    asker: &Asker,
    address: IpAddr,
) -> Places {
    let times = if matches!(caller.identity, Identity::Person { .. }) { 1 } else { MACHINES };
    Places {
        name: "sockets",
        subject: subject(pepper, caller, asker, address),
        most: config.sockets_per_person.saturating_mul(times),
        lasts: config.heartbeat * 5 / 2,
    }
}

/// Who shares a limit, as nobody can read it.
fn subject(pepper: &Pepper, caller: &Principal, asker: &Asker, address: IpAddr) -> String {
    let who = match caller.identity {
        Identity::Anonymous => format!("address:{}", neighbourhood(address)),
        _ => asker.as_str().to_owned(),
    };
    let hash = pepper.hash("limit", who.as_bytes());
    hash[..16].iter().fold(String::with_capacity(32), |text, byte| format!("{text}{byte:02x}"))
}
