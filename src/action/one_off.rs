//! `one_off`: one command in a one-off dyno, with its output and its exit code. An exit code that is not known is unknown,
//! never 0; a command that may have begun is never started again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::{filled as fixed, heroku};
use super::forecast;
use super::param::{Bindings, Param, bind_some, sole_template};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional, required};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::expr::{Env, Expr, Template};
use crate::health::{Unit, Value};
use crate::platform::{self, Attach, Before, Change, Effect, Fault, FaultKind, quoted};
use crate::source::{Diagnostic, NodeKind, Spanned};

const ATTACH: &[&str] = &["auto", "always", "never"];
const ON_UNKNOWN: &[&str] = &["stop", "continue"];
/// Parts of names whose values are secrets.
const SECRET: [&str; 6] = ["KEY", "SECRET", "TOKEN", "PASS", "CREDENTIAL", "PRIVATE"];
/// The platform's bound of a one-off dyno's life.
const LONGEST: Duration = Duration::from_secs(86_400);
/// What a command may take when the step sets no `timeout`.
const PATIENCE: Duration = Duration::from_secs(600);

/// Run a command in a one-off dyno.
#[derive(Debug)]
pub struct OneOff {
    command: Vec<Spanned<String>>,
    /// One text for the dyno's shell, not a list of words.
    is_text: bool,
    attach: Param<String>,
    size: Option<Param<String>>,
    env: BTreeMap<String, Spanned<String>>,
    time_to_live: Option<Param<Duration>>,
    on_unknown_exit: Param<String>,
    changes: Option<Param<bool>>,
}

impl Verb for OneOff {
    const NAME: &'static str = "one_off";
    const ABOUT: &'static str = "Run a command in a one-off dyno of the app, and wait for its end: attached, or through the log where the port of rendezvous (5000) is blocked. It fails with any exit code but 0.";
    const SHAPE: &'static Shape = &Shape {
        name: "one_off",
        fields: &[
            required(
                "command",
                Kind::Texts,
                "A list of words, or one text for the dyno's shell. What a template gives inside a text is quoted as one word.",
            ),
            optional(
                "attach",
                Kind::Choice(ATTACH),
                "`auto`: attached, and through the log where that is not possible; `always`; `never`. Default: `auto`.",
            ),
            optional("size", Kind::Text, "Dyno size, `standard-1x`. Default: the platform's."),
            optional(
                "env",
                Kind::Each(&Kind::Text),
                "Set beside the config vars, which the dyno has. Secrets belong there, and are refused here.",
            ),
            optional(
                "time_to_live",
                Kind::Duration,
                "The platform ends the dyno after this time, also when this tool is gone. 1s to 24h.",
            ),
            optional(
                "on_unknown_exit",
                Kind::Choice(ON_UNKNOWN),
                "An exit code that got lost: `stop` asks a person, and ends in doubt (exit 7) where nobody is; `continue` goes on. Default: `stop`.",
            ),
            optional(
                "changes",
                Kind::Truth,
                "Whether it may change anything; such a step is gated. Default: true.",
            ),
        ],
        short: Some("command"),
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[Output {
        name: "exit_code",
        unit: Unit::Count,
        about: "always 0, since others fail the step; unknown when it got lost",
    }];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let is_text = matches!(reading.node("command")?.kind, NodeKind::Text(_));
        let command = reading.texts("command");
        let word = |reading: &mut Reading<'_, '_>, name: &str, default: &str| {
            reading.param(name).unwrap_or_else(|| Param::fixed(default.to_owned()))
        };
        let attach = word(reading, "attach", "auto");
        let on_unknown_exit = word(reading, "on_unknown_exit", "stop");
        let env = env(reading);
        if command.first().is_none_or(|first| first.trim().is_empty()) {
            let fault = Diagnostic::error(reading.span, "`one_off` names no command");
            reading.faults().push(fault.help("write `one_off: [php, maintenance/runJobs.php]`"));
            return None;
        }
        Some(Self {
            command,
            is_text,
            attach,
            size: reading.param("size"),
            env,
            time_to_live: reading.param("time_to_live"),
            on_unknown_exit,
            changes: reading.param("changes"),
        })
    }
}

/// `env`: names, each with a text.
fn env(reading: &mut Reading<'_, '_>) -> BTreeMap<String, Spanned<String>> {
    let mut env = BTreeMap::new();
    let Some(node) = reading.node("env") else { return env };
    let NodeKind::Map(entries) = &node.kind else {
        let fault = node.mismatch("a map of names and texts");
        reading.faults().push(fault);
        return env;
    };
    for (name, value) in entries {
        let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let upper = name.to_uppercase();
        if !good {
            let fault = Diagnostic::error(name.span, format!("`{}` is no name of a variable", name.value));
            reading.faults().push(fault);
        } else if SECRET.iter().any(|part| upper.contains(part)) {
            let fault = Diagnostic::error(name.span, format!("`{}` looks like a secret", name.value));
            reading.faults().push(fault.help(
                "what stands here is shown and written down; a config var is not, and every one-off dyno has them",
            ));
        }
        match value.text("a text") {
            Ok(text) => drop(env.insert(name.value.clone(), text)),
            Err(fault) => reading.faults().push(fault),
        }
    }
    env
}

/// Values as one word of the dyno's shell each.
struct Words<'a>(&'a dyn Env);

impl Env for Words<'_> {
    fn value(&self, path: &str) -> Option<Value> {
        self.0.value(path).map(|value| Value::Text(quoted(&value.to_string())))
    }

    fn condition(&self, _: &str) -> Option<&Expr> {
        None
    }
}

impl OneOff {
    /// What the dyno's shell runs. `known`: what is not known yet stays as it is written.
    fn command(&self, env: &dyn Env, known: &dyn Fn(&str) -> bool) -> String {
        let whole =
            |text: &Spanned<String>| Template::parse(text).is_ok_and(|template| template.names().all(known));
        if !self.is_text {
            let words = self
                .command
                .iter()
                .map(|word| if whole(word) { quoted(&filled(word, env)) } else { word.value.clone() });
            return words.collect::<Vec<_>>().join(" ");
        }
        let Some(text) = self.command.first() else { return String::new() };
        // An input, or an item, that is the whole command is the operator's own words.
        let own = sole_template(text).is_some_and(|name| name == "item" || name.starts_with("inputs."));
        match (whole(text), own) {
            (false, _) => text.value.clone(),
            (true, true) => filled(text, env),
            (true, false) => filled(text, &Words(env)),
        }
    }

    fn attach(&self) -> Attach {
        match self.attach.or("auto".to_owned()).as_str() {
            "always" => Attach::Always,
            "never" => Attach::Never,
            _ => Attach::Auto,
        }
    }

    fn wish(&self, scene: &Scene<'_>, attach: Attach, known: &dyn Fn(&str) -> bool) -> platform::OneOff {
        platform::OneOff {
            command: self.command(scene, known),
            token: format!("{:08x}", fastrand::u32(..)),
            attach,
            size: self.size.as_ref().map(|size| size.or(String::new())),
            env: self.env.iter().map(|(name, text)| (name.clone(), filled(text, scene))).collect(),
            time_to_live: self.time_to_live.as_ref().map(|time| time.or(LONGEST).as_secs().max(1)),
            unknown_exit_is_fine: self.on_unknown_exit.or("stop".to_owned()) == "continue",
        }
    }

    /// How it is done on this app: a Fir app's dynos are attached to in a way that this tool does not know.
    fn attach_on(&self, scene: &Scene<'_>) -> Result<Attach, Failure> {
        let attach = self.attach();
        if attach == Attach::Never || scene.observer.heroku().app()?.generation != "fir" {
            return Ok(attach);
        }
        if attach == Attach::Auto {
            return Ok(Attach::Never);
        }
        let what = format!("attaching to a one-off dyno of {}", scene.app);
        let why = "it is a Fir app, whose dynos have no rendezvous";
        Err(Fault::new(FaultKind::Unsupported, what, why).hint("`attach: auto` runs it detached").into())
    }
}

fn filled(text: &str, env: &dyn Env) -> String {
    Template::parse(text).map_or_else(|_| text.to_owned(), |template| template.fill(env))
}

impl Action for OneOff {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        self.changes.as_ref().is_none_or(|changes| changes.or(true))
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn texts(&self) -> Vec<&Spanned<String>> {
        self.command.iter().chain(self.env.values()).collect()
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        bind_some(&mut self.changes, bindings, &mut faults);
        bind_some(&mut self.size, bindings, &mut faults);
        if let Some(time) = &mut self.time_to_live {
            time.bind_within(bindings, &(Duration::from_secs(1)..=LONGEST), &mut faults);
        }
        for (param, words) in [(&mut self.attach, ATTACH), (&mut self.on_unknown_exit, ON_UNKNOWN)] {
            param.bind(bindings, &mut faults);
            let word = param.or(words.first().copied().unwrap_or_default().to_owned());
            if !words.contains(&word.as_str()) {
                let fault = Diagnostic::error(param.text.span, format!("`{word}` is none of its words"));
                faults.push(fault.help(format!("write one of: {}", words.join(", "))));
            }
        }
        if let Some(size) = &self.size {
            let word = size.or("basic".to_owned());
            if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.') {
                faults.push(Diagnostic::error(size.text.span, format!("`{word}` is no dyno size")));
            }
        }
        for text in &self.command {
            if filled(text, bindings).contains(char::is_control) {
                let fault = Diagnostic::error(text.span, "a command is one line, without control characters");
                faults.push(fault.help("what needs more belongs into a script of the app"));
            }
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let words: Vec<_> = self
            .command
            .iter()
            .map(|text| fixed(text, bindings))
            .map(|text| if self.is_text { text } else { quoted(&text) })
            .collect();
        let env = self
            .env
            .iter()
            .map(|(name, value)| format!(" --env {}", quoted(&format!("{name}={}", fixed(value, bindings)))));
        let size = self
            .size
            .as_ref()
            .map_or(String::new(), |size| format!(" --size {}", quoted(&size.or(String::new()))));
        let options: String = env.chain(std::iter::once(size)).collect();
        vec![format!(
            "{} -- {}",
            heroku(app, "run --exit-code").replacen(
                "run --exit-code",
                &format!("run --exit-code{options}"),
                1
            ),
            words.join(" ")
        )]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let attach = self.attach_on(scene)?;
        let known = |name: &str| scene.value(name).is_some();
        let wish = self.wish(scene, attach, &known);
        let how = match attach {
            Attach::Auto => {
                "attached through rendezvous, for its output and exit code; where port 5000 is blocked, detached and followed in the log"
            }
            Attach::Always => "attached through rendezvous, for its output and exit code",
            Attach::Never => "detached: its output and exit code come from the log",
        };
        let mut preview = Preview {
            summary: format!("run `{}` in a one-off dyno of {}", wish.command, scene.app),
            details: vec![how.to_owned()],
            unknown: vec!["what it does: this tool cannot look inside it".to_owned()],
            forecast: forecast::one_off(scene),
            ..Preview::default()
        };
        let first = wish.command.split_whitespace().next().unwrap_or_default().to_owned();
        if let Ok(formation) = scene.observer.heroku().formation()
            && let Some(row) = formation.iter().find(|row| row.kind == first)
        {
            let command = &row.command;
            preview
                .details
                .push(format!("`{first}` is a process type: Heroku runs its command, `{command}`"));
        }
        let env: Vec<_> = wish.env.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
        if !env.is_empty() {
            preview.details.push(format!("with {}", env.join(" ")));
        }
        if attach != Attach::Never {
            preview.details.push(
                "an attached dyno ends when this tool does (Ctrl-C twice, a closed laptop); Ctrl-C once waits for it"
                    .to_owned(),
            );
        }
        preview.requests.push(Change::OneOff(wish).request(scene.app));
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let Some(made) = progress.made.last() else {
            let wish = self.wish(scene, self.attach_on(scene)?, &|_| true);
            return Ok(Next::Change { change: Change::OneOff(wish), before: Before::default() });
        };
        let Effect::OneOff { dyno, attached, exit, crashed, output } = &made.effect else {
            return Ok(Next::Done(Done {
                status: Status::Acted,
                summary: "it ran; its exit code is unknown".to_owned(),
                ..Done::default()
            }));
        };
        let how = if *attached { "attached" } else { "detached" };
        match exit {
            Some(0) => Ok(Next::Done(Done {
                status: Status::Acted,
                summary: format!("{dyno} ({how}) ended with exit code 0"),
                outputs: BTreeMap::from([("exit_code".to_owned(), Value::Count(0.0))]),
                ..Done::default()
            })),
            None if !crashed => Ok(Next::Done(Done {
                status: Status::Acted,
                summary: format!(
                    "{dyno} ({how}) is over; its exit code is unknown (on_unknown_exit: continue)"
                ),
                ..Done::default()
            })),
            code => {
                let Change::OneOff(wish) = &made.change else { return Ok(Next::Done(Done::default())) };
                let what = format!("running `{}` in {dyno}", wish.command);
                let why = match code {
                    Some(code) => format!("it ended with exit code {code}"),
                    None => "it crashed, and the log lost its exit code".to_owned(),
                };
                let fault = Fault::new(FaultKind::Process, what, why)
                    .hint(format!("`heroku logs --dyno {dyno} --app {}` has what it said", scene.app));
                Err(Failure { fault, evidence: output.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb(command: &[&str], is_text: bool) -> OneOff {
        OneOff {
            command: command
                .iter()
                .map(|text| Spanned::new((*text).to_owned(), crate::source::Span::default()))
                .collect(),
            is_text,
            attach: Param::fixed("auto".to_owned()),
            size: None,
            env: BTreeMap::new(),
            time_to_live: None,
            on_unknown_exit: Param::fixed("stop".to_owned()),
            changes: None,
        }
    }

    #[test]
    fn what_a_template_gives_cannot_leave_its_word() {
        let bindings = Bindings {
            values: BTreeMap::from([
                ("inputs.jobs".to_owned(), Value::Count(20.0)),
                ("inputs.evil".to_owned(), Value::Text("x; rm -rf /".to_owned())),
                ("inputs.whole".to_owned(), Value::Text("php a.php | tee b".to_owned())),
                ("steps.a.out".to_owned(), Value::Text("$(reboot)".to_owned())),
            ]),
            ..Bindings::default()
        };
        let known = |name: &str| bindings.value(name).is_some();
        for (words, is_text, told) in [
            (vec!["php", "x.php", "--maxjobs=${{ inputs.jobs }}"], false, "php x.php --maxjobs=20"),
            (vec!["php", "${{ inputs.evil }}", "it's"], false, "php 'x; rm -rf /' 'it'\\''s'"),
            (
                vec!["php x.php --maxjobs=${{ inputs.jobs }} && echo done"],
                true,
                "php x.php --maxjobs=20 && echo done",
            ),
            (vec!["php ${{ inputs.evil }}"], true, "php 'x; rm -rf /'"),
            (vec!["${{ inputs.whole }}"], true, "php a.php | tee b"),
            (vec!["${{ steps.a.out }}"], true, "'$(reboot)'"),
            (vec!["php ${{ steps.later.out }}"], true, "php ${{ steps.later.out }}"),
        ] {
            assert_eq!(verb(&words, is_text).command(&bindings, &known), told);
        }
    }
}
