//! Who is told of a run: the secrets that the `notify` section names become destinations, and what cannot be told is said.

use std::sync::mpsc::Sender;

use super::credentials;
use super::output::talk;
use crate::engine::driver::{Incoming, Listener, Stamp};
use crate::engine::{Event, Live, Measurements, Outcome};
use crate::journal::Entry;
use crate::plan::Plan;
use crate::platform::secret::Redactor;
use crate::platform::{Destination, Post};
use crate::reporter::{Became, Detached, Notices, Send, Word};
use crate::spec::{Occasion, SinkKind, SinkSpec, is_address};

const SLACK: &str = "https://slack.com/api/chat.postMessage";
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// Those who can be told, and what the plan says about it.
#[derive(Default)]
pub(super) struct Audience {
    sinks: Vec<SinkSpec>,
    destinations: Vec<Destination>,
    /// Lines for the plan.
    pub(super) notes: Vec<String>,
}

fn words(on: &[Occasion]) -> String {
    on.iter().map(|occasion| occasion.word()).collect::<Vec<_>>().join(", ")
}

fn service(kind: &SinkKind) -> String {
    match kind {
        SinkKind::Webhook => "a webhook".to_owned(),
        SinkKind::Thread { channel } => format!("Slack, channel {channel},"),
        SinkKind::PagerDuty => "PagerDuty".to_owned(),
    }
}

impl Audience {
    /// Reads the secrets. A missing one is said and fails nothing: a cure must not wait for it.
    pub(super) fn gather(plan: &Plan, redactor: &Redactor) -> Self {
        let mut audience = Self::default();
        for spec in &plan.notify {
            let (what, variable) = (service(&spec.kind), &spec.variable);
            let secret = match credentials::told(variable, &talk) {
                Ok(Some(secret)) => secret,
                Ok(None) => {
                    audience.notes.push(format!("notify: {what} is NOT told: {variable} is not set"));
                    continue;
                }
                Err(fault) => {
                    audience.notes.push(format!("notify: {what} is NOT told: {fault}"));
                    continue;
                }
            };
            redactor.learn(&secret);
            let url = |own: &str| spec.url.clone().unwrap_or_else(|| own.to_owned());
            let to = match spec.kind {
                SinkKind::Webhook => Destination::webhook(secret),
                SinkKind::Thread { .. } => Destination::with_token(&url(SLACK), secret),
                SinkKind::PagerDuty => Destination::with_routing_key(&url(PAGERDUTY), secret),
            };
            if !to.fits(is_address) {
                audience.notes.push(format!(
                    "notify: {what} is NOT told: {variable} holds no https URL without a login"
                ));
                continue;
            }
            audience.notes.push(format!(
                "notify: {what} at {} ({variable}) on {}",
                to.host(),
                words(&spec.on)
            ));
            audience.sinks.push(spec.clone());
            audience.destinations.push(to);
        }
        audience
    }

    /// What a dry run says: it reads no secret and sends nothing.
    pub(super) fn announced(plan: &Plan) -> Self {
        let line = |spec: &SinkSpec| {
            format!(
                "notify: {} (from {}) on {}; a dry run tells nobody",
                service(&spec.kind),
                spec.variable,
                words(&spec.on)
            )
        };
        Self { notes: plan.notify.iter().map(line).collect(), ..Self::default() }
    }

    /// One of them each, so that one who does not listen keeps nothing from the others.
    fn notices(
        self,
        plan: &Plan,
        run: Option<&str>,
        redactor: &Redactor,
        became: &dyn Fn() -> Became,
    ) -> Vec<Notices> {
        let mut each = Vec::new();
        for (spec, to) in self.sinks.iter().zip(self.destinations) {
            let post = match Post::new(redactor.clone()) {
                Ok(post) => post,
                Err(fault) => {
                    talk(&format!("notify: nobody is told: {fault}"));
                    break;
                }
            };
            let clean = redactor.clone();
            let send: Send = Box::new(move |mut body| {
                cleaned(&mut body, &clean);
                post.send(&to, body)
            });
            let record = &plan.record;
            each.push(Notices::new(&record.runbook, &record.target.app, run, spec, send, became()));
        }
        each
    }

    /// They listen to a run from here on, each on a thread of its own.
    pub(super) fn listen(
        self,
        plan: &Plan,
        run: &str,
        redactor: &Redactor,
        outbox: &Sender<Incoming>,
        earlier: &[Entry],
    ) -> Vec<Box<dyn Listener>> {
        let became = || -> Became {
            let outbox = outbox.clone();
            Box::new(move |word| match word {
                Word::Failed { text, over: true } => talk(&text),
                Word::Failed { text, over: false } => {
                    let _ = outbox.send(Incoming::Notice(text));
                }
                Word::Thread { sink, thread } => {
                    let _ = outbox.send(Incoming::Notified { sink, thread });
                }
            })
        };
        let mut listeners: Vec<Box<dyn Listener>> = Vec::new();
        for mut notices in self.notices(plan, Some(run), redactor, &became) {
            for entry in earlier {
                notices.remember(&entry.event);
            }
            listeners.push(Box::new(Unhurried(Detached::new(notices))));
        }
        listeners
    }

    /// Tells that a run could not begin, and waits for that a few seconds at most.
    pub(super) fn could_not_begin(
        self,
        plan: &Plan,
        redactor: &Redactor,
        outcome: Outcome,
        code: u8,
        why: &str,
    ) {
        let became = || -> Became {
            Box::new(|word| {
                if let Word::Failed { text, .. } = word {
                    talk(&text);
                }
            })
        };
        let each = self.notices(plan, None, redactor, &became);
        std::thread::scope(|scope| {
            for mut notices in each {
                scope.spawn(move || notices.could_not_begin(outcome, code, why));
            }
        });
    }
}

/// Every text of a message without secrets.
fn cleaned(body: &mut serde_json::Value, redactor: &Redactor) {
    match body {
        serde_json::Value::String(text) => {
            *text = text.split('\n').map(|line| redactor.clean(line)).collect::<Vec<_>>().join("\n");
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| cleaned(item, redactor)),
        serde_json::Value::Object(map) => map.values_mut().for_each(|value| cleaned(value, redactor)),
        _ => {}
    }
}

/// A listener that is not waited for before a question.
struct Unhurried(Detached);

impl Listener for Unhurried {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        if !matches!(event, Event::Sample { .. }) {
            self.0.event(stamp, event);
        }
    }

    fn live(&mut self, _: &Live, _: &Measurements) {}
}
