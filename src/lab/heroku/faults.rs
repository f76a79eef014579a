//! Faults on demand: the next answers to a request can be lost, cut, stalled or refused. Ordered through the lab's
//! admin door (`POST /lab/faults`).

use std::sync::Mutex;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The platform acts, and the answer is lost.
    LoseAnswer,
    /// The request is lost before the platform acts.
    LoseRequest,
    /// The answer's body is cut.
    Cut,
    /// 503 with a page of HTML (facts §1: do not assume JSON on 5xx).
    Html,
    /// 429 `rate_limit`.
    RateLimit,
    /// 403 `two_factor`.
    TwoFactor,
    /// The answer comes late, by this many milliseconds.
    Stall(u64),
    /// Refused with this status and error id.
    Refuse(u16, String),
    /// Accepted, and nothing happens.
    Pretend,
    /// The dynos in the answer are in this state.
    State(String),
    /// Lists come in pages of this many (facts §1: 206 and `Next-Range`).
    Pages(usize),
}

/// An order: this fault, for these requests, this many times.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Order {
    /// Method, such as `POST`; any when absent.
    pub method: Option<String>,
    /// Part of the path.
    #[serde(default)]
    pub path: String,
    /// What goes wrong.
    pub fault: Kind,
    /// How often (1 when absent).
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// Orders that wait.
#[derive(Default)]
pub struct Faults {
    orders: Mutex<Vec<Order>>,
}

impl Faults {
    pub fn add(&self, order: Order) {
        if let Ok(mut orders) = self.orders.lock() {
            orders.push(order);
        }
    }

    /// Forgets those that wait.
    pub fn clear(&self) {
        if let Ok(mut orders) = self.orders.lock() {
            orders.clear();
        }
    }

    /// The fault that hits this request, used up by asking.
    pub fn take(&self, method: &str, path: &str) -> Option<Kind> {
        let mut orders = self.orders.lock().ok()?;
        let order = orders.iter_mut().find(|order| {
            order.times > 0
                && order.method.as_deref().is_none_or(|wanted| wanted == method)
                && path.contains(&order.path)
        })?;
        order.times -= 1;
        Some(order.fault.clone())
    }
}
