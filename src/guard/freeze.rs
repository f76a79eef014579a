//! Hours in which nothing is changed.

use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

/// Days as a file names them, from Monday on.
pub(super) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A window of local time, on certain days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// `mon` to `sun`, or dates (`2026-12-24`), on which it begins; empty = every day.
    pub days: Vec<String>,
    /// Its first minute of the day.
    pub from: u16,
    /// The minute at which it is over; at or before `from`, on the day after.
    pub to: u16,
    /// IANA name of the time zone.
    pub zone: String,
    /// Why.
    pub why: String,
    /// Runbooks that may run all the same.
    pub except: Vec<String>,
}

/// Reads `16:30`; `24:00` is the end of the day.
pub(super) fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let plain = |part: &str| part.len() == 2 && part.chars().all(|c| c.is_ascii_digit());
    if !plain(hour) || !plain(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= DAY).then_some(all)
}

/// `mon` for `Monday`, a date for itself; `None` when it is neither.
pub(super) fn day(text: &str) -> Option<String> {
    let small = text.to_ascii_lowercase();
    if let Some(named) = DAYS.iter().find(|named| small == **named) {
        return Some((*named).to_owned());
    }
    let date: jiff::civil::Date = text.parse().ok()?;
    Some(date.to_string()).filter(|written| written == text)
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

impl Freeze {
    /// Whether a run of `runbook` at `now` falls into it, and in which words. A zone that is not known here freezes: what
    /// cannot be told never passes.
    pub(super) fn holds(&self, runbook: &str, now: Timestamp) -> Option<String> {
        if self.except.iter().any(|name| name == runbook) {
            return None;
        }
        let zone = &self.zone;
        let Ok(local) = now.in_tz(zone) else {
            return Some(format!("{}, and the time zone {zone} is not known here", self.why));
        };
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
        let inside = if self.from < self.to {
            self.on(&local, 0) && (self.from..self.to).contains(&minute)
        } else {
            (self.on(&local, 0) && minute >= self.from) || (self.on(&local, 1) && minute < self.to)
        };
        inside.then(|| {
            let days = if self.days.is_empty() { "every day".to_owned() } else { self.days.join(", ") };
            let (from, to) = (clock(self.from), clock(self.to));
            format!(
                "{} ({days} from {from} to {to}, {zone}; there it is {})",
                self.why,
                local.strftime("%a %H:%M")
            )
        })
    }

    /// Whether it begins on the day of `local`, or so many days before.
    fn on(&self, local: &Zoned, before: i64) -> bool {
        let Ok(date) = local.date().checked_sub(jiff::Span::new().days(before)) else { return true };
        let weekday = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0);
        let date = date.to_string();
        self.days.is_empty() || self.days.iter().any(|day| *day == date || day == DAYS[weekday])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freeze(days: &[&str], from: &str, to: &str, zone: &str) -> Freeze {
        Freeze {
            days: days.iter().map(|text| day(text).unwrap()).collect(),
            from: minute(from).unwrap(),
            to: minute(to).unwrap(),
            zone: zone.to_owned(),
            why: "the weekend".to_owned(),
            except: vec!["emergency".to_owned()],
        }
    }

    #[test]
    fn a_window_holds_in_its_own_zone_on_its_own_days() {
        // 2026-11-27 is a Friday; Berlin is one hour ahead in winter and two in summer, Kolkata five and a half.
        for (freeze, now, holds) in [
            (freeze(&["Fri"], "16:00", "24:00", "Europe/Berlin"), "2026-11-27T15:00:00Z", true),
            (freeze(&["fri"], "16:00", "24:00", "Europe/Berlin"), "2026-11-27T14:59:59Z", false),
            (freeze(&["fri"], "16:00", "24:00", "Europe/Berlin"), "2026-11-27T22:59:59Z", true),
            (freeze(&["fri"], "16:00", "24:00", "Europe/Berlin"), "2026-11-27T23:00:00Z", false),
            (freeze(&["fri"], "16:00", "24:00", "Europe/Berlin"), "2026-06-26T14:00:00Z", true),
            (freeze(&["thu"], "16:00", "24:00", "Europe/Berlin"), "2026-11-27T15:00:00Z", false),
            // Over midnight: it begins on the named day and ends on the next.
            (freeze(&["fri"], "22:00", "06:00", "Asia/Kolkata"), "2026-11-27T16:30:00Z", true),
            (freeze(&["fri"], "22:00", "06:00", "Asia/Kolkata"), "2026-11-28T00:29:00Z", true),
            (freeze(&["fri"], "22:00", "06:00", "Asia/Kolkata"), "2026-11-28T00:30:00Z", false),
            (freeze(&["fri"], "22:00", "06:00", "Asia/Kolkata"), "2026-11-27T00:00:00Z", false),
            (freeze(&[], "22:00", "06:00", "UTC"), "2026-11-27T03:00:00Z", true),
            (freeze(&["2026-12-24"], "00:00", "24:00", "America/New_York"), "2026-12-25T04:59:00Z", true),
            (freeze(&["2026-12-24"], "00:00", "24:00", "America/New_York"), "2026-12-25T05:00:00Z", false),
        ] {
            let found = freeze.holds("deploy-fix", now.parse().unwrap());
            assert_eq!(found.is_some(), holds, "{freeze:?} at {now}: {found:?}");
            assert_eq!(freeze.holds("emergency", now.parse().unwrap()), None, "an exception is one");
        }
    }

    #[test]
    fn a_zone_that_is_not_known_here_freezes() {
        let nowhere = freeze(&[], "16:00", "17:00", "Mars/Olympus");
        let why = nowhere.holds("x", Timestamp::UNIX_EPOCH).unwrap();
        assert!(why.contains("Mars/Olympus is not known"), "{why}");
    }

    #[test]
    fn times_and_days_are_read_strictly() {
        for bad in ["", "4pm", "16", "16:60", "24:01", "1:00", "+1:00", "16:00:00"] {
            assert_eq!(minute(bad), None, "{bad}");
        }
        assert_eq!((minute("00:00"), minute("24:00")), (Some(0), Some(1440)));
        for bad in ["friday?", "2026-13-01", "2026-1-1", "", "20261224"] {
            assert_eq!(day(bad), None, "{bad}");
        }
    }
}
