//! `maintenance`: Heroku's maintenance mode, on or off. It makes no release and restarts nothing; it must never leave
//! unsaid what visitors see while it is on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::heroku;
use super::forecast;
use super::param::{Bindings, Param};
use super::proof::patient;
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, required};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Unit, Value};
use crate::platform::{Before, Change};
use crate::source::Diagnostic;

const MODES: &[&str] = &["on", "off"];
/// How soon it is read back again when Heroku still tells the old state.
const LOOK: Duration = Duration::from_secs(3);

/// Switch maintenance mode.
#[derive(Debug)]
pub struct Maintenance {
    mode: Param<String>,
}

impl Verb for Maintenance {
    const NAME: &'static str = "maintenance";
    const ABOUT: &'static str = "Switch Heroku's maintenance mode. While it is on, the router answers every page with 503; dynos and one-off dynos run on.";
    const SHAPE: &'static Shape = &Shape {
        name: "maintenance",
        fields: &[required(
            "mode",
            Kind::Choice(MODES),
            "`on` or `off`. What is switched on is switched off by a later step with `always: true`.",
        )],
        short: Some("mode"),
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] =
        &[Output { name: "was_on", unit: Unit::Truth, about: "it was on before the step" }];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self { mode: reading.param("mode")? })
    }
}

impl Maintenance {
    fn on(&self) -> bool {
        matches!(self.mode.or("off".to_owned()).as_str(), "on" | "true")
    }
}

const fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn outputs(was_on: bool) -> BTreeMap<String, Value> {
    BTreeMap::from([("was_on".to_owned(), Value::Truth(was_on))])
}

impl Action for Maintenance {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        true
    }

    /// With it on, visitors are gone and pages unknown; with it off they come back, and usage is to rise.
    fn own_gate(&self) -> Option<&'static str> {
        Some(if self.on() { "dynos.crashed == 0" } else { "live" })
    }

    fn undo_takes(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        self.mode.bind(bindings, &mut faults);
        let mode = self.mode.or("off".to_owned());
        // `on` is a truth to readers of the older YAML, and so to people.
        if !MODES.contains(&mode.as_str()) && !matches!(mode.as_str(), "true" | "false") {
            let fault = Diagnostic::error(self.mode.text.span, format!("maintenance mode is not `{mode}`"));
            faults.push(fault.help("`on` or `off`"));
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = bindings;
        let mode = self.mode.or("on".to_owned());
        vec![heroku(app, &format!("maintenance:{mode}"))]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let (on, was) = (self.on(), scene.observer.heroku().app()?.maintenance);
        if on && was {
            return Ok(Preview {
                summary: "nothing: maintenance mode is on already".to_owned(),
                nothing_to_do: true,
                ..Preview::default()
            });
        }
        let mut preview = Preview {
            summary: format!("switch maintenance mode of {} {}", scene.app, word(on)),
            requests: vec![Change::Maintenance { on }.request(scene.app)],
            details: vec!["no release, no restart; dynos and one-off dynos run on".to_owned()],
            forecast: forecast::unchanged(
                scene,
                if on { "pages open no more while it is on" } else { "pages open theirs again" },
            ),
            ..Preview::default()
        };
        if on {
            preview.warnings.push(
                "from then on every visitor gets 503 (H80) from the router, until it is switched off"
                    .to_owned(),
            );
            preview.details.push(
                "pages are unknown meanwhile, and so is `live`: gate on usage or on dynos, as the default does"
                    .to_owned(),
            );
        } else if was {
            preview.details.push("visitors come back, and their connections with them".to_owned());
        } else {
            preview
                .unknown
                .push("it is off now: nothing to do unless a step before switches it on".to_owned());
        }
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let on = self.on();
        let is_on = match progress.made.last() {
            None => scene.observer.heroku().app()?.maintenance,
            Some(_) => match patient(scene.observer.heroku().app())? {
                Ok(app) => app.maintenance,
                Err(wait) => return Ok(wait),
            },
        };
        match progress.made.last() {
            None if is_on == on => Ok(Next::Done(Done {
                status: Status::AlreadySo,
                summary: format!("nothing to do: maintenance mode is {} already", word(on)),
                outputs: outputs(is_on),
                ..Done::default()
            })),
            None => Ok(Next::Change {
                change: Change::Maintenance { on },
                before: Before { maintenance: Some(is_on), ..Before::default() },
            }),
            Some(_) if is_on != on => Ok(Next::Wait {
                awaited: format!("Heroku to say that maintenance mode is {}", word(on)),
                again: LOOK,
            }),
            Some(made) => Ok(Next::Done(Done {
                status: Status::Acted,
                summary: if on {
                    "maintenance mode is ON: visitors get 503 until it is switched off".to_owned()
                } else {
                    "maintenance mode is off: visitors are served again".to_owned()
                },
                outputs: outputs(made.before.maintenance.unwrap_or(!on)),
                ..Done::default()
            })),
        }
    }
}
