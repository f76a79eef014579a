//! A secret has no serialisation: no event, journal or report can hold one.

use runbook::platform::secret::Secret;

fn main() {
    let secret = Secret::from("HRKU-0".to_owned());
    let _ = serde::Serialize::serialize(&secret, serde_json::value::Serializer);
}
