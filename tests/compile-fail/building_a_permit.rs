//! Nor the proof that a plan was confirmed.

use runbook::platform::Permit;

fn main() {
    let _ = Permit { plan: String::new() };
}
