//! The verdicts: what each is called and what it means.

/// A verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Usage is low and nobody is refused.
    Healthy,
    /// Sessions are left asleep.
    Leak,
    /// Sessions are at work.
    Load,
    /// Sessions wait for locks.
    Locks,
    /// Sessions come and go faster than the server can take.
    Churn,
    /// The slots are held by others.
    NotOurs,
    /// The figures fit none of them.
    Unclear,
    /// Every login was refused: nothing but that is known.
    Full,
    /// The database could not be asked.
    Unknown,
}

impl serde::Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl Verdict {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Leak => "leak",
            Self::Load => "load",
            Self::Locks => "lock pile-up",
            Self::Churn => "churn",
            Self::NotOurs => "not ours",
            Self::Unclear => "unclear",
            Self::Full => "full",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Healthy => "usage is low and nobody is refused",
            Self::Leak => {
                "most slots are held by sleeping sessions: connections are opened and not closed. Killing idle ones helps until they are back; only the fix cures it"
            }
            Self::Load => {
                "most slots are at work: killing idle sessions will not help. Fewer workers, or slower traffic, does"
            }
            Self::Locks => {
                "the sessions at work wait for a lock: end what holds it (the oldest blocker), not those that wait"
            }
            Self::Churn => {
                "sessions come and go at a high rate and few sleep: connections should be kept for a request's length and no longer, and opened less often"
            }
            Self::NotOurs => {
                "other accounts hold the server's slots: killing one's own sessions cannot cure that"
            }
            Self::Unclear => "the figures fit no known pattern: look at who holds the slots",
            Self::Full => {
                "every login is refused, so who holds the slots cannot be seen: a restart from the platform's side frees them, and then it can"
            }
            Self::Unknown => "the database could not be asked, so only the platform's side is known",
        }
    }
}
