//! Who is told of a run, and of what: `notify`. Where a message goes is a secret, so that it is named by a variable and
//! never written here; what does not look like a name is not shown, since it may be the secret.

use crate::action::{Kind, Reading, Shape, optional};
use crate::platform::{SECRET_VARIABLES, is_config_name};
use crate::source::{Diagnostic, Node, Spanned, unknown};

/// What a sink may be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Occasion {
    /// The run began.
    Start,
    /// It was taken up again.
    Resumed,
    /// It waits for a person.
    Waiting,
    /// A `notify` step says something.
    Message,
    /// It is done.
    Success,
    /// It ended in any other way, or could not begin.
    Failure,
}

const OCCASIONS: &[&str] = &["start", "resumed", "waiting", "message", "success", "failure"];

impl Occasion {
    /// Every occasion, in the order of a run.
    pub const ALL: [Self; 6] =
        [Self::Start, Self::Resumed, Self::Waiting, Self::Message, Self::Success, Self::Failure];

    /// Its name in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Resumed => "resumed",
            Self::Waiting => "waiting",
            Self::Message => "message",
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// An incoming webhook that takes Slack's JSON; its whole URL is the secret.
    Webhook,
    /// `chat.postMessage`, with a token: one thread a run.
    Thread {
        /// The channel.
        channel: String,
    },
    /// PagerDuty's Events API v2, with a routing key.
    PagerDuty,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSpec {
    /// What it is.
    pub kind: SinkKind,
    /// The variable that holds its secret, or whose `_FILE` or `_COMMAND` names where that is.
    pub variable: String,
    /// Another address than the service's own.
    pub url: Option<String>,
    /// What it is told of.
    pub on: Vec<Occasion>,
}

/// A sink's shape.
pub(super) const SINK: Shape = Shape {
    name: "notify",
    fields: &[
        optional(
            "slack",
            Kind::Text,
            "The variable `RUNBOOK_SECRET_…` that holds the URL of an incoming webhook (Slack, or what takes its JSON).",
        ),
        optional(
            "slack_token",
            Kind::Text,
            "The variable `RUNBOOK_SECRET_…` that holds a bot's token: then a run is one thread in `channel`.",
        ),
        optional("channel", Kind::Text, "With `slack_token`: the channel's id."),
        optional(
            "pagerduty",
            Kind::Text,
            "The variable `RUNBOOK_SECRET_…` that holds a routing key of the Events API v2. One alert for a runbook on an app: a failure triggers it, a success resolves it.",
        ),
        optional(
            "url",
            Kind::Text,
            "Another address than the service's own, with `slack_token` or `pagerduty`: `https://events.eu.pagerduty.com/v2/enqueue`.",
        ),
        optional(
            "on",
            Kind::Texts,
            "What it is told of: `start`, `resumed`, `waiting` (for a person), `message` (of a `notify` step), `success`, `failure` (whatever its kind). Default: all; of `pagerduty` `waiting`, `success`, `failure`.",
        ),
    ],
    short: None,
    empty: false,
    open: false,
};

impl SinkSpec {
    pub(super) fn read(node: &Node, faults: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut reading = Reading::begin(node, &SINK, node.span, faults)?;
        let given: Vec<_> = ["slack", "slack_token", "pagerduty"]
            .into_iter()
            .filter_map(|key| reading.text(key).map(|variable| (key, variable)))
            .collect();
        let (channel, url) = (reading.text("channel"), reading.text("url"));
        let words = reading.texts("on");
        let head = node.map("").map_or(node.span, |map| map.head());
        let [(key, variable)] = given.as_slice() else {
            let fault = Diagnostic::error(head, "a sink is one of `slack`, `slack_token` and `pagerduty`");
            reading.faults().push(
                fault.help("write `- slack: RUNBOOK_SECRET_SLACK`; two sinks are two entries of the list"),
            );
            return None;
        };
        if !is_config_name(variable)
            || !variable.starts_with(SECRET_VARIABLES)
            || variable.len() == SECRET_VARIABLES.len()
        {
            // What does not look like a name may be the secret itself: it is not quoted.
            let text = format!("a variable named {SECRET_VARIABLES}… is expected here");
            let fault = Diagnostic::error(variable.span, text);
            reading.faults().push(fault.help(format!(
                "as in `{key}: {SECRET_VARIABLES}OPS`; no runbook can ask for another variable, and the secret belongs there"
            )));
        }
        let kind = match (*key, &channel) {
            ("slack_token", Some(channel)) => SinkKind::Thread { channel: channel.value.clone() },
            ("slack_token", None) => {
                reading.faults().push(Diagnostic::error(head, "`slack_token` needs a `channel`"));
                return None;
            }
            (_, Some(channel)) => {
                reading.faults().push(Diagnostic::error(channel.span, "`channel` belongs to `slack_token`"));
                return None;
            }
            ("pagerduty", None) => SinkKind::PagerDuty,
            _ => SinkKind::Webhook,
        };
        if let Some(url) = &url {
            if kind == SinkKind::Webhook {
                let fault = Diagnostic::error(url.span, "a webhook's URL is its secret");
                reading.faults().push(fault.help("put it into the variable that `slack` names"));
            } else if !is_address(url) {
                reading.faults().push(Diagnostic::error(url.span, "this is no https URL without a login"));
            }
        }
        let on = occasions(&words, &kind, reading.faults());
        Some(Self { kind, variable: variable.value.clone(), url: url.map(|url| url.value), on })
    }
}

fn occasions(words: &[Spanned<String>], kind: &SinkKind, faults: &mut Vec<Diagnostic>) -> Vec<Occasion> {
    if words.is_empty() {
        return match kind {
            SinkKind::PagerDuty => vec![Occasion::Waiting, Occasion::Success, Occasion::Failure],
            _ => Occasion::ALL.to_vec(),
        };
    }
    let mut on = Vec::new();
    for word in words {
        match Occasion::ALL.into_iter().find(|occasion| occasion.word() == word.value) {
            Some(occasion) => on.push(occasion),
            None => faults.push(unknown(word, OCCASIONS, "occasion")),
        }
    }
    on
}

/// An https URL without a login; plain http only on this machine.
pub fn is_address(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let local = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    !host.is_empty() && !authority.contains('@') && (scheme == "https" || (scheme == "http" && local))
}
