//! What the files that a deploy would make live would do to the app. It must never stand against going back, nor hold a
//! fault against a deploy that what is live has as well and runs with.

use super::fleet::CommitFiles;
use super::scene::{Failure, Scene};
use crate::health::{Metric, Value};
use crate::lint::{Finding, look};
use crate::platform::{Fault, FaultKind, short};

/// Findings that are told one by one.
const TOLD: usize = 8;

/// Findings in the files of a deploy.
pub(super) struct Judged {
    /// Every dyno that reads the file would crash.
    fatal: Vec<Finding>,
    /// Said, no more.
    warnings: Vec<String>,
}

/// Looks at the files of `head` with `added` taken from the working tree.
pub(super) fn judge(scene: &Scene<'_>, head: &str, added: &[String], live: Option<&str>) -> Judged {
    let git = scene.observer.git();
    let (fatal, mild): (Vec<_>, Vec<_>) =
        look(&CommitFiles::new(git, head, added)).findings.into_iter().partition(Finding::is_fatal);
    let mut judged = Judged { fatal, warnings: told(&mild) };
    if !judged.fatal.is_empty()
        && all_up(scene)
        && let Some(live) = live
    {
        let known = look(&CommitFiles::new(git, live, &[])).findings;
        let (borne, new): (Vec<_>, Vec<_>) = std::mem::take(&mut judged.fatal)
            .into_iter()
            .partition(|finding| known.iter().any(|known| known.is_like(finding)));
        judged.fatal = new;
        let borne = borne.iter();
        judged.warnings.extend(
            borne.map(|finding| format!("{} (live {} has it too, and runs)", finding.line(), short(live))),
        );
    }
    judged.warnings.truncate(2 * TOLD);
    judged
}

/// Findings line by line; those that follow each other with the same remedy say it once.
fn told(findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, finding) in findings.iter().enumerate().take(TOLD) {
        let next = findings.get(index + 1).and_then(Finding::remedy);
        let remedy = finding.remedy().filter(|remedy| next != Some(*remedy) || index + 1 == TOLD);
        lines.push(match remedy {
            Some(remedy) => format!("{} — {remedy}", finding.line()),
            None => finding.line(),
        });
    }
    if findings.len() > TOLD {
        lines.push(format!("and {} more", findings.len() - TOLD));
    }
    lines
}

/// Every wanted dyno is up, and none is crashed: what is live starts.
fn all_up(scene: &Scene<'_>) -> bool {
    let count = |metric: Metric| match scene.metrics.get(&metric) {
        Some(Value::Count(number)) => Some(*number),
        _ => None,
    };
    let (up, wanted) = (count(Metric::DynosUp), count(Metric::DynosWanted));
    up.is_some_and(|up| up > 0.0 && wanted.is_some_and(|wanted| up >= wanted))
        && count(Metric::DynosCrashed).is_none_or(|crashed| crashed == 0.0)
}

impl Judged {
    /// Everything as warnings: somebody has said that it is to be pushed all the same.
    pub(super) fn accepted(self) -> Vec<String> {
        let fatal = told(&self.fatal).into_iter().map(|line| format!("accepted, and goes out: {line}"));
        fatal.chain(self.warnings).collect()
    }

    /// The warnings, or the refusal.
    pub(super) fn refuse(self, app: &str) -> Result<Vec<String>, Failure> {
        if self.fatal.is_empty() {
            return Ok(self.warnings);
        }
        let number = self.fatal.len();
        let why = format!(
            "every dyno would crash: {number} {} in the files that would go live",
            if number == 1 { "fault" } else { "faults" }
        );
        let fault = Fault::new(FaultKind::Refused, format!("deploying {app}"), why)
            .hint("`runbook check -C .` shows each in its place")
            .hint("`accept_findings: true` in the step pushes all the same (`deploy-fix`: `--set accept_findings=true`)");
        Err(Failure { fault, evidence: told(&self.fatal) })
    }
}
