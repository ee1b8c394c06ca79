//! When lines are due.

use std::str::FromStr as _;

use anyhow::Context as _;
use chrono::{DateTime, LocalResult, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use cron::Schedule;

use crate::schedule::{CatchUp, Line};

/// After how long a tick counts as missed.
const LATE: TimeDelta = TimeDelta::minutes(1);

/// A line's expression, read.
#[derive(Debug)]
pub(crate) struct Times {
    schedule: Schedule,
    time_zone: Tz,
    /// Due in every hour: counted by time that passes, through changes of the clocks.
    is_hourly: bool,
}

impl Times {
    /// Reads the line's expression.
    pub(crate) fn of(line: &Line) -> anyhow::Result<Self> {
        Self::parse(line.cron, line.time_zone).with_context(|| format!("line {}", line.name))
    }

    fn parse(cron: &str, time_zone: Tz) -> anyhow::Result<Self> {
        let schedule = Schedule::from_str(cron)?;
        let is_hourly = cron.split_whitespace().nth(2).is_some_and(|hours| hours == "*");
        Ok(Self { schedule, time_zone, is_hourly })
    }

    /// The times after `since`, in order, without end or until the expression's years are over.
    ///
    /// A line that is due at certain hours is due once on each day, also when the clocks change: at the first of two
    /// moments of that name, and when there is none, as much later as the clocks were put forward.
    pub(crate) fn after(&self, since: DateTime<Utc>) -> Box<dyn Iterator<Item = DateTime<Utc>> + '_> {
        if self.is_hourly {
            return Box::new(self.schedule.after_owned(since.with_timezone(&self.time_zone)).map(|due| due.to_utc()));
        }
        // The clock on the wall, as if it were that of UTC; a day earlier, since it may show the same time twice.
        let on_the_wall = since.with_timezone(&self.time_zone).naive_local().and_utc() - TimeDelta::days(1);
        let mut last = since;
        Box::new(self.schedule.after_owned(on_the_wall).map(|due| self.moment(due)).filter(move |due| {
            let is_later = *due > last;
            if is_later {
                last = *due;
            }
            is_later
        }))
    }

    fn moment(&self, on_the_wall: DateTime<Utc>) -> DateTime<Utc> {
        let local = on_the_wall.naive_utc();
        match self.time_zone.from_local_datetime(&local) {
            LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => moment.to_utc(),
            LocalResult::None => {
                let before = self.time_zone.offset_from_utc_datetime(&(local - TimeDelta::days(1)));
                (local - chrono::Offset::fix(&before)).and_utc()
            }
        }
    }

    /// The ticks that are to be made now, of those after `since`.
    pub(crate) fn due(&self, since: DateTime<Utc>, now: DateTime<Utc>, catch_up: CatchUp) -> Vec<DateTime<Utc>> {
        let mut missed: Vec<_> = self.after(since).take_while(|due| *due <= now).collect();
        let keep = match catch_up {
            CatchUp::Latest => 1,
            CatchUp::Each(most) => most,
            CatchUp::Skip => missed.iter().rev().take_while(|due| now - **due <= LATE).count(),
        };
        missed.split_off(missed.len().saturating_sub(keep))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::schedule::SCHEDULE;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn times(cron: &str, time_zone: Tz, since: &str, count: usize) -> Vec<String> {
        let times = Times::parse(cron, time_zone).expect("a readable expression");
        times.after(at(since)).take(count).map(|due| due.format("%d %H:%M").to_string()).collect()
    }

    #[test]
    fn every_line_has_a_name_of_its_own_and_a_readable_expression() {
        let names: HashSet<&str> = SCHEDULE.iter().map(|line| line.name).collect();
        assert_eq!(names.len(), SCHEDULE.len());
        for line in SCHEDULE {
            assert!(Times::of(line).is_ok() && line.template().is_ok(), "{}: {}", line.name, line.cron);
        }
    }

    #[test]
    fn missed_ticks_are_made_up_for_as_the_line_says() {
        let minutely = Times::parse("0 * * * * *", Tz::UTC).expect("a readable expression");
        let (since, now) = (at("2026-01-01T10:00:30Z"), at("2026-01-01T10:05:10Z"));
        assert_eq!(minutely.due(since, now, CatchUp::Latest), [at("2026-01-01T10:05:00Z")]);
        assert_eq!(
            minutely.due(since, now, CatchUp::Each(2)),
            [at("2026-01-01T10:04:00Z"), at("2026-01-01T10:05:00Z")]
        );
        assert_eq!(minutely.due(since, now, CatchUp::Each(100)).len(), 5);
        assert_eq!(minutely.due(since, now, CatchUp::Skip), [at("2026-01-01T10:05:00Z")]);
        let daily = Times::parse("0 0 3 * * *", Tz::UTC).expect("a readable expression");
        assert!(daily.due(since, at("2026-01-03T09:00:00Z"), CatchUp::Skip).is_empty());
        assert_eq!(daily.due(since, at("2026-01-03T09:00:00Z"), CatchUp::Latest), [at("2026-01-03T03:00:00Z")]);
        assert!(minutely.due(at("2026-01-01T10:00:00Z"), at("2026-01-01T10:00:59Z"), CatchUp::Latest).is_empty());
    }

    #[test]
    fn a_daily_line_is_due_once_on_the_day_that_has_its_hour_twice() {
        // In Berlin the clocks go back from 3 to 2 on 25 October 2026, at 01:00 UTC.
        assert_eq!(
            times("0 30 2 * * *", Tz::Europe__Berlin, "2026-10-23T12:00:00Z", 3),
            ["24 00:30", "25 00:30", "26 01:30"]
        );
        // Asked between the two.
        assert_eq!(times("0 30 2 * * *", Tz::Europe__Berlin, "2026-10-25T00:45:00Z", 1), ["26 01:30"]);
    }

    #[test]
    fn a_daily_line_is_due_once_on_the_day_that_has_not_its_hour() {
        // In Berlin the clocks go from 2 to 3 on 29 March 2026, at 01:00 UTC: 02:30 is 03:30 then.
        assert_eq!(
            times("0 30 2 * * *", Tz::Europe__Berlin, "2026-03-27T12:00:00Z", 3),
            ["28 01:30", "29 01:30", "30 00:30"]
        );
    }

    #[test]
    fn an_hourly_line_is_due_every_hour_that_passes() {
        for since in ["2026-10-24T22:30:00Z", "2026-03-28T22:30:00Z"] {
            let times = Times::parse("0 0 * * * *", Tz::Europe__Berlin).expect("a readable expression");
            let due: Vec<_> = times.after(at(since)).take(6).collect();
            assert!(due.windows(2).all(|pair| pair[1] - pair[0] == TimeDelta::hours(1)), "{due:?}");
        }
    }
}
