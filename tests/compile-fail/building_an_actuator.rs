//! Write authority cannot be made by hand: its parts are private to the platform.

use runbook::platform::Actuator;

fn main() {
    let _ = Actuator { writers: any(), plan: String::new() };
}

fn any<T>() -> T {
    unreachable!()
}
