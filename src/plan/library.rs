//! The runbooks inside the binary. Those on disk are read by the command line.

/// Name and text of each embedded runbook.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("add-cache", include_str!("../../runbooks/add-cache.yaml")),
    ("deploy-fix", include_str!("../../runbooks/deploy-fix.yaml")),
    ("emergency", include_str!("../../runbooks/emergency.yaml")),
    ("kill-idle", include_str!("../../runbooks/kill-idle.yaml")),
    ("limit-workers", include_str!("../../runbooks/limit-workers.yaml")),
    ("monitor", include_str!("../../runbooks/monitor.yaml")),
    ("rollback", include_str!("../../runbooks/rollback.yaml")),
    ("scale-down", include_str!("../../runbooks/scale-down.yaml")),
    ("scale-up", include_str!("../../runbooks/scale-up.yaml")),
    ("upgrade-plan", include_str!("../../runbooks/upgrade-plan.yaml")),
];
