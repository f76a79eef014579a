//! `scale`: how many dynos of one process type run, as an absolute number.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::{heroku, quoted};
use super::forecast;
use super::param::{Bindings, Param};
use super::proof::{crash, patient, triples};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional, required};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Unit, Value};
use crate::platform::{Before, Change, Fault, FaultKind, Formation};
use crate::source::Diagnostic;

/// Change how many dynos of one type run.
#[derive(Debug)]
pub struct Scale {
    kind: Param<String>,
    to: Param<u64>,
    never_up: Option<Param<bool>>,
    never_down: Option<Param<bool>>,
    /// Only from this number.
    from: Option<Param<u64>>,
}

impl Verb for Scale {
    const NAME: &'static str = "scale";
    const ABOUT: &'static str =
        "Set how many dynos of one process type run, and wait until that many are there.";
    const SHAPE: &'static Shape = &Shape {
        name: "scale",
        fields: &[
            optional("type", Kind::Text, "Process type. Default: `web`."),
            required("to", Kind::Count, "How many, 1 to 100 (0 would shut the site)."),
            optional(
                "from",
                Kind::Count,
                "Refuse unless this many are wanted now: somebody else has scaled meanwhile.",
            ),
            optional("never_up", Kind::Truth, "Do nothing when fewer run already. Default: false."),
            optional("never_down", Kind::Truth, "Do nothing when more run already. Default: false."),
        ],
        short: None,
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "from", unit: Unit::Count, about: "quantity before" },
        Output { name: "to", unit: Unit::Count, about: "quantity now" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let kind = reading.param("type").unwrap_or_else(|| Param::fixed("web".to_owned()));
        let (to, from) = (reading.param("to"), reading.param("from"));
        let (never_up, never_down) = (reading.param("never_up"), reading.param("never_down"));
        Some(Self { kind, to: to?, never_up, never_down, from })
    }
}

impl Scale {
    fn to(&self) -> u64 {
        self.to.or(1)
    }

    fn nothing_to_do(&self, quantity: u64) -> bool {
        let said = |never: &Option<Param<bool>>| never.as_ref().is_some_and(|never| never.or(false));
        quantity == self.to()
            || (said(&self.never_up) && quantity < self.to())
            || (said(&self.never_down) && quantity > self.to())
    }

    fn row(&self, scene: &Scene<'_>, formation: Vec<Formation>) -> Result<Formation, Failure> {
        let kind = self.kind.or("web".to_owned());
        let known: Vec<_> = formation.iter().map(|row| row.kind.clone()).collect();
        formation.into_iter().find(|row| row.kind == kind).ok_or_else(|| {
            Fault::new(
                FaultKind::Missing,
                format!("scaling {kind} of {}", scene.app),
                format!("the app has no such process type; it has: {}", known.join(", ")),
            )
            .hint("process types come from the Procfile of what is live")
            .into()
        })
    }
}

impl Scale {
    /// Whoever wants to put a number back must not undo somebody else's.
    fn unlike_expected(&self, scene: &Scene<'_>, row: &Formation) -> Result<(), Failure> {
        let Some(from) = self.from.as_ref().map(|from| from.or(row.quantity)) else { return Ok(()) };
        if from == row.quantity || self.nothing_to_do(row.quantity) {
            return Ok(());
        }
        let what = format!("scaling {} of {} from {from} to {}", row.kind, scene.app, self.to());
        let why = format!("{} is at {}: somebody else has scaled it since", row.kind, row.quantity);
        Err(Fault::new(FaultKind::Refused, what, why)
            .hint(format!("`heroku ps:scale {}={}` if that is still wanted", row.kind, self.to()))
            .into())
    }

    /// Eco and basic run one dyno of a process type: Heroku would refuse more, and it is better known before.
    fn within_size(&self, scene: &Scene<'_>, row: &Formation) -> Result<(), Failure> {
        let small = ["eco", "basic"].contains(&row.size.to_ascii_lowercase().as_str());
        if !small || self.to() <= 1 {
            return Ok(());
        }
        let what = format!("scaling {} of {} to {}", row.kind, scene.app, self.to());
        let why = format!("Heroku runs at most one {} dyno of a process type", row.size);
        Err(Fault::new(FaultKind::Refused, what, why)
            .hint("more need dynos of a standard or larger size")
            .into())
    }
}

fn outputs(from: u64, to: u64) -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("from".to_owned(), Value::Count(from as f64)),
        ("to".to_owned(), Value::Count(to as f64)),
    ])
}

impl Action for Scale {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        true
    }

    fn undo_takes(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        self.kind.bind(bindings, &mut faults);
        self.to.bind_within(bindings, &(1..=100), &mut faults);
        super::param::bind_some(&mut self.never_up, bindings, &mut faults);
        super::param::bind_some(&mut self.never_down, bindings, &mut faults);
        if let Some(from) = &mut self.from {
            from.bind_within(bindings, &(0..=100), &mut faults);
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = bindings;
        let kind = self.kind.or("web".to_owned());
        vec![heroku(app, &format!("ps:scale {}={}", quoted(&kind), self.to.or(1)))]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let row = self.row(scene, scene.observer.heroku().formation()?)?;
        let to = self.to();
        let mut preview = Preview::default();
        if self.nothing_to_do(row.quantity) {
            preview.nothing_to_do = true;
            preview.summary = format!("nothing: {} is at {} already", row.kind, row.quantity);
            return Ok(preview);
        }
        self.unlike_expected(scene, &row)?;
        self.within_size(scene, &row)?;
        preview.summary =
            format!("scale {} of {} from {} to {to} ({})", row.kind, scene.app, row.quantity, row.size);
        preview.forecast = forecast::scaled(scene, &row.kind, row.quantity, to);
        let change = Change::Scale { kind: row.kind, quantity: to };
        preview.requests.push(change.request(scene.app));
        preview.changes.push(change);
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let formation = match progress.made.last() {
            None => scene.observer.heroku().formation()?,
            Some(made) => match patient(scene.observer.formation(made.at))? {
                Ok(seen) => seen.value,
                Err(wait) => return Ok(wait),
            },
        };
        let row = self.row(scene, formation.clone())?;
        let to = self.to();
        let Some(made) = progress.made.last() else {
            if self.nothing_to_do(row.quantity) {
                return Ok(Next::Done(Done {
                    status: Status::NothingToDo,
                    summary: format!("nothing to do: {} is at {}", row.kind, row.quantity),
                    outputs: outputs(row.quantity, row.quantity),
                    ..Done::default()
                }));
            }
            self.unlike_expected(scene, &row)?;
            self.within_size(scene, &row)?;
            let dynos = scene.observer.heroku().dynos()?;
            let before = Before {
                quantity: Some(row.quantity),
                dynos: triples(&dynos, &formation),
                ..Before::default()
            };
            return Ok(Next::Change { change: Change::Scale { kind: row.kind, quantity: to }, before });
        };
        let seen = match patient(scene.observer.dynos())? {
            Ok(seen) => seen,
            Err(wait) => return Ok(wait),
        };
        let of_kind: Vec<_> = seen.value.iter().filter(|dyno| dyno.kind == row.kind).collect();
        // Those that were there before may be in any state: this step is about the number.
        let new: Vec<_> = of_kind
            .iter()
            .filter(|dyno| !made.before.dynos.iter().any(|was| was.id == dyno.id && was.name == dyno.name))
            .collect();
        let crashed: Vec<_> =
            new.iter().filter(|dyno| dyno.state == "crashed").map(|dyno| dyno.name.clone()).collect();
        let from = made.before.quantity.unwrap_or(0);
        if seen.at >= made.at && !crashed.is_empty() && to > from {
            return Err(crash(scene, &crashed));
        }
        let there = of_kind.len() as u64;
        let settled = seen.at >= made.at
            && row.quantity == to
            && there == to
            && new.iter().all(|dyno| dyno.state == "up" || dyno.state == "idle" || to < from);
        if !settled {
            return Ok(Next::Wait {
                awaited: format!("{to} {} dynos to be there and up ({there} listed)", row.kind),
                again: Duration::from_secs(1),
            });
        }
        Ok(Next::Done(Done {
            status: Status::Acted,
            summary: format!("{} scaled from {from} to {to}", row.kind),
            outputs: outputs(from, to),
            ..Done::default()
        }))
    }
}
