//! Faults on demand: what goes wrong with the next requests to the API, with the next pushes, with the next dynos that
//! boot. Ordered through the lab's admin door (`POST /lab/faults`); it never breaks anything that was not ordered.
//!
//! An order is JSON: `{"method":"POST","path":"/releases","fault":"silence","lands_after_ms":5000,"times":1}`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value as Json, json};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The platform acts, and the connection breaks before the answer.
    LoseAnswer,
    /// The connection breaks before the platform acts.
    LoseRequest,
    /// The platform acts, and nothing ever answers; the connection stays open.
    Silence,
    /// The answer's body is cut; of a push, after the first lines of its build, which goes on.
    Cut,
    /// The answer's body comes in pieces of a few bytes, with this many milliseconds before each.
    Trickle(u64),
    /// 503 with a page of HTML (facts §1: do not assume JSON on 5xx).
    Html,
    /// The same with this status.
    HtmlWith(u16),
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
    /// Answered as ever, and from then on the token is taken no more.
    Revoke,
    /// The dynos in the answer are in this state.
    State(String),
    /// The answer is what it was when this was ordered: what has changed since is not seen. `path` is whole.
    Frozen,
    /// Lists come in pages of this many (facts §1: 206 and `Next-Range`).
    Pages(usize),
    /// A dyno runs, and never binds its port (facts §5: R10).
    NeverBinds,
    /// A dyno's program ends at once, with status 1.
    CrashesAtBoot,
    /// Nobody listens where an attached dyno is to be had.
    Blocked,
}

/// Where it goes wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// Requests to the API.
    #[default]
    Api,
    /// Requests of git.
    Git,
    /// Dynos as they boot; the path is the name, `web.1`.
    Dyno,
    /// Clients that attach to a one-off; the path is its name.
    Rendezvous,
    /// Streams of the log.
    Log,
}

/// An order: this fault, for these requests, this many times.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Where (the API when absent).
    #[serde(default)]
    pub door: Door,
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
    /// It waits until a request with this method has come.
    pub after: Option<String>,
    /// What was asked for takes effect only this many milliseconds after the request was read, whoever has gone by
    /// then; the answer, when the fault leaves one, does not wait for it.
    pub lands_after_ms: Option<u64>,
}

fn once() -> u32 {
    1
}

impl Order {
    /// Whether the lab can do it: what git sends is passed on whole, or its answer is lost.
    pub fn possible(&self) -> bool {
        let unheard = matches!(self.fault, Kind::LoseAnswer | Kind::Silence);
        self.lands_after_ms.is_none() || self.door == Door::Api || (self.door == Door::Git && unheard)
    }
}

/// Orders that wait, and what became of those that hit.
#[derive(Default)]
pub struct Faults {
    orders: Mutex<Vec<Order>>,
    frozen: Mutex<BTreeMap<String, Json>>,
    hit: AtomicU32,
    landing: AtomicU32,
    revoked: AtomicBool,
}

/// A fault that hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub kind: Kind,
    /// When what was asked for takes effect, milliseconds from now.
    pub lands_after: Option<u64>,
}

fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    pub fn add(&self, order: Order) {
        whole(&self.orders).push(order);
    }

    /// The answer to `path` as it is now, for [`Kind::Frozen`].
    pub fn freeze(&self, path: &str, body: Json) {
        whole(&self.frozen).insert(path.to_owned(), body);
    }

    /// Forgets those that wait, and takes the token again. What is to land later still lands.
    pub fn clear(&self) {
        whole(&self.orders).clear();
        whole(&self.frozen).clear();
        self.revoked.store(false, Ordering::SeqCst);
    }

    /// The fault that hits this, used up by asking.
    pub fn take(&self, door: Door, method: &str, path: &str) -> Option<Hit> {
        let hit = self.find(door, method, path);
        for order in whole(&self.orders).iter_mut().filter(|order| order.after.as_deref() == Some(method)) {
            order.after = None;
        }
        let hit = hit?;
        self.hit.fetch_add(1, Ordering::SeqCst);
        if hit.lands_after.is_some() {
            self.landing.fetch_add(1, Ordering::SeqCst);
        }
        Some(hit)
    }

    /// Whether this very fault was ordered, where a door has several.
    pub fn take_only(&self, door: Door, path: &str, fault: &Kind) -> bool {
        let mut orders = whole(&self.orders);
        let order = orders.iter_mut().find(|order| {
            order.times > 0 && order.door == door && order.fault == *fault && path.contains(&order.path)
        });
        let Some(order) = order else { return false };
        order.times -= 1;
        self.hit.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn find(&self, door: Door, method: &str, path: &str) -> Option<Hit> {
        let mut orders = whole(&self.orders);
        let order = orders.iter_mut().find(|order| {
            order.times > 0
                && order.after.is_none()
                && order.door == door
                && order.method.as_deref().is_none_or(|wanted| wanted == method)
                && path.contains(&order.path)
        })?;
        order.times -= 1;
        Some(Hit { kind: order.fault.clone(), lands_after: order.lands_after_ms })
    }

    /// What was to land later has landed.
    pub fn landed(&self) {
        self.landing.fetch_sub(1, Ordering::SeqCst);
    }

    /// From now on the token is refused.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
    }

    pub fn revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }

    /// The answer to this path when it was frozen.
    pub fn frozen(&self, path: &str) -> Option<Json> {
        whole(&self.frozen).get(path).cloned()
    }

    /// Orders that wait to hit, hits so far, and what is still to land, for tests.
    pub fn figures(&self) -> Json {
        let waiting: u32 = whole(&self.orders).iter().map(|order| order.times).sum();
        json!({
            "waiting": waiting,
            "hit": self.hit.load(Ordering::SeqCst),
            "landing": self.landing.load(Ordering::SeqCst),
        })
    }
}
