//! What runs and how many connections it may hold: the app's formation, its config var and its files, put together.
//! It must never fail a step because a figure could not be read: what is not known is left open.

use super::param::whole;
use crate::health::{Budget, How, Moment, Reckoned, Share, links_measured};
use crate::lint::{Files, Text, Wiki, processes_of};
use crate::platform::{Fault, GitReads, Observer};

/// Files of a commit, those of some paths taken from the working tree instead: what a deploy would make live.
pub(crate) struct CommitFiles<'g> {
    git: &'g dyn GitReads,
    revision: &'g str,
    added: &'g [String],
}

impl<'g> CommitFiles<'g> {
    /// The files of `revision`; those of `added` are the working tree's.
    pub(crate) const fn new(git: &'g dyn GitReads, revision: &'g str, added: &'g [String]) -> Self {
        Self { git, revision, added }
    }
}

impl Files for CommitFiles<'_> {
    fn text(&self, path: &str) -> Text {
        let read = if self.added.iter().any(|added| added == path) {
            self.git.file(path)
        } else {
            self.git.file_in(self.revision, path)
        };
        match read {
            Ok(Some(text)) => Text::There(text),
            Ok(None) => Text::Absent,
            Err(_) => Text::Unknown,
        }
    }

    fn children(&self, folder: &str) -> Option<Vec<String>> {
        let mut names = self.git.names_in(self.revision, folder).ok()?;
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let added = self.added.iter().filter_map(|path| path.strip_prefix(prefix.as_str()));
        names.extend(added.map(|rest| rest.split('/').next().unwrap_or_default().to_owned()));
        names.sort();
        names.dedup();
        Some(names)
    }
}

/// What the app may hold now, by its live formation.
///
/// # Errors
/// When Heroku could not be asked for the formation.
pub fn budget_of(
    observer: &Observer,
    files: &dyn Files,
    wiki: Option<&Wiki>,
    limit: Option<Reckoned>,
    peak_used: Option<f64>,
) -> Result<Budget, Fault> {
    budget_with(observer, files, observer.processes().ok().flatten(), wiki, limit, peak_used.map(whole))
}

/// The same with a `WEB_CONCURRENCY` that may not be the app's.
pub(super) fn budget_with(
    observer: &Observer,
    files: &dyn Files,
    concurrency: Option<u64>,
    wiki: Option<&Wiki>,
    limit: Option<Reckoned>,
    peak_used: Option<u64>,
) -> Result<Budget, Fault> {
    let formation = observer.formation(Moment::default())?.value;
    let shares = formation
        .iter()
        .filter(|row| row.runs())
        .map(|row| Share {
            kind: row.kind.clone(),
            dynos: Reckoned::new(row.quantity, How::Told, format!("the formation ({})", row.size)),
            processes: processes_of(&row.kind, &row.command, Some(&row.size), concurrency, files),
        })
        .collect();
    let mut budget = Budget { shares, links: Wiki::links(wiki), limit };
    if let (Some(peak), Some(processes)) = (peak_used, budget.processes())
        && let Some(measured) = links_measured(peak, processes)
        // Idle processes make what is measured too low, never too high.
        && measured.number > budget.links.number
    {
        budget.links = measured;
    }
    Ok(budget)
}
