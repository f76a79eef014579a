//! Write authority opens once: it is used up by its permit.

use runbook::platform::{Permit, Sealed};

fn twice(sealed: Sealed, first: Permit, second: Permit) {
    let _ = sealed.open(first);
    let _ = sealed.open(second);
}

fn main() {}
