//! The hours in which somebody wants to be left alone, by the clock on their wall.

use chrono::{LocalResult, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _};
use chrono_tz::Tz;

use crate::domain::clock::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    pub from: NaiveTime,
    /// The first moment that is not quiet any more; if it is not later than `from`, of the next day. The same as `from`:
    /// never quiet.
    pub until: NaiveTime,
    pub zone: Tz,
}

impl QuietHours {
    /// When it is not quiet any more; `None`: it is not quiet at this moment.
    #[must_use]
    pub fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let wall = now.with_timezone(&self.zone).naive_local();
        let time = wall.time();
        let is_quiet = if self.from <= self.until {
            self.from <= time && time < self.until
        } else {
            time >= self.from || time < self.until
        };
        if !is_quiet {
            return None;
        }
        let day = if time < self.until { wall.date() } else { wall.date().succ_opt()? };
        self.first_after(now, day.and_time(self.until))
    }

    /// When the clock on the wall shows this, or first shows something later where it never does: that hour is left out in
    /// spring. In autumn it may show the same twice.
    fn first_after(&self, now: Timestamp, wall: NaiveDateTime) -> Option<Timestamp> {
        const LEFT_OUT_MINUTES_MAX: i64 = 24 * 60;
        (0..=LEFT_OUT_MINUTES_MAX).find_map(|minutes| {
            let at = match self.zone.from_local_datetime(&(wall + TimeDelta::minutes(minutes))) {
                LocalResult::Single(at) => [Some(at), None],
                LocalResult::Ambiguous(first, second) => [Some(first), Some(second)],
                LocalResult::None => [None, None],
            };
            at.into_iter().flatten().map(|at| at.to_utc()).find(|at| *at > now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(from: &str, until: &str, zone: &str) -> QuietHours {
        QuietHours { from: from.parse().unwrap(), until: until.parse().unwrap(), zone: zone.parse().unwrap() }
    }

    /// When it ends, as the clock of the zone of the answer shows it.
    fn end(hours: QuietHours, now: &str) -> Option<String> {
        hours.end(now.parse().unwrap()).map(|end| end.to_rfc3339())
    }

    #[test]
    fn a_night_goes_over_midnight() {
        let night = hours("22:00:00", "07:00:00", "Europe/Copenhagen");
        for (now, expected) in [
            ("2026-07-01T19:59:59Z", None),
            ("2026-07-01T20:00:00Z", Some("2026-07-02T05:00:00+00:00")),
            ("2026-07-02T00:30:00Z", Some("2026-07-02T05:00:00+00:00")),
            ("2026-07-02T04:59:59Z", Some("2026-07-02T05:00:00+00:00")),
            ("2026-07-02T05:00:00Z", None),
            // In winter an hour later.
            ("2026-12-31T23:30:00Z", Some("2027-01-01T06:00:00+00:00")),
        ] {
            assert_eq!(end(night, now).as_deref(), expected, "{now}");
        }
    }

    #[test]
    fn an_afternoon_does_not() {
        let nap = hours("13:00:00", "15:30:00", "Asia/Kolkata");
        assert_eq!(end(nap, "2026-03-01T07:29:59Z"), None);
        assert_eq!(end(nap, "2026-03-01T07:30:00Z").as_deref(), Some("2026-03-01T10:00:00+00:00"));
        assert_eq!(end(nap, "2026-03-01T10:00:00Z"), None);
        assert_eq!(end(hours("08:00:00", "08:00:00", "UTC"), "2026-03-01T08:00:00Z"), None, "never quiet");
    }

    #[test]
    fn the_night_in_which_the_clock_goes_forward_is_shorter() {
        let night = hours("22:00:00", "07:00:00", "Europe/Copenhagen");
        assert_eq!(end(night, "2026-03-28T22:00:00Z").as_deref(), Some("2026-03-29T05:00:00+00:00"));
        // 02:30 is left out: quiet ends when the clock jumps from 02:00 to 03:00.
        let late = hours("00:00:00", "02:30:00", "Europe/Copenhagen");
        assert_eq!(end(late, "2026-03-29T00:30:00Z").as_deref(), Some("2026-03-29T01:00:00+00:00"));
        assert_eq!(end(late, "2026-03-29T01:00:00Z"), None);
    }

    #[test]
    fn the_night_in_which_the_clock_goes_back_is_longer() {
        let night = hours("22:00:00", "07:00:00", "Europe/Copenhagen");
        assert_eq!(end(night, "2026-10-24T21:00:00Z").as_deref(), Some("2026-10-25T06:00:00+00:00"));
        // 02:30 comes twice, an hour apart.
        let late = hours("00:00:00", "02:30:00", "Europe/Copenhagen");
        assert_eq!(end(late, "2026-10-25T00:00:00Z").as_deref(), Some("2026-10-25T00:30:00+00:00"));
        assert_eq!(end(late, "2026-10-25T01:10:00Z").as_deref(), Some("2026-10-25T01:30:00+00:00"));
    }

    #[test]
    fn it_ends_whatever_the_zone_does() {
        // Every zone, in the weeks in which Samoa left out a day: an end that is not later would be looked at again and again.
        for zone in chrono_tz::TZ_VARIANTS {
            let night = QuietHours { zone, ..hours("22:00:00", "07:00:00", "UTC") };
            let begin: Timestamp = "2011-12-20T00:00:00Z".parse().unwrap();
            for step in 0..24 * 20 {
                let now = begin + TimeDelta::hours(step);
                if let Some(end) = night.end(now) {
                    assert!(end > now && end - now <= TimeDelta::hours(11), "{zone} {now} {end}");
                }
            }
        }
    }
}
