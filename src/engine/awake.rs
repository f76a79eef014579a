//! Notices that this machine slept, or that its clock was set: what was measured before says nothing about now. Pure.

use std::time::Duration;

/// The longest gap between two looks that a busy run explains: its longest read, with room.
const BUSY: Duration = Duration::from_secs(60);

/// Compares the wall clock with itself, look by look.
#[derive(Debug, Clone, Default)]
pub struct Awake {
    last: Option<jiff::Timestamp>,
}

impl Awake {
    /// Looks: `every` is the interval of samples, each of which is a look. Says what happened when the clock has jumped.
    pub fn look(&mut self, wall: jiff::Timestamp, every: Duration) -> Option<String> {
        let last = self.last.replace(wall)?;
        let gap = wall.duration_since(last);
        let backwards = gap.is_negative();
        if gap.unsigned_abs() <= BUSY + every * 2 {
            return None;
        }
        let (how, time) = (
            if backwards { "back" } else { "on" },
            crate::health::show_seconds(gap.unsigned_abs().as_secs_f64().round()),
        );
        Some(format!(
            "the clock jumped {how} by {time}: this machine slept, or its clock was set; what was measured before says nothing about now"
        ))
    }

    /// Forgets the last look: a person was asked, and may have thought for long.
    pub const fn forget(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_busy_run_does_not_explain_is_a_jump() {
        let every = Duration::from_secs(1);
        let at = |seconds: i64| jiff::Timestamp::from_second(1_000_000 + seconds).unwrap();
        let mut awake = Awake::default();
        for (seconds, jumped) in
            [(0, false), (1, false), (40, false), (102, false), (165, true), (166, false), (3, true)]
        {
            assert_eq!(awake.look(at(seconds), every).is_some(), jumped, "{seconds}");
        }
        let jumped = awake.look(at(7203), every).unwrap();
        assert!(jumped.contains("jumped on by 2h"), "{jumped}");
        awake.forget();
        assert_eq!(awake.look(at(90_000), every), None);
        let mut slow = Awake::default();
        slow.look(at(0), Duration::from_secs(60));
        assert_eq!(slow.look(at(170), Duration::from_secs(60)), None, "samples a minute apart");
    }
}
