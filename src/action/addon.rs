//! `addon`: creates an add-on and waits until it is provisioned, or changes the plan of one. It costs money: nothing is
//! ordered whose price nobody has agreed to, and a create is never sent twice.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::{heroku, quoted};
use super::cost::{self, Bound};
use super::forecast;
use super::param::{Bindings, Param, whole};
use super::proof::{Released, await_release, await_replaced, before_release, patient};
use super::scene::{Failure, Made, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Metric, Unit, Value};
use crate::platform::{
    Addon as Found, AddonPlan, Before, Change, Effect, Fault, FaultKind, Release, secret_by_name,
};
use crate::source::Diagnostic;

/// Providers take minutes, and Heroku asks not to be asked more often.
const LOOK: Duration = Duration::from_secs(5);
/// How long the release of a plan that was changed, or of an add-on that is ready, may take to appear.
const RELEASE_PATIENCE: Duration = Duration::from_secs(30);

/// Create an add-on, or change its plan.
#[derive(Debug)]
pub struct Addon {
    create: Option<Param<String>>,
    change: Option<Param<String>>,
    to: Option<Param<String>>,
    name: Option<Param<String>>,
    another: Option<Param<bool>>,
    up_to: Option<Param<String>>,
    notes: Vec<Param<String>>,
}

impl Verb for Addon {
    const NAME: &'static str = "addon";
    const ABOUT: &'static str = "Create an add-on and wait until it is provisioned, or change the plan of one. What it costs is named, and asked about.";
    const SHAPE: &'static Shape = &Shape {
        name: "addon",
        fields: &[
            optional(
                "create",
                Kind::Text,
                "The plan to create one of: `heroku-redis:mini`. Nothing is done when the app has one of that service.",
            ),
            optional(
                "change",
                Kind::Text,
                "The add-on whose plan is changed: its name, or its service when there is one of it.",
            ),
            optional("to", Kind::Text, "For `change`: the plan, `jawsdb-maria:kitefin` or `kitefin`."),
            optional("name", Kind::Text, "For `create`: its own name."),
            optional(
                "another",
                Kind::Truth,
                "For `create`: also when the app has one of that service already. Default: false.",
            ),
            optional(
                "up_to",
                Kind::Text,
                "Dollars a month that are agreed to, `$50`. A higher price is refused. Without it, or with 0, a person is asked.",
            ),
            optional(
                "notes",
                Kind::Texts,
                "Lines that are said when it is there: what to change so that it is used.",
            ),
        ],
        short: None,
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "name", unit: Unit::Text, about: "the add-on's name" },
        Output { name: "plan", unit: Unit::Text, about: "its plan now" },
        Output {
            name: "limit_before",
            unit: Unit::Count,
            about: "of a change: the connection limit measured before it; unknown when it was not measured",
        },
        Output {
            name: "moved",
            unit: Unit::Truth,
            about: "of a change: the database's URL is another now, and this run still measures the old one",
        },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let this = Self {
            create: reading.param("create"),
            change: reading.param("change"),
            to: reading.param("to"),
            name: reading.param("name"),
            another: reading.param("another"),
            up_to: reading.param("up_to"),
            notes: reading.text_params("notes"),
        };
        let fault = match (&this.create, &this.change) {
            (Some(_), None) if this.to.is_some() => "`to` is about `change`: `create` names the plan itself",
            (None, Some(_)) if this.to.is_none() => "`change` needs `to`: the new plan",
            (None, Some(_)) if this.name.is_some() || this.another.is_some() => {
                "`name` and `another` are about `create`"
            }
            (Some(_), None) | (None, Some(_)) => return Some(this),
            (Some(_), Some(_)) => "`create` and `change` are two steps",
            (None, None) => "`addon` says neither what to `create` nor what to `change`",
        };
        let fault = Diagnostic::error(reading.span, fault)
            .help("write `create: heroku-redis:mini`, or `change: jawsdb-maria` with `to: PLAN`");
        reading.faults().push(fault);
        None
    }
}

fn text(param: Option<&Param<String>>) -> String {
    param.map_or_else(String::new, |param| param.or(String::new())).trim().to_owned()
}

/// `service:plan`, or a service alone, of letters that such names have.
fn is_plan(name: &str) -> bool {
    let good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    name.len() <= 120 && name.split(':').count() <= 2 && name.split(':').all(good)
}

/// What is to be done, from how things are now.
enum Wish {
    /// It is there.
    There(Found),
    /// It is there, or wanted so, and not ready yet.
    Coming(Found),
    /// Create one.
    Create(AddonPlan),
    /// Change this one to that plan, from what the old plan costs.
    Change(Box<(Found, AddonPlan, Option<AddonPlan>)>),
}

impl Addon {
    fn bound(&self) -> Bound {
        Bound::read(&text(self.up_to.as_ref())).unwrap_or_default()
    }

    fn what(&self, scene: &Scene<'_>) -> String {
        match &self.create {
            Some(_) => format!("creating {} for {}", text(self.create.as_ref()), scene.app),
            None => format!("changing the plan of {} of {}", text(self.change.as_ref()), scene.app),
        }
    }

    fn wish(&self, scene: &Scene<'_>) -> Result<Wish, Failure> {
        let addons = scene.observer.heroku().addons()?;
        match &self.create {
            Some(_) => self.wish_create(scene, addons),
            None => self.wish_change(scene, addons),
        }
    }

    fn wish_create(&self, scene: &Scene<'_>, addons: Vec<Found>) -> Result<Wish, Failure> {
        let wanted = text(self.create.as_ref());
        let service = wanted.split(':').next().unwrap_or_default();
        let name = text(self.name.as_ref());
        let another = self.another.as_ref().is_some_and(|another| another.or(false));
        let there = addons.into_iter().find(|addon| {
            let same = if name.is_empty() { !another } else { addon.name == name || !another };
            addon.exists() && addon.service == service && same
        });
        match there {
            Some(there) if there.state == "provisioning" => Ok(Wish::Coming(there)),
            Some(there) => Ok(Wish::There(there)),
            None => Ok(Wish::Create(self.plan(scene, &wanted)?)),
        }
    }

    fn wish_change(&self, scene: &Scene<'_>, addons: Vec<Found>) -> Result<Wish, Failure> {
        let (of, to) = (text(self.change.as_ref()), text(self.to.as_ref()));
        let known: Vec<_> = addons.iter().map(|addon| format!("{} ({})", addon.name, addon.plan)).collect();
        let mut found: Vec<_> = addons
            .into_iter()
            .filter(|addon| addon.exists() && (addon.name == of || addon.service == of))
            .collect();
        let fault = |why: String| Fault::new(FaultKind::Missing, self.what(scene), why);
        let addon = match found.len() {
            0 => {
                return Err(fault(format!("the app has no such add-on; it has: {}", known.join(", "))).into());
            }
            1 => found.remove(0),
            _ => {
                let names: Vec<_> = found.into_iter().map(|addon| addon.name).collect();
                return Err(fault(format!("it has {} of that service: {}", names.len(), names.join(", ")))
                    .hint("name the add-on, not the service")
                    .into());
            }
        };
        if to.is_empty() {
            let plans = scene.observer.heroku().addon_plans(&addon.service)?;
            let mut fault = fault(format!("no plan was named; {} is on {}", addon.name, addon.plan))
                .hint("name one with `--set plan=NAME`; what each can hold stands on the provider's page");
            for plan in &plans {
                let now = if plan.name == addon.plan { ", now" } else { "" };
                fault = fault.hint(format!("{}{} costs {}{now}", plan.name, human(plan), plan.costs()));
            }
            return Err(fault.into());
        }
        let to = if to.contains(':') { to } else { format!("{}:{to}", addon.service) };
        if to.split(':').next() != Some(addon.service.as_str()) {
            let why = format!("{to} is a plan of another service; {} is of {}", addon.name, addon.service);
            return Err(fault(why).into());
        }
        if addon.plan == to {
            return Ok(if addon.state == "provisioning" { Wish::Coming(addon) } else { Wish::There(addon) });
        }
        let plan = self.plan(scene, &to)?;
        // It may not be sold any more: its price is then not told.
        let now = scene.observer.heroku().addon_plan(&addon.plan).ok();
        Ok(Wish::Change(Box::new((addon, plan, now))))
    }

    /// A plan by its name; where there is none, those that there are.
    fn plan(&self, scene: &Scene<'_>, name: &str) -> Result<AddonPlan, Failure> {
        match scene.observer.heroku().addon_plan(name) {
            Ok(plan) => Ok(plan),
            Err(fault) if fault.kind == FaultKind::Missing => {
                let service = name.split(':').next().unwrap_or_default();
                let plans = scene.observer.heroku().addon_plans(service).unwrap_or_default();
                let list: Vec<_> =
                    plans.iter().map(|plan| format!("{} ({})", plan.name, plan.costs())).collect();
                let why = if list.is_empty() {
                    format!("Heroku knows no add-on service `{service}`")
                } else {
                    format!("Heroku knows no plan `{name}`; there are: {}", list.join(", "))
                };
                Err(Fault::new(FaultKind::Missing, self.what(scene), why).into())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// What is to be agreed to, or that it must not be.
    fn consent(
        &self,
        scene: &Scene<'_>,
        plan: &AddonPlan,
        now: Option<&AddonPlan>,
    ) -> Result<Option<super::verb::Consent>, Failure> {
        cost::consent(&self.what(scene), plan, now, self.bound())
    }

    /// Follows what was created until it is ready and the app runs with it.
    fn follow_new(&self, scene: &Scene<'_>, made: &Made) -> Result<Next, Failure> {
        let Effect::Addon { name, .. } = &made.effect else {
            let why = "its name is not known: which of the app's add-ons it is cannot be told";
            return Err(Fault::new(FaultKind::Broken, self.what(scene), why)
                .hint("`heroku addons` lists them")
                .into());
        };
        let addon = match patient(scene.observer.addon(name))? {
            Ok(seen) => seen.value,
            Err(wait) => return Ok(wait),
        };
        match addon.state.as_str() {
            "provisioned" => {}
            state if state.starts_with("deprovision") => {
                let said = addon.message.map_or(String::new(), |said| format!("; the provider says: {said}"));
                let why = format!("{name} is {state}: the provider has given it up{said}");
                return Err(Fault::new(FaultKind::Refused, self.what(scene), why)
                    .hint("try again later, or another plan; nothing is paid for it")
                    .into());
            }
            _ => return Ok(wait_for(&addon)),
        }
        if addon.config_vars.is_empty() {
            return Ok(Next::Done(done(&addon, "it sets no config vars: no release, no restart", false)));
        }
        let ready = |release: &Release| is_since(release, &addon);
        Self::release_of(scene, made, &addon, ready)
    }

    /// Follows a plan that was changed.
    fn follow_change(scene: &Scene<'_>, made: &Made, name: &str, plan: &str) -> Result<Next, Failure> {
        let addon = match patient(scene.observer.addon(name))? {
            Ok(seen) if seen.at < made.at => {
                return Ok(Next::Wait { awaited: format!("{name} to be listed anew"), again: LOOK });
            }
            Ok(seen) => seen.value,
            Err(wait) => return Ok(wait),
        };
        if addon.plan != plan || addon.state != "provisioned" {
            return Ok(wait_for(&addon));
        }
        let next = Self::release_of(scene, made, &addon, |_| true)?;
        let Next::Done(mut done) = next else { return Ok(next) };
        if let Some(limit) = made.before.limit {
            done.outputs.insert("limit_before".to_owned(), Value::Count(limit as f64));
        }
        // A provider may have moved the data to another server: then this run measures the old one.
        let moved = match made.before.live_release {
            Some(version) => match patient(scene.observer.heroku().config_changes(&version.to_string()))? {
                Ok(changes) => changes.into_iter().find(|change| change.is_database),
                Err(wait) => return Ok(wait),
            },
            None => None,
        };
        done.outputs.insert("moved".to_owned(), Value::Truth(moved.is_some()));
        if let Some(moved) = moved {
            done.notes.push(format!(
                "{} has changed: the app uses another server now, and this run still measures the old one; a new run measures the new",
                moved.key
            ));
        }
        Ok(Next::Done(done))
    }

    /// The release that brings the app what the add-on sets, and its dynos.
    fn release_of(
        scene: &Scene<'_>,
        made: &Made,
        addon: &Found,
        is_it: impl Fn(&Release) -> bool,
    ) -> Result<Next, Failure> {
        let wait = |awaited: &str| Ok(Next::Wait { awaited: awaited.to_owned(), again: LOOK });
        let late =
            since_updated(scene, addon) > RELEASE_PATIENCE && scene.now.since(made.at) > RELEASE_PATIENCE;
        let release = match await_release(scene, &made.before, made.at, None)? {
            Released::Live(release) if is_it(&release) || late => release,
            Released::Live(_) => return wait("the release with its final config vars"),
            Released::Wait(wait) => return Ok(wait),
            Released::Missing if late => {
                return Ok(Next::Done(done(addon, "no release was made, so nothing was restarted", false)));
            }
            Released::Missing => return wait("the release that it makes"),
        };
        Ok(match await_replaced(scene, &made.before, made.at, None, None, Some(release.version))? {
            Err(wait) => wait,
            Ok(dynos) => {
                let told = format!("v{} is live with it, {dynos} dynos replaced", release.version);
                Next::Done(done(addon, &told, true))
            }
        })
    }
}

fn human(plan: &AddonPlan) -> String {
    if plan.human_name.is_empty() { String::new() } else { format!(" ({})", plan.human_name) }
}

fn wait_for(addon: &Found) -> Next {
    let said = addon.message.as_ref().map_or(String::new(), |said| format!(" ({said})"));
    let awaited = format!("{} to be provisioned on {}; it is {}{said}", addon.name, addon.plan, addon.state);
    Next::Wait { awaited, again: LOOK }
}

fn done(addon: &Found, told: &str, replaced_all: bool) -> Done {
    let mut notes = Vec::new();
    if !addon.config_vars.is_empty() {
        notes.push(format!("{} sets {}", addon.name, addon.config_vars.join(", ")));
    }
    Done {
        status: Status::Acted,
        summary: format!("{} is provisioned on {}: {told}", addon.name, addon.plan),
        outputs: outputs(addon),
        notes,
        replaced_all,
        ..Done::default()
    }
}

fn outputs(addon: &Found) -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("name".to_owned(), Value::Text(addon.name.clone())),
        ("plan".to_owned(), Value::Text(addon.plan.clone())),
    ])
}

fn moment(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

/// Whether a release was made since the add-on was ready, by the clock of Heroku's: the one of its creation comes before,
/// with a placeholder.
fn is_since(release: &Release, addon: &Found) -> bool {
    match (moment(&release.created_at), moment(&addon.updated_at)) {
        (Some(made), Some(ready)) => made.as_second() + 2 >= ready.as_second(),
        _ => true,
    }
}

/// How long the add-on has been as it is; clocks may differ a little.
fn since_updated(scene: &Scene<'_>, addon: &Found) -> Duration {
    let wall = scene.observer.clock().wall();
    moment(&addon.updated_at)
        .and_then(|updated| Duration::try_from(wall.duration_since(updated)).ok())
        .unwrap_or_default()
}

/// The limit as it was measured last, if it was: while every login is refused it is not.
fn limit(scene: &Scene<'_>) -> Option<u64> {
    match scene.metrics.get(&Metric::Limit) {
        Some(Value::Count(limit)) => Some(whole(*limit)),
        _ => None,
    }
}

impl Action for Addon {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        true
    }

    /// Providers say minutes; Heroku gives them twelve hours.
    fn patience(&self) -> Duration {
        Duration::from_secs(30 * 60)
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        for param in [&mut self.create, &mut self.change, &mut self.to, &mut self.name, &mut self.up_to] {
            super::param::bind_some(param, bindings, &mut faults);
        }
        super::param::bind_some(&mut self.another, bindings, &mut faults);
        for note in &mut self.notes {
            note.bind(bindings, &mut faults);
        }
        for (param, may_be_empty) in
            [(&self.create, false), (&self.change, false), (&self.to, true), (&self.name, true)]
        {
            let Some(param) = param else { continue };
            let name = param.or("x".to_owned());
            let name = name.trim();
            if !(is_plan(name) || may_be_empty && name.is_empty()) {
                let shown = if secret_by_name("", name) { "this".to_owned() } else { format!("`{name}`") };
                let fault =
                    Diagnostic::error(param.text.span, format!("{shown} is no name of a plan or an add-on"));
                faults.push(fault.help("as in `heroku-redis:mini`"));
            }
        }
        if let Some(up_to) = &self.up_to
            && let Err(why) = Bound::read(&up_to.or(String::new()))
        {
            faults.push(Diagnostic::error(up_to.text.span, why).help("dollars a month: `$50`"));
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = bindings;
        if self.create.is_some() {
            let name = text(self.name.as_ref());
            let name = if name.is_empty() { name } else { format!(" --name {}", quoted(&name)) };
            let plan = text(self.create.as_ref());
            return vec![
                heroku(app, &format!("addons:create {}{name}", quoted(&plan))),
                heroku(app, "addons   # until its state is created"),
            ];
        }
        vec![heroku(
            app,
            &format!(
                "addons:upgrade {} {}",
                quoted(&text(self.change.as_ref())),
                quoted(&text(self.to.as_ref()))
            ),
        )]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let restarts = "when it is ready the app gets its config vars by a release: every dyno restarts";
        let mut preview = Preview::default();
        match self.wish(scene)? {
            Wish::There(addon) => {
                preview.summary = format!("nothing: {} is there, on {}", addon.name, addon.plan);
                preview.nothing_to_do = true;
            }
            Wish::Coming(addon) => preview.summary = format!("wait until {} is provisioned", addon.name),
            Wish::Create(plan) => {
                preview.consents.extend(self.consent(scene, &plan, None)?);
                preview.summary =
                    format!("create an add-on of {}{} for {}", plan.name, human(&plan), scene.app);
                let name = Some(text(self.name.as_ref())).filter(|name| !name.is_empty());
                preview
                    .requests
                    .push(Change::CreateAddon { plan: plan.name.clone(), name }.request(scene.app));
                preview.details.push(format!("it costs {}, from now on", plan.costs()));
                preview.details.push(restarts.to_owned());
                preview.forecast = forecast::overlap(scene);
                preview.unknown.push("how long its provider takes: minutes as a rule".to_owned());
            }
            Wish::Change(change) => {
                let (addon, plan, now) = *change;
                preview.consents.extend(self.consent(scene, &plan, now.as_ref())?);
                preview.summary =
                    format!("change the plan of {} from {} to {}", addon.name, addon.plan, plan.name);
                let change = Change::ChangePlan { addon: addon.name.clone(), plan: plan.name.clone() };
                preview.requests.push(change.request(scene.app));
                let was = now.as_ref().map_or("not told".to_owned(), AddonPlan::costs);
                preview.details.push(format!("it will cost {}; now: {was}", plan.costs()));
                for other in scene.observer.heroku().addon_plans(&addon.service).unwrap_or_default() {
                    preview.details.push(format!("plan {}{}: {}", other.name, human(&other), other.costs()));
                }
                preview.details.push("a release of it restarts every dyno".to_owned());
                preview.forecast = forecast::overlap(scene);
                preview.unknown.push(
                    "whether the provider changes it in place, with a pause, or on another server: its page tells"
                        .to_owned(),
                );
            }
        }
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let mut next = self.decide(scene, progress)?;
        if let Next::Done(done) = &mut next {
            done.notes.extend(self.notes.iter().map(|note| note.or(String::new())));
        }
        Ok(next)
    }
}

impl Addon {
    fn decide(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        match progress.made.last() {
            Some(made) => match &made.change {
                Change::ChangePlan { addon, plan } => Self::follow_change(scene, made, addon, plan),
                _ => self.follow_new(scene, made),
            },
            None => match self.wish(scene)? {
                Wish::Coming(addon) => Ok(wait_for(&addon)),
                Wish::There(addon) => {
                    let mut notes = Vec::new();
                    if self.create.is_some()
                        && text(self.create.as_ref()).contains(':')
                        && addon.plan != text(self.create.as_ref())
                    {
                        notes.push(format!("its plan is {}; `change` would change it", addon.plan));
                    }
                    if !addon.config_vars.is_empty() {
                        notes.push(format!("{} sets {}", addon.name, addon.config_vars.join(", ")));
                    }
                    let mut outputs = outputs(&addon);
                    if self.change.is_some() {
                        outputs.insert("moved".to_owned(), Value::Truth(false));
                    }
                    Ok(Next::Done(Done {
                        status: Status::AlreadySo,
                        summary: format!("nothing to do: {} is there, on {}", addon.name, addon.plan),
                        outputs,
                        notes,
                        ..Done::default()
                    }))
                }
                Wish::Create(plan) => {
                    cost::agreed(scene, &self.what(scene), self.consent(scene, &plan, None)?)?;
                    let ids = scene.observer.heroku().addons()?.into_iter().map(|addon| addon.id).collect();
                    let name = Some(text(self.name.as_ref())).filter(|name| !name.is_empty());
                    let before = Before { addons: ids, ..before_release(scene)? };
                    Ok(Next::Change { change: Change::CreateAddon { plan: plan.name, name }, before })
                }
                Wish::Change(change) => {
                    let (addon, plan, now) = *change;
                    cost::agreed(scene, &self.what(scene), self.consent(scene, &plan, now.as_ref())?)?;
                    let before =
                        Before { plan: Some(addon.plan), limit: limit(scene), ..before_release(scene)? };
                    Ok(Next::Change {
                        change: Change::ChangePlan { addon: addon.name, plan: plan.name },
                        before,
                    })
                }
            },
        }
    }
}
