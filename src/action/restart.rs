//! `restart`: replaces dynos, and proves that they were replaced.

use std::collections::BTreeMap;

use super::by_hand::{heroku, quoted};
use super::forecast;
use super::param::{Bindings, Param};
use super::proof::{Wanted, await_replaced, triples};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Unit, Value};
use crate::platform::{Before, Change, Dyno, DynoScope, Fault, FaultKind, Formation};
use crate::source::Diagnostic;

/// Restart dynos.
#[derive(Debug)]
pub struct Restart {
    dynos: Param<String>,
    force: Option<Param<bool>>,
}

impl Verb for Restart {
    const NAME: &'static str = "restart";
    const ABOUT: &'static str = "Restart dynos and prove that new ones took their place. Skipped when this run has just replaced every dyno.";
    const SHAPE: &'static Shape = &Shape {
        name: "restart",
        fields: &[
            optional(
                "dynos",
                Kind::Text,
                "`all`, a process type such as `web`, or one dyno such as `web.1`. Default: `all`.",
            ),
            optional(
                "force",
                Kind::Truth,
                "Restart although a release of this run has replaced every dyno. Default: false.",
            ),
        ],
        short: Some("dynos"),
        empty: true,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "replaced", unit: Unit::Count, about: "dynos replaced" },
        Output { name: "skipped", unit: Unit::Truth, about: "a release had replaced them already" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let dynos = reading.param("dynos").unwrap_or_else(|| Param::fixed("all".to_owned()));
        Some(Self { dynos, force: reading.param("force") })
    }
}

impl Restart {
    fn scope(&self) -> DynoScope {
        let dynos = self.dynos.or("all".to_owned());
        match dynos.as_str() {
            "all" => DynoScope::All,
            name if name.contains('.') => DynoScope::One(dynos),
            _ => DynoScope::Kind(dynos),
        }
    }

    fn means(&self, name: &str) -> bool {
        match self.scope() {
            DynoScope::All => true,
            DynoScope::Kind(kind) => name.split('.').next() == Some(kind.as_str()),
            DynoScope::One(one) => name == one,
        }
    }

    /// How many dynos it is about.
    fn concerned(&self, formation: &[Formation]) -> u64 {
        let scope = self.scope();
        let (kind, name) = kind_and_name(&scope);
        Wanted { formation, kind, name, release: None }.number()
    }

    fn nothing(&self) -> String {
        format!("nothing to restart: the formation wants none of {}", self.words())
    }

    /// What is to be restarted must be there: a process type of the app, a dyno of its formation.
    fn known(&self, scene: &Scene<'_>, dynos: &[Dyno], formation: &[Formation]) -> Result<(), Failure> {
        let (there, listed): (bool, Vec<String>) = match self.scope() {
            DynoScope::All => return Ok(()),
            DynoScope::Kind(kind) => {
                let kinds = formation.iter().map(|row| row.kind.clone()).collect::<Vec<_>>();
                (kinds.contains(&kind), kinds)
            }
            DynoScope::One(name) => {
                let dynos = dynos.iter().filter(|dyno| dyno.belongs_to(formation));
                let names = dynos.map(|dyno| dyno.name.clone()).collect::<Vec<_>>();
                (names.contains(&name), names)
            }
        };
        if there {
            return Ok(());
        }
        let why = format!("the app has none; it has: {}", listed.join(", "));
        let what = format!("restarting {} of {}", self.words(), scene.app);
        Err(Fault::new(FaultKind::Missing, what, why).hint("`heroku ps` lists them").into())
    }

    fn force(&self) -> bool {
        self.force.as_ref().is_some_and(|force| force.or(false))
    }

    fn words(&self) -> String {
        match self.scope() {
            DynoScope::All => "every dyno".to_owned(),
            DynoScope::Kind(kind) => format!("the {kind} dynos"),
            DynoScope::One(name) => name,
        }
    }
}

fn kind_and_name(scope: &DynoScope) -> (Option<&str>, Option<&str>) {
    match scope {
        DynoScope::All => (None, None),
        DynoScope::Kind(kind) => (Some(kind), None),
        DynoScope::One(name) => (None, Some(name)),
    }
}

fn outputs(replaced: u64, skipped: bool) -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("replaced".to_owned(), Value::Count(replaced as f64)),
        ("skipped".to_owned(), Value::Truth(skipped)),
    ])
}

impl Action for Restart {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        true
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        self.dynos.bind(bindings, &mut faults);
        super::param::bind_some(&mut self.force, bindings, &mut faults);
        let dynos = self.dynos.or("all".to_owned());
        let good = dynos.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if dynos.is_empty() || !good || dynos.starts_with('-') {
            let fault = Diagnostic::error(self.dynos.text.span, format!("`{dynos}` names no dynos"));
            faults.push(fault.help("write `all`, a process type such as `web`, or one dyno such as `web.1`"));
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = bindings;
        let dynos = self.dynos.or("all".to_owned());
        vec![match dynos.as_str() {
            "all" => heroku(app, "ps:restart"),
            one if one.contains('.') => heroku(app, &format!("ps:restart -d {}", quoted(one))),
            kind => heroku(app, &format!("ps:restart -p {}", quoted(kind))),
        }]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let formation = scene.observer.heroku().formation()?;
        let dynos = scene.observer.heroku().dynos()?;
        self.known(scene, &dynos, &formation)?;
        let change = Change::Restart { scope: self.scope() };
        if self.concerned(&formation) == 0 {
            return Ok(Preview { summary: self.nothing(), nothing_to_do: true, ..Preview::default() });
        }
        let mut preview = Preview {
            summary: format!("restart {} of {}", self.words(), scene.app),
            requests: vec![change.request(scene.app)],
            details: triples(&dynos, &formation)
                .iter()
                .filter(|dyno| self.means(&dyno.name))
                .map(|dyno| format!("{} since {}", dyno.name, dyno.created_at))
                .collect(),
            forecast: forecast::restarted(scene, &self.scope()),
            ..Preview::default()
        };
        if !self.force() {
            preview
                .unknown
                .push("skipped when a release of this run has replaced every dyno by then".to_owned());
        }
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let Some(made) = progress.made.last() else {
            if let (Some(replaced), false) = (&scene.run.replaced, self.force()) {
                return Ok(Next::Done(Done {
                    status: Status::AlreadySo,
                    summary: format!(
                        "not needed: step {} has replaced every dyno in this run",
                        replaced.step
                    ),
                    outputs: outputs(0, true),
                    ..Done::default()
                }));
            }
            let dynos = scene.observer.heroku().dynos()?;
            let formation = scene.observer.heroku().formation()?;
            self.known(scene, &dynos, &formation)?;
            if self.concerned(&formation) == 0 {
                return Ok(Next::Done(Done {
                    status: Status::NothingToDo,
                    summary: self.nothing(),
                    outputs: outputs(0, false),
                    ..Done::default()
                }));
            }
            let before = Before { dynos: triples(&dynos, &formation), ..Before::default() };
            return Ok(Next::Change { change: Change::Restart { scope: self.scope() }, before });
        };
        let scope = self.scope();
        let (kind, name) = kind_and_name(&scope);
        match await_replaced(scene, &made.before, made.at, kind, name, None)? {
            Err(wait) => Ok(wait),
            Ok(number) => Ok(Next::Done(Done {
                status: Status::Acted,
                summary: format!("{number} dynos replaced and up"),
                outputs: outputs(number, false),
                replaced_all: scope == DynoScope::All,
                ..Done::default()
            })),
        }
    }
}
