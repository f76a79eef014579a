//! How sure a verdict is: how far the figures are past what makes it, times how much was measured. Pure.
//!
//! It is a measure for people, never a gate.

use super::judge::{ASLEEP, AT_WORK, DEGRADED, Figures, LOW, WINDOW, WINDOW_SPAN};
use super::verdict::Verdict;

/// Where between `from` (just so) and `to` (as clear as it gets) a figure is, 0 to 1.
fn past(figure: f64, from: f64, to: f64) -> f64 {
    ((figure - from) / (to - from)).clamp(0.0, 1.0)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

impl Figures {
    /// How sure `verdict` is, and what that rests on; `of` samples were taken in all.
    pub(super) fn confidence(&self, verdict: Verdict, of: usize) -> (Option<f64>, String) {
        let used = self.used.max(1.0);
        let (usage, asleep, running) = (self.used / self.limit, self.asleep / used, self.running / used);
        let (strength, grounds) = match verdict {
            Verdict::Healthy => (
                past(usage, LOW, LOW / 2.0),
                format!("usage {} where below {} is healthy", percent(usage), percent(LOW)),
            ),
            Verdict::Leak => {
                let tracks = self.more_used >= 5.0 && self.more_asleep >= 0.8 * self.more_used;
                let clear = f64::midpoint(past(asleep, ASLEEP, 0.9), past(running, 0.1, 0.0));
                let tracking = if tracks { ", and what was gained sleeps" } else { "" };
                (
                    if tracks { f64::midpoint(clear, 1.0) } else { clear },
                    format!(
                        "{} of the used are asleep where {} make a leak, {} at work{tracking}",
                        percent(asleep),
                        percent(ASLEEP),
                        percent(running)
                    ),
                )
            }
            Verdict::Load => (
                past(running, AT_WORK, 0.8),
                format!(
                    "{} of the used are at work where {} make a load",
                    percent(running),
                    percent(AT_WORK)
                ),
            ),
            Verdict::Locks => {
                let waiting = self.waiting / self.running.max(1.0);
                (
                    past(waiting, 0.5, 0.9),
                    format!("{} of those at work wait for a lock", percent(waiting.min(1.0))),
                )
            }
            Verdict::Churn => (
                past(self.new, self.used.min(2.0 * self.limit), 2.0 * self.used.max(self.limit)),
                format!("{:.0} new sessions a second where {:.0} are used", self.new, self.used),
            ),
            Verdict::NotOurs => (
                past(1.0 - self.own / used, 0.5, 0.9),
                format!("{:.0} of the {:.0} used are ours", self.own, self.used),
            ),
            Verdict::Unclear | Verdict::Full | Verdict::Unknown => {
                return (None, "the figures lie between the patterns".to_owned());
            }
        };
        // Just past the mark is a coin's toss and a half; usage between healthy and full leaves more room for chance.
        let pressed = match verdict {
            Verdict::Healthy => 1.0,
            _ => 0.8 + 0.2 * past(usage, LOW, DEGRADED),
        };
        let told = format!("{grounds}; {} samples over {:.0} s", self.samples, self.span_s);
        (Some(rounded((0.5 + 0.5 * strength) * pressed * self.coverage(verdict, of))), told)
    }

    /// How much of what a verdict needs was measured.
    fn coverage(&self, verdict: Verdict, of: usize) -> f64 {
        let samples = (self.samples as f64 / WINDOW as f64).min(1.0);
        let span = match verdict {
            Verdict::Healthy => 1.0,
            _ => 0.5 + 0.5 * (self.span_s / WINDOW_SPAN.as_secs_f64()).min(1.0),
        };
        let answered = 0.5 + 0.5 * (self.samples as f64 / of.max(1) as f64).min(1.0);
        samples * span * answered
    }
}

/// The same where no sample was measured: that the database is full is all that refused logins tell.
pub(super) fn unmeasured(verdict: Verdict, refused: usize, of: usize) -> (Option<f64>, String) {
    match verdict {
        Verdict::Full => {
            let share = refused as f64 / of.max(1) as f64;
            let enough = (refused as f64 / WINDOW as f64).min(1.0);
            (
                Some(rounded(share * enough)),
                format!("{refused} of {of} logins were refused; by whom the slots are held is not known"),
            )
        }
        _ => (None, "nothing was measured".to_owned()),
    }
}

fn rounded(share: f64) -> f64 {
    (share * 100.0).round() / 100.0
}

/// The word for a confidence.
pub(crate) fn word(confidence: f64) -> &'static str {
    match confidence {
        0.8.. => "high",
        0.6.. => "fair",
        _ => "low",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            used: 150.0,
            limit: 150.0,
            of_account: false,
            own: 150.0,
            asleep: 147.0,
            running: 1.0,
            waiting: 0.0,
            new: 3.0,
            refused: 5.0,
            dropped: 0.0,
            more_used: 0.0,
            more_asleep: 0.0,
            samples: 12,
            span_s: 11.0,
            longest_query_s: 0.0,
        }
    }

    fn sure(figures: &Figures, verdict: Verdict) -> f64 {
        figures.confidence(verdict, figures.samples).0.unwrap()
    }

    #[test]
    fn it_grows_with_the_distance_and_with_what_was_measured() {
        let clear = sure(&figures(), Verdict::Leak);
        assert!(clear > 0.9, "{clear}");
        let barely = sure(&Figures { asleep: 92.0, running: 14.0, ..figures() }, Verdict::Leak);
        assert!(barely < 0.6, "{barely}");
        let short = sure(&Figures { samples: 3, span_s: 2.0, ..figures() }, Verdict::Leak);
        assert!(short < 0.5 * clear, "{short}");
        let missed = figures().confidence(Verdict::Leak, 24).0.unwrap();
        assert!(missed < clear, "half of the samples had no answer: {missed}");
        let tracked = Figures { more_used: 40.0, more_asleep: 39.0, asleep: 110.0, ..figures() };
        assert!(
            sure(&tracked, Verdict::Leak)
                > sure(&Figures { more_used: 0.0, ..tracked.clone() }, Verdict::Leak)
        );
        assert_eq!([word(0.93), word(0.7), word(0.3)], ["high", "fair", "low"]);
    }

    #[test]
    fn each_verdict_is_sure_of_its_own_figures() {
        let load = Figures { running: 130.0, asleep: 2.0, ..figures() };
        assert!(sure(&load, Verdict::Load) > 0.9);
        assert!(sure(&Figures { waiting: 125.0, ..load.clone() }, Verdict::Locks) > 0.9);
        assert!(sure(&Figures { new: 1500.0, asleep: 2.0, ..figures() }, Verdict::Churn) > 0.9);
        assert!(sure(&Figures { own: 10.0, ..figures() }, Verdict::NotOurs) > 0.9);
        assert!(sure(&Figures { used: 10.0, ..figures() }, Verdict::Healthy) > 0.9);
        assert!(sure(&Figures { used: 58.0, ..figures() }, Verdict::Healthy) < 0.6);
        assert_eq!(figures().confidence(Verdict::Unclear, 12).0, None);
        assert_eq!(unmeasured(Verdict::Full, 10, 10).0, Some(1.0));
        assert!(unmeasured(Verdict::Full, 2, 10).0 < Some(0.2));
        assert_eq!(unmeasured(Verdict::Unknown, 0, 10).0, None);
    }
}
