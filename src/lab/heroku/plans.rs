//! What the lab's add-on services sell. The form is Heroku's (facts §2, Add-ons); names, prices and limits are the lab's.

use serde_json::{Value as Json, json};

use super::answer::Answer;

const FACT: &str = "§2 Add-ons: plans and prices";

/// A plan.
pub struct Plan {
    /// `service:plan`.
    pub name: &'static str,
    human: &'static str,
    cents: u64,
    /// Connections that a database of this plan takes; 0 where it is none.
    pub limit: u32,
}

const PLANS: [Plan; 8] = [
    Plan { name: "scheduler:standard", human: "Standard", cents: 0, limit: 0 },
    Plan { name: "heroku-redis:mini", human: "Mini", cents: 300, limit: 0 },
    Plan { name: "heroku-redis:premium-0", human: "Premium 0", cents: 1500, limit: 0 },
    Plan { name: "jawsdb-maria:kitefin", human: "Kitefin Shared", cents: 0, limit: 10 },
    Plan { name: "jawsdb-maria:leopard", human: "Leopard Shared", cents: 1000, limit: 150 },
    Plan { name: "jawsdb-maria:blacktip", human: "Blacktip", cents: 5000, limit: 300 },
    Plan { name: "jawsdb-maria:whitetip", human: "Whitetip", cents: 12_000, limit: 600 },
    // Sold out: its provider takes nobody.
    Plan { name: "heroku-redis:private-9", human: "Private 9", cents: 90_000, limit: 0 },
];

impl Plan {
    /// `service` of `service:plan`.
    pub fn service(&self) -> &'static str {
        self.name.split(':').next().unwrap_or_default()
    }

    /// Whether its provider takes time, and the app a release when it is ready.
    pub fn is_slow(&self) -> bool {
        self.service() != "scheduler"
    }

    /// Whether its provider gives up on it.
    pub fn fails(&self) -> bool {
        self.name == "heroku-redis:private-9"
    }

    fn json(&self) -> Json {
        json!({
            "addon_service": { "id": self.service(), "name": self.service() }, "created_at": "2014-01-01T00:00:00Z",
            "compliance": [], "default": false, "description": format!("{} {}", self.service(), self.human),
            "human_name": self.human, "id": self.name, "installable_inside_private_network": false,
            "installable_outside_private_network": true, "name": self.name,
            "price": { "cents": self.cents, "contract": false, "unit": "month" }, "space_default": false, "state": "ga",
            "updated_at": "2014-01-01T00:00:00Z", "visible": true,
        })
    }

    /// What is paid, as an add-on says it.
    pub fn billed(&self) -> Json {
        json!({ "cents": self.cents, "contract": false, "unit": "month" })
    }
}

/// A plan by its name; a service alone stands for its cheapest.
pub fn find(name: &str) -> Option<&'static Plan> {
    PLANS.iter().find(|plan| plan.name == name || plan.service() == name)
}

/// `GET /plans/NAME`.
pub fn one(name: &str) -> Answer {
    let name = name.replace("%3A", ":");
    let found = PLANS.iter().find(|plan| plan.name == name);
    found.map_or_else(|| Answer::not_found("plan"), |plan| Answer::ok(plan.json(), FACT))
}

/// `GET /addon-services/S/plans`; `None` without such a service.
pub fn of_service(service: &str) -> Option<Vec<Json>> {
    let plans: Vec<Json> = PLANS.iter().filter(|plan| plan.service() == service).map(Plan::json).collect();
    (!plans.is_empty()).then_some(plans)
}
