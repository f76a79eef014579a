//! `config`: sets, removes and puts back config vars: one release, which restarts every dyno, proven. It must never show a
//! value that could be a secret, nor touch the variable that leads to the database.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::{heroku, quoted};
use super::forecast;
use super::param::{Bindings, Param};
use super::proof::{RELEASE_TAKES, Released, await_release, await_replaced, before_release, missing_release};
use super::scene::{Failure, Made, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Unit, Value};
use crate::platform::{
    Change, ConfigDifference, ConfigValue, ConfigVars, Fault, FaultKind, SECRET_VARIABLES, is_config_name,
    secret_by_name,
};
use crate::source::{Diagnostic, NodeKind, Spanned};

/// Set and remove config vars.
#[derive(Debug)]
pub struct Config {
    /// Name and value.
    set: Vec<(Spanned<String>, Param<String>)>,
    /// Name and the environment variable that holds the value.
    from_env: Vec<(Spanned<String>, Param<String>)>,
    unset: Vec<Param<String>>,
    restore: Vec<Param<String>>,
    as_of: Option<Param<u64>>,
    unchanged_since: Option<Param<u64>>,
    never_up: Option<Param<bool>>,
}

impl Verb for Config {
    const NAME: &'static str = "config";
    const ABOUT: &'static str = "Set or remove config vars of the app: one release, which replaces every dyno. Nothing is done when they are so already.";
    const SHAPE: &'static Shape = &Shape {
        name: "config",
        fields: &[
            optional(
                "set",
                Kind::Each(&Kind::Any),
                "Names and values. They are shown and journalled: no secrets.",
            ),
            optional(
                "from_env",
                Kind::Each(&Kind::Text),
                "Names, and for each the environment variable that holds its value, `RUNBOOK_SECRET_…`: for secrets. `…_FILE` and `…_COMMAND` are taken too.",
            ),
            optional("unset", Kind::Texts, "Names to remove."),
            optional("restore", Kind::Texts, "Names to put back to what they were in the release `as_of`."),
            optional("as_of", Kind::Count, "Version of a release, for `restore`."),
            optional(
                "unchanged_since",
                Kind::Count,
                "For `restore`: refuse when one of them is not as in this release any more: somebody else has changed it.",
            ),
            optional(
                "never_up",
                Kind::Truth,
                "For `set`: leave a number that is smaller already as it is. Default: false.",
            ),
        ],
        short: None,
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "release", unit: Unit::Count, about: "the new release's version" },
        Output { name: "changed", unit: Unit::Count, about: "config vars that were changed" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let set = each(reading, "set");
        let from_env = each(reading, "from_env");
        let (unset, restore) = (reading.text_params("unset"), reading.text_params("restore"));
        let (as_of, unchanged_since) = (reading.param("as_of"), reading.param("unchanged_since"));
        let said = ["set", "from_env"].iter().any(|key| reading.node(key).is_some());
        let fault =
            if !said && set.is_empty() && from_env.is_empty() && unset.is_empty() && restore.is_empty() {
                Some("`config` names no config var".to_owned())
            } else if restore.is_empty() != as_of.is_none() {
                Some("`restore` and `as_of` belong together".to_owned())
            } else if unchanged_since.is_some() && restore.is_empty() {
                Some("`unchanged_since` is about `restore`".to_owned())
            } else {
                None
            };
        if let Some(fault) = fault {
            let fault = Diagnostic::error(reading.span, fault).help("write `set: { WEB_CONCURRENCY: 3 }`");
            reading.faults().push(fault);
            return None;
        }
        let never_up = reading.param("never_up");
        Some(Self { set, from_env, unset, restore, as_of, unchanged_since, never_up })
    }
}

/// A map of names and texts.
fn each(reading: &mut Reading<'_, '_>, key: &str) -> Vec<(Spanned<String>, Param<String>)> {
    let Some(node) = reading.node(key) else { return Vec::new() };
    let (NodeKind::Map(_), Ok(map)) = (&node.kind, node.map("a map of names and values")) else {
        reading.faults().push(node.mismatch("a map of names and values"));
        return Vec::new();
    };
    let mut pairs = Vec::new();
    for (name, node) in map.entries() {
        match node.text("a text") {
            Ok(text) => pairs.push((name.clone(), Param::written(text))),
            Err(fault) => {
                let fault = fault.help(format!("to remove it: `unset: [{}]`", name.value));
                reading.faults().push(fault);
            }
        }
    }
    pairs
}

impl Config {
    /// What is wanted, by name.
    fn vars(&self) -> ConfigVars {
        let text = |param: &Param<String>| param.or(String::new());
        let version = self.as_of.as_ref().map_or(0, |version| version.or(0));
        let mut vars = BTreeMap::new();
        for (name, value) in &self.set {
            vars.insert(name.value.clone(), ConfigValue::Text(text(value)));
        }
        for (name, variable) in &self.from_env {
            vars.insert(name.value.clone(), ConfigValue::Variable(text(variable)));
        }
        vars.extend(self.unset.iter().map(|name| (text(name), ConfigValue::Unset)));
        vars.extend(self.restore.iter().map(|name| (text(name), ConfigValue::Release(version))));
        vars
    }

    /// Names twice, names that are none, secrets in plain sight.
    fn name_faults(&self) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        let mut seen: BTreeMap<String, crate::source::Span> = BTreeMap::new();
        let listed =
            self.unset.iter().chain(&self.restore).map(|name| (name.or(String::new()), name.text.span));
        let mapped = self.set.iter().chain(&self.from_env).map(|(name, _)| (name.value.clone(), name.span));
        for (name, span) in mapped.chain(listed) {
            if !is_config_name(&name) {
                let fault = Diagnostic::error(span, format!("`{name}` is no name of a config var"));
                faults.push(fault.help("letters, digits and `_`, as in WEB_CONCURRENCY"));
            } else if let Some(first) = seen.insert(name.clone(), span) {
                faults.push(
                    Diagnostic::error(span, format!("`{name}` is named twice")).also(first, "first here"),
                );
            }
        }
        for (name, value) in &self.set {
            if secret_by_name(&name.value, &value.or(String::new())) {
                let text = format!(
                    "{} is a secret, by its name or as a URL with a login: what stands here is shown and journalled",
                    name.value
                );
                let help = format!(
                    "write `from_env: {{ {0}: {SECRET_VARIABLES}{0} }}`: its value is then read from that variable",
                    name.value
                );
                faults.push(Diagnostic::error(name.span, text).help(help));
            }
        }
        for (_, variable) in &self.from_env {
            // What does not look like a name may be the secret itself: it is not quoted.
            let name = variable.or(String::new());
            if !is_config_name(&name)
                || !name.starts_with(SECRET_VARIABLES)
                || name.len() == SECRET_VARIABLES.len()
            {
                let text = format!("a variable named {SECRET_VARIABLES}… is expected here");
                let help = format!(
                    "as in `from_env: {{ SMTP_PASSWORD: {SECRET_VARIABLES}SMTP }}`; no runbook can ask for another variable"
                );
                faults.push(Diagnostic::error(variable.text.span, text).help(help));
            }
        }
        faults
    }

    /// How things are now; refuses what must not be touched.
    fn compare(&self, scene: &Scene<'_>, vars: &ConfigVars) -> Result<Vec<ConfigDifference>, Failure> {
        let what = || format!("changing config vars of {}", scene.app);
        let differences = scene.observer.heroku().config_differences(vars)?;
        if let Some(database) = differences.iter().find(|difference| difference.is_database) {
            let why = format!(
                "{} holds the database's URL, which its add-on sets: the app would lose its database",
                database.key
            );
            return Err(Fault::new(FaultKind::Refused, what(), why)
                .hint("`heroku addons:attach` moves an app to another database; no runbook does")
                .into());
        }
        let changing: Vec<_> = differences.iter().filter(|difference| !difference.same).collect();
        if !changing.is_empty() {
            let addons = scene.observer.heroku().addons()?;
            for difference in changing {
                if let Some(addon) = addons.iter().find(|addon| addon.config_vars.contains(&difference.key)) {
                    let why = format!(
                        "{} is set by the add-on {}: Heroku lets nobody else change it",
                        difference.key, addon.name
                    );
                    return Err(Fault::new(FaultKind::Refused, what(), why)
                        .hint("choose another name")
                        .into());
                }
            }
        }
        self.unlike_expected(scene)?;
        let mut differences = differences;
        for difference in differences.iter_mut().filter(|difference| self.is_less(difference, vars)) {
            difference.same = true;
        }
        Ok(differences)
    }

    /// A number that would only be raised, where none may be.
    fn is_less(&self, difference: &ConfigDifference, vars: &ConfigVars) -> bool {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let never_up = self.never_up.as_ref().is_some_and(|never_up| never_up.or(false));
        let (Some(now), Some(ConfigValue::Text(wanted))) = (&difference.now, vars.get(&difference.key))
        else {
            return false;
        };
        never_up && number(now).zip(number(wanted)).is_some_and(|(now, wanted)| now <= wanted)
    }

    /// Whoever puts values back must not undo somebody else's.
    fn unlike_expected(&self, scene: &Scene<'_>) -> Result<(), Failure> {
        let Some(since) = self.unchanged_since.as_ref().map(|since| since.or(0)) else { return Ok(()) };
        let then: ConfigVars =
            self.restore.iter().map(|name| (name.or(String::new()), ConfigValue::Release(since))).collect();
        let now = scene.observer.heroku().config_differences(&then)?;
        // What is as it is to be already is nobody's loss.
        let done = scene.observer.heroku().config_differences(&self.vars())?;
        let done = |key: &str| done.iter().any(|difference| difference.key == key && difference.same);
        let changed: Vec<_> =
            now.iter().filter(|now| !now.same && !done(&now.key)).map(|now| now.key.as_str()).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let why = format!("somebody else has changed {} since release v{since}", changed.join(", "));
        Err(Fault::new(FaultKind::Refused, format!("putting config vars of {} back", scene.app), why)
            .hint("`heroku releases` tells who; set it by hand with `heroku config:set` if that is still wanted")
            .into())
    }

    fn prove(scene: &Scene<'_>, made: &Made, vars: &ConfigVars) -> Result<Next, Failure> {
        let release = match await_release(scene, &made.before, made.at, None) {
            Ok(Released::Live(release)) => release,
            Ok(Released::Wait(wait)) => return Ok(wait),
            Ok(Released::Missing) => {
                let what = format!("proving the change of config vars of {}", scene.app);
                return missing_release(scene, what, made.at);
            }
            Err(mut failure) => {
                failure.fault = failure.fault.hint(
                    "the new values may stand in `heroku config` although no dyno runs with them: look, and set them back",
                );
                return Err(failure);
            }
        };
        Ok(match await_replaced(scene, &made.before, made.at, None, None, Some(release.version))? {
            Err(wait) => wait,
            Ok(dynos) => Next::Done(Done {
                status: Status::Acted,
                summary: format!("v{} is live with them, {dynos} dynos replaced", release.version),
                outputs: BTreeMap::from([
                    ("release".to_owned(), Value::Count(release.version as f64)),
                    ("changed".to_owned(), Value::Count(vars.len() as f64)),
                ]),
                replaced_all: true,
                ..Done::default()
            }),
        })
    }
}

/// What becomes of one, in words; values only where they are no secrets.
fn line(difference: &ConfigDifference, wanted: &ConfigValue) -> String {
    let now = match (&difference.now, difference.is_set) {
        (Some(now), _) => now.clone(),
        (None, true) => "set (not shown)".to_owned(),
        (None, false) => "not set".to_owned(),
    };
    let to = match (wanted, difference.will_be_set) {
        (_, false) | (ConfigValue::Unset, true) => "removed".to_owned(),
        (ConfigValue::Text(text), true) => text.clone(),
        (ConfigValue::Variable(name), true) => format!("what ${name} holds (not shown)"),
        (ConfigValue::Release(version), true) => match &difference.wanted {
            Some(wanted) => format!("{wanted}, as in v{version}"),
            None => format!("as in v{version} (not shown)"),
        },
    };
    if difference.same {
        return format!("{}: {now}, and stays so", difference.key);
    }
    format!("{}: {now} → {to}", difference.key)
}

impl Action for Config {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        true
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(10 * 60)
    }

    fn undo_takes(&self) -> Duration {
        RELEASE_TAKES
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        for (_, param) in self.set.iter_mut().chain(&mut self.from_env) {
            param.bind(bindings, &mut faults);
        }
        for param in self.unset.iter_mut().chain(&mut self.restore) {
            param.bind(bindings, &mut faults);
        }
        for version in [&mut self.as_of, &mut self.unchanged_since].into_iter().flatten() {
            version.bind_within(bindings, &(1..=u64::MAX), &mut faults);
        }
        super::param::bind_some(&mut self.never_up, bindings, &mut faults);
        if faults.is_empty() {
            faults = self.name_faults();
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = bindings;
        let word = |param: &Param<String>| param.or(String::new());
        let mut lines = Vec::new();
        let set = self.set.iter().map(|(name, value)| format!("{}={}", name.value, quoted(&word(value))));
        let from =
            self.from_env.iter().map(|(name, variable)| format!("{}=\"${}\"", name.value, word(variable)));
        let set: Vec<_> = set.chain(from).collect();
        if !set.is_empty() {
            lines.push(heroku(app, &format!("config:set {}", set.join(" "))));
        }
        if !self.unset.is_empty() {
            let names: Vec<_> = self.unset.iter().map(|name| quoted(&word(name))).collect();
            lines.push(heroku(app, &format!("config:unset {}", names.join(" "))));
        }
        if let Some(version) = &self.as_of {
            let names: Vec<_> = self.restore.iter().map(|name| quoted(&word(name))).collect();
            lines.push(format!("# put back {} as release v{} had them:", names.join(", "), version.or(0)));
            lines.push(heroku(app, &format!("releases:info v{} --json", version.or(0))));
            lines.push(heroku(app, "config:set NAME=VALUE"));
        }
        lines
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let vars = self.vars();
        let differences = self.compare(scene, &vars)?;
        let names: Vec<_> = vars.keys().map(String::as_str).collect();
        let names = names.join(", ");
        let details = differences.iter().map(|one| line(one, &vars[&one.key])).collect();
        if differences.iter().all(|difference| difference.same) {
            return Ok(Preview {
                summary: format!("nothing: {names} are as wanted already"),
                details,
                nothing_to_do: true,
                ..Preview::default()
            });
        }
        let processes = match differences.iter().find(|one| one.key == "WEB_CONCURRENCY") {
            Some(one) => one.wanted.as_ref().and_then(|number| number.trim().parse().ok()),
            None => scene.observer.processes().ok().flatten(),
        };
        Ok(Preview {
            summary: format!("set {names} of {}: one release, every dyno restarts", scene.app),
            requests: vec![Change::Config { vars }.request(scene.app)],
            details,
            forecast: forecast::overlap_of(scene, processes),
            ..Preview::default()
        })
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let vars = self.vars();
        if let Some(made) = progress.made.last() {
            return Self::prove(scene, made, &vars);
        }
        let differences = self.compare(scene, &vars)?;
        // Only those that differ: what others see in the release is what was changed.
        let vars: ConfigVars = vars
            .into_iter()
            .filter(|(key, _)| differences.iter().any(|one| one.key == *key && !one.same))
            .collect();
        if vars.is_empty() {
            return Ok(Next::Done(Done {
                status: Status::AlreadySo,
                summary: "nothing to do: they are as wanted already (no release, no restart)".to_owned(),
                ..Done::default()
            }));
        }
        Ok(Next::Change { change: Change::Config { vars }, before: before_release(scene)? })
    }
}
