//! Messages to those whom a runbook's `notify` section names: what is going on, on what, and how it goes on. It must never
//! hold a secret, hold a run up, or send what may have arrived a second time where that would be read twice.

use serde_json::{Value as Json, json};

use super::words::{asked_for, connections, took};
use crate::engine::driver::{Listener, Stamp};
use crate::engine::{Event, Outcome};
use crate::health::show_seconds;
use crate::spec::{Occasion, SinkKind, SinkSpec};

/// Longest text of a message, in letters.
const LONGEST: usize = 2500;
/// Longest summary that PagerDuty takes.
const SUMMARY: usize = 1000;

/// Sends one message; the answer, or why it was not taken.
pub type Send = Box<dyn Fn(Json) -> Result<Json, String> + std::marker::Send>;
/// Takes what became of messages.
pub type Became = Box<dyn Fn(Word) + std::marker::Send>;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It was not taken: said once for each sink. After the run's end nothing of it can be written down.
    Failed {
        /// In words.
        text: String,
        /// The run is over.
        over: bool,
    },
    /// The run's thread at this sink has begun.
    Thread {
        /// The sink's variable.
        sink: String,
        /// Its thread.
        thread: String,
    },
}

/// One run's messages to one sink.
pub struct Notices {
    /// The runbook.
    pub runbook: String,
    /// The app.
    pub app: String,
    /// The run; `None` = it could not begin.
    pub run: Option<String>,
    sink: SinkSpec,
    thread: Option<String>,
    /// It has not taken one: that was said, and only what matters most is still tried.
    failed: bool,
    send: Send,
    became: Became,
    waits: bool,
}

/// What is told.
struct Message {
    occasion: Occasion,
    /// One line.
    head: String,
    lines: Vec<String>,
    severity: &'static str,
    details: Json,
}

impl Notices {
    /// Tells this sink.
    pub fn new(
        runbook: &str,
        app: &str,
        run: Option<&str>,
        sink: &SinkSpec,
        send: Send,
        became: Became,
    ) -> Self {
        Self {
            runbook: runbook.to_owned(),
            app: app.to_owned(),
            run: run.map(str::to_owned),
            sink: sink.clone(),
            thread: None,
            failed: false,
            send,
            became,
            waits: false,
        }
    }

    /// Goes on in the threads that an earlier session of the run has begun.
    pub fn remember(&mut self, event: &Event) {
        if let Event::Notified { sink, thread } = event
            && *sink == self.sink.variable
        {
            self.thread = Some(thread.clone());
        }
    }

    /// A run could not begin.
    pub fn could_not_begin(&mut self, outcome: Outcome, code: u8, why: &str) {
        let head = format!("could not begin: {} (exit {code})", outcome.word().replace('_', " "));
        let lines: Vec<_> = why.lines().map(|line| line.trim().to_owned()).collect();
        let details = json!({ "outcome": outcome.word(), "exit_code": code, "why": why });
        let severity = severity(outcome);
        self.tell(&Message { occasion: Occasion::Failure, head, lines, severity, details }, true);
    }

    /// A stable name of the alert of this runbook on this app: runs that follow share it.
    fn alert(&self, occasion: Occasion) -> String {
        let waiting = if occasion == Occasion::Waiting { "/waiting" } else { "" };
        let key = format!("runbook/{}/{}{waiting}", self.app, self.runbook);
        key.chars().take(250).collect()
    }

    fn tell(&mut self, message: &Message, over: bool) {
        let matters = matches!(message.occasion, Occasion::Waiting | Occasion::Success | Occasion::Failure);
        if !self.sink.on.contains(&message.occasion) || (self.failed && !matters) {
            return;
        }
        let body = match &self.sink.kind {
            SinkKind::PagerDuty => self.page(message),
            SinkKind::Webhook => self.post(message, None, None),
            SinkKind::Thread { channel } => self.post(message, Some(channel), self.thread.as_deref()),
        };
        self.deliver(body, over);
    }

    fn deliver(&mut self, body: Json, over: bool) {
        let mut answer = (self.send)(body.clone());
        if self.sink.kind == SinkKind::PagerDuty && answer.is_err() {
            // The same alert twice is one alert. A message would be read twice.
            answer = (self.send)(body);
        }
        match answer {
            Ok(answer) => {
                let threads = matches!(self.sink.kind, SinkKind::Thread { .. });
                if let (Some(thread), None) = (answer["ts"].as_str().filter(|_| threads), &self.thread) {
                    self.thread = Some(thread.to_owned());
                    let sink = self.sink.variable.clone();
                    (self.became)(Word::Thread { sink, thread: thread.to_owned() });
                }
            }
            Err(why) if !self.failed => {
                self.failed = true;
                let text = format!(
                    "notify: what goes to {} was not taken ({why}); the run goes on without, and further failures of it are not said",
                    self.sink.variable
                );
                (self.became)(Word::Failed { text, over });
            }
            Err(_) => {}
        }
    }

    /// Slack's form.
    fn post(&self, message: &Message, channel: Option<&str>, thread: Option<&str>) -> Json {
        let run = self.run.as_ref().map_or(String::new(), |run| format!(" (run {run})"));
        let head = format!(
            "*{}* on *{}*: {}{run}",
            escaped(&self.runbook),
            escaped(&self.app),
            escaped(&message.head)
        );
        let lines = message.lines.iter().map(|line| escaped(line));
        let text: String = std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n");
        let text: String = text.chars().take(LONGEST).collect();
        let mut body = json!({ "text": text });
        if let Some(channel) = channel {
            body["channel"] = json!(channel);
            body["unfurl_links"] = json!(false);
        }
        if let Some(thread) = thread {
            body["thread_ts"] = json!(thread);
            // An end that nobody sees in a thread is no news: it stands in the channel too.
            if matches!(message.occasion, Occasion::Failure | Occasion::Waiting) {
                body["reply_broadcast"] = json!(true);
            }
        }
        body
    }

    /// PagerDuty's form.
    fn page(&self, message: &Message) -> Json {
        let key = self.alert(message.occasion);
        if message.occasion == Occasion::Success {
            return json!({ "event_action": "resolve", "dedup_key": key });
        }
        let action = if message.occasion == Occasion::Resumed { "acknowledge" } else { "trigger" };
        let summary = format!("{} on {}: {}", self.runbook, self.app, message.head);
        let mut details = message.details.clone();
        details["run"] = json!(self.run);
        details["lines"] = json!(message.lines);
        json!({
            "event_action": action,
            "dedup_key": key,
            "client": "runbook",
            "payload": {
                "summary": summary.chars().take(SUMMARY).collect::<String>(),
                "source": self.app,
                "component": self.runbook,
                "severity": message.severity,
                "custom_details": details,
            },
        })
    }

    /// Nobody is waited for any more: an alert about that is over.
    fn answered(&mut self, over: bool) {
        if !std::mem::take(&mut self.waits) {
            return;
        }
        if self.sink.kind == SinkKind::PagerDuty && self.sink.on.contains(&Occasion::Waiting) {
            let body = json!({ "event_action": "resolve", "dedup_key": self.alert(Occasion::Waiting) });
            self.deliver(body, over);
        }
    }

    fn finished(&mut self, stamp: &Stamp, event: &Event) {
        let Event::RunFinished { outcome, exit_code, why, before, after, took_ms, next, .. } = event else {
            return;
        };
        self.answered(true);
        let figures = format!("connections {} → {}", connections(before), connections(after));
        let mut lines = vec![figures.clone()];
        let (occasion, head) = if *outcome == Outcome::Done {
            (Occasion::Success, format!("done after {}", took(*took_ms)))
        } else {
            lines.extend(why.clone());
            lines.extend(next.iter().map(|next| format!("next: {next}")));
            lines.extend(self.run.as_ref().map(|run| format!("to go on: `runbook resume {run}`")));
            let word = outcome.word().replace('_', " ");
            (Occasion::Failure, format!("NOT done after {}: {word} (exit {exit_code})", took(*took_ms)))
        };
        let head_of_chain = stamp.head.as_deref().map(|head| head.get(..16).unwrap_or(head));
        lines.extend(head_of_chain.map(|head| format!("journal head {head}")));
        let details = json!({
            "outcome": outcome.word(), "exit_code": exit_code, "why": why, "connections": figures, "head": head_of_chain,
        });
        self.tell(&Message { occasion, head, lines, severity: severity(*outcome), details }, true);
    }
}

const fn severity(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Failed | Outcome::InDoubt => "critical",
        Outcome::GateShut | Outcome::Unusable | Outcome::Invalid => "error",
        Outcome::Declined | Outcome::Locked | Outcome::Interrupted => "warning",
        Outcome::Done => "info",
    }
}

/// A text without Slack's own signs.
fn escaped(text: &str) -> String {
    crate::source::escape_controls(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Listener for Notices {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        let plain = |occasion, head: String, lines, severity| Message {
            occasion,
            head,
            lines,
            severity,
            details: json!({}),
        };
        match event {
            Event::RunStarted { .. } => {
                let lines = asked_for(event).into_iter().collect();
                self.tell(&plain(Occasion::Start, "began".to_owned(), lines, "info"), false);
            }
            Event::Resumed { by, at, .. } => {
                let head = format!("taken up again by {by}, at {}", at.as_deref().unwrap_or("its end"));
                self.tell(&plain(Occasion::Resumed, head, Vec::new(), "info"), false);
            }
            Event::Asking { step, question, lines, takes, within_ms, otherwise } => {
                self.waits = true;
                let mut lines = lines.clone();
                lines.push(format!("{question} [{takes}]"));
                if let (Some(within), Some(otherwise)) = (within_ms, otherwise) {
                    let within = show_seconds(*within as f64 / 1000.0);
                    lines.push(format!("{within} are left; then {otherwise}"));
                }
                let head = format!("waits for a person at step {step}");
                self.tell(&plain(Occasion::Waiting, head, lines, "warning"), false);
            }
            Event::Asked { .. } => self.answered(false),
            Event::StepFinished { done: Some(done), .. } => {
                if let Some(text) = &done.tell {
                    self.tell(&plain(Occasion::Message, text.clone(), Vec::new(), "info"), false);
                }
            }
            Event::RunFinished { .. } => self.finished(stamp, event),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::action::{Answer, Deed};
    use crate::engine::{Measurements, Tally};

    fn sinks() -> Vec<SinkSpec> {
        let sink = |kind, variable: &str, on: &[Occasion]| SinkSpec {
            kind,
            variable: variable.to_owned(),
            url: None,
            on: on.to_vec(),
        };
        vec![
            sink(SinkKind::Webhook, "HOOK", &Occasion::ALL),
            sink(SinkKind::Thread { channel: "C1".into() }, "TOKEN", &Occasion::ALL),
            sink(SinkKind::PagerDuty, "KEY", &[Occasion::Waiting, Occasion::Success, Occasion::Failure]),
        ]
    }

    type Sent = Arc<Mutex<Vec<(usize, Json)>>>;

    /// All three, each told what happens; what they sent, by number, and what became of it.
    fn told(
        answer: fn() -> Result<Json, String>,
        earlier: Option<&Event>,
        events: &[Event],
    ) -> (Vec<(usize, Json)>, Vec<Word>) {
        let (sent, words) = (Sent::default(), Arc::new(Mutex::new(Vec::new())));
        for (number, sink) in sinks().iter().enumerate() {
            let (to, became) = (Arc::clone(&sent), Arc::clone(&words));
            let send: Send = Box::new(move |body| {
                to.lock().unwrap().push((number, body));
                answer()
            });
            let became: Became = Box::new(move |word| became.lock().unwrap().push(word));
            let mut notices = Notices::new("deploy-fix", "wiki", Some("r1"), sink, send, became);
            if let Some(event) = earlier {
                notices.remember(event);
            }
            for event in events {
                notices.event(&stamp(), event);
            }
        }
        let (sent, words) = (sent.lock().unwrap().clone(), words.lock().unwrap().clone());
        (sent, words)
    }

    fn stamp() -> Stamp {
        Stamp {
            seq: 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            run: Some("r1".into()),
            head: Some("0123456789abcdef01".into()),
        }
    }

    fn finished(outcome: Outcome) -> Event {
        Event::RunFinished {
            outcome,
            exit_code: outcome.exit_code(),
            why: (outcome != Outcome::Done).then(|| "step a: usage < 40% did not hold".to_owned()),
            before: Measurements::new(),
            after: Measurements::new(),
            took_ms: 72_000,
            tally: Tally::default(),
            next: Vec::new(),
        }
    }

    fn asking() -> Event {
        Event::Asking {
            step: "enter".into(),
            question: "Is it done?".into(),
            lines: vec!["<open> the dashboard".into()],
            takes: "done, skip or stop".into(),
            within_ms: Some(600_000),
            otherwise: Some(Answer::Deed(Deed::Skip)),
        }
    }

    #[test]
    fn a_run_is_one_thread_and_one_alert_of_its_runbook_on_its_app() {
        let asked = Event::Asked {
            step: "enter".into(),
            question: "Is it done?".into(),
            answer: Answer::Deed(Deed::Done),
            by: "person".into(),
        };
        let answer = || Ok(json!({ "ok": true, "ts": "17.5" }));
        let (sent, words) = told(answer, None, &[asking(), asked, finished(Outcome::GateShut)]);
        let of = |number: usize| {
            sent.iter().filter(|(to, _)| *to == number).map(|(_, body)| body).collect::<Vec<_>>()
        };
        let text = of(0)[0]["text"].as_str().unwrap();
        assert!(
            text.starts_with(
                "*deploy-fix* on *wiki*: waits for a person at step enter (run r1)\n&lt;open&gt;"
            ),
            "{text}"
        );
        let text = of(0)[1]["text"].as_str().unwrap();
        for wanted in
            ["gate shut (exit 4)", "usage &lt; 40%", "`runbook resume r1`", "journal head 0123456789abcdef"]
        {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert_eq!((&of(1)[0]["thread_ts"], &of(1)[1]["thread_ts"]), (&Json::Null, &json!("17.5")));
        let pages: Vec<_> =
            of(2).iter().map(|body| (body["event_action"].clone(), body["dedup_key"].clone())).collect();
        assert_eq!(
            pages,
            [
                (json!("trigger"), json!("runbook/wiki/deploy-fix/waiting")),
                (json!("resolve"), json!("runbook/wiki/deploy-fix/waiting")),
                (json!("trigger"), json!("runbook/wiki/deploy-fix")),
            ]
        );
        assert_eq!(of(2)[2]["payload"]["severity"], "error");
        assert_eq!(words, [Word::Thread { sink: "TOKEN".into(), thread: "17.5".into() }]);
        // A later run that is done resolves it; taken up again, the thread goes on.
        let thread = Event::Notified { sink: "TOKEN".into(), thread: "17.5".into() };
        let (sent, _) = told(|| Ok(Json::Null), Some(&thread), &[finished(Outcome::Done)]);
        assert_eq!(sent[1].1["thread_ts"], "17.5");
        assert_eq!(sent[2].1, json!({ "event_action": "resolve", "dedup_key": "runbook/wiki/deploy-fix" }));
    }

    #[test]
    fn every_kind_of_failure_is_told_with_its_severity_and_what_fails_is_said_once() {
        for (outcome, severity) in [
            (Outcome::GateShut, "error"),
            (Outcome::Failed, "critical"),
            (Outcome::Declined, "warning"),
            (Outcome::InDoubt, "critical"),
            (Outcome::Locked, "warning"),
            (Outcome::Unusable, "error"),
            (Outcome::Interrupted, "warning"),
        ] {
            let (sent, words) = told(|| Err("503".to_owned()), None, &[asking(), finished(outcome)]);
            let pages: Vec<_> = sent.iter().filter(|(to, _)| *to == 2).collect();
            // Each page is tried twice (waiting, its end, the failure), each message once.
            assert_eq!((pages.len(), sent.len()), (6, 10), "{sent:?}");
            assert_eq!(pages[5].1["payload"]["severity"], severity, "{outcome:?}");
            assert_eq!(words.len(), 3, "{words:?}");
        }
    }
}
