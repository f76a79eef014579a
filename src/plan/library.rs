//! The runbooks inside the binary. Those on disk are read by the command line.

/// Name and text of each embedded runbook.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("deploy-fix", include_str!("../../runbooks/deploy-fix.yaml")),
    ("emergency", include_str!("../../runbooks/emergency.yaml")),
    ("kill-idle", include_str!("../../runbooks/kill-idle.yaml")),
    ("monitor", include_str!("../../runbooks/monitor.yaml")),
    ("rollback", include_str!("../../runbooks/rollback.yaml")),
];
