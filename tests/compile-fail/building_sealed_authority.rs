//! Nor can write authority at rest.

use runbook::platform::Sealed;

fn main() {
    let _ = Sealed { writers: any() };
}

fn any<T>() -> T {
    unreachable!()
}
