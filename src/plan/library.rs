//! The runbooks inside the binary. Those on disk are read by the command line.

/// Name and text of each embedded runbook.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("add-cache", include_str!("../../runbooks/add-cache.yaml")),
    ("deploy-fix", include_str!("../../runbooks/deploy-fix.yaml")),
    ("prepare-fix", include_str!("../../runbooks/prepare-fix.yaml")),
    ("disable-extensions", include_str!("../../runbooks/disable-extensions.yaml")),
    ("emergency", include_str!("../../runbooks/emergency.yaml")),
    ("kill-idle", include_str!("../../runbooks/kill-idle.yaml")),
    ("limit-workers", include_str!("../../runbooks/limit-workers.yaml")),
    ("maintenance", include_str!("../../runbooks/maintenance.yaml")),
    ("monitor", include_str!("../../runbooks/monitor.yaml")),
    ("rollback", include_str!("../../runbooks/rollback.yaml")),
    ("run-jobs", include_str!("../../runbooks/run-jobs.yaml")),
    ("scale-down", include_str!("../../runbooks/scale-down.yaml")),
    ("scale-up", include_str!("../../runbooks/scale-up.yaml")),
    ("schedule-jobs", include_str!("../../runbooks/schedule-jobs.yaml")),
    ("upgrade-plan", include_str!("../../runbooks/upgrade-plan.yaml")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::RECOMMENDED;
    use crate::plan::{Body, check};
    use crate::source::Source;

    #[test]
    fn a_diagnosis_recommends_only_what_is_shipped_and_rungs_that_are_there() {
        for name in RECOMMENDED {
            assert!(EMBEDDED.iter().any(|(known, _)| *known == name), "{name} is not shipped");
        }
        let (_, text) = EMBEDDED.iter().find(|(name, _)| *name == "emergency").unwrap();
        let plan = check(&Source::new("emergency", *text)).unwrap().plan;
        let rungs: Vec<&str> = plan
            .steps
            .iter()
            .filter_map(|step| if let Body::Ladder(ladder) = &step.body { Some(ladder) } else { None })
            .flat_map(|ladder| ladder.rungs.iter().map(|rung| rung.id.as_str()))
            .collect();
        assert_eq!(rungs, ["kill-idle", "restart", "scale-down"], "those that a diagnosis names");
    }
}
