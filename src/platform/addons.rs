//! Add-ons, their plans and what those cost: plain data.

use serde::{Deserialize, Serialize};

/// An add-on of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addon {
    /// Its uuid.
    pub id: String,
    /// Its own name: `jawsdb-maria-deep-12345`.
    pub name: String,
    /// The service: `jawsdb-maria`.
    pub service: String,
    /// The plan: `jawsdb-maria:kitefin`.
    pub plan: String,
    /// `provisioning`, `provisioned`, `deprovisioned`, or a word unknown to us.
    pub state: String,
    /// Config vars that it sets.
    pub config_vars: Vec<String>,
    /// What the provider says of provisioning.
    pub message: Option<String>,
    /// RFC 3339; last change of state.
    pub updated_at: String,
}

impl Addon {
    /// Whether it is there, or on its way.
    pub fn exists(&self) -> bool {
        !self.state.starts_with("deprovision")
    }
}

/// A plan of an add-on service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonPlan {
    /// `jawsdb-maria:kitefin`.
    pub name: String,
    /// As people know it: `Kitefin Shared`.
    pub human_name: String,
    /// What it costs; `None` = Heroku does not say.
    pub price: Option<Price>,
    /// `ga`, `alpha`, `shutdown` and others.
    pub state: String,
}

impl AddonPlan {
    /// The price in words.
    pub fn costs(&self) -> String {
        self.price.as_ref().map_or_else(|| "a price that Heroku does not tell".to_owned(), Price::to_string)
    }
}

/// A price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// In cents of a dollar.
    pub cents: u64,
    /// For how long: `month`.
    pub unit: String,
    /// By contract: `cents` is not what is paid.
    pub contract: bool,
}

impl Price {
    /// Nothing is paid.
    pub const fn is_free(&self) -> bool {
        self.cents == 0 && !self.contract
    }

    /// Cents a month, when it is said so.
    pub fn monthly(&self) -> Option<u64> {
        (!self.contract && self.unit == "month").then_some(self.cents)
    }
}

/// Cents as dollars: `$50`, `$2.50`.
pub fn dollars(cents: u64) -> String {
    match cents % 100 {
        0 => format!("${}", cents / 100),
        rest => format!("${}.{rest:02}", cents / 100),
    }
}

impl std::fmt::Display for Price {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.contract {
            return f.write_str("a price by contract");
        }
        if self.cents == 0 {
            return f.write_str("nothing");
        }
        write!(f, "{} a {}", dollars(self.cents), self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_said_as_they_are_paid() {
        let price = |cents, unit: &str, contract| Price { cents, unit: unit.into(), contract };
        for (price, words, free, monthly) in [
            (price(0, "month", false), "nothing", true, Some(0)),
            (price(5000, "month", false), "$50 a month", false, Some(5000)),
            (price(250, "month", false), "$2.50 a month", false, Some(250)),
            (price(4, "hour", false), "$0.04 a hour", false, None),
            (price(0, "month", true), "a price by contract", false, None),
        ] {
            assert_eq!(
                (price.to_string().as_str(), price.is_free(), price.monthly()),
                (words, free, monthly)
            );
        }
    }
}
