//! A dry run is no actuator, and leads to none.

use runbook::engine::driver::{DryRun, LiveRun};

fn main() {
    let _ = LiveRun::new(DryRun);
}
