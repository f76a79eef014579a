//! A world in memory, for tests of this crate: an app, its database and its working tree, with time as a number. It
//! outlives a run, as the real one does, and counts every change that took effect. It must never be part of a build.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::addons::{Addon, AddonPlan, Price};
use super::change::{Change, DynoScope, Effect, KillRule, Victim};
use super::clock::Clock;
use super::config::{ConfigDifference, ConfigValue, ConfigVars};
use super::door::Observer;
use super::error::Fault;
use super::facts::{
    App, Build, BuildOrigin, Census, CommitFact, Committer, ConfigChange, DatabaseFacts, Dyno, Formation,
    IdleSession, LogLine, Release, ReleaseStatus, Slug, TreeChange, TreeState,
};
use super::inventory::{Answer, DatabaseSession, Figure, NamedQuery};
use super::pages::PageAnswer;
use super::reads::{DatabaseReads, GitReads, HerokuReads};
use crate::edit::apply;
use crate::health::{
    DatabaseReading, DatabaseSample, DynoReading, Moment, PageReading, Reading, Sample, Unit, Value,
};

/// Slots of the database.
const LIMIT: u64 = 150;
/// Wall clock at the world's first moment.
const BEGAN: i64 = 1_800_000_000;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leak {
    /// A kill, or a restart, cures it for the time of a run.
    Once,
    /// Only a restart does: killed sessions are back at once.
    Refills,
    /// A kill does, for 40 s; a restart for good.
    Relapses,
    /// Only new code does.
    Code,
}

/// How long a kill heals a leak that relapses, in milliseconds.
const RELAPSE_MS: u64 = 40_000;

struct State {
    now: u64,
    leak: Leak,
    idle: u64,
    relapses_at: Option<u64>,
    kills: u64,
    jobs: u64,
    /// One-off dynos that are over: name and command.
    one_offs: Vec<(String, String)>,
    dynos: Vec<Dyno>,
    born: u64,
    web: u64,
    maintenance: bool,
    releases: Vec<Release>,
    slugs: BTreeMap<String, String>,
    commits: Vec<(String, String)>,
    uncommitted: BTreeSet<String>,
    files: BTreeMap<String, Vec<u8>>,
    remote: String,
    cured: BTreeSet<String>,
    counts: BTreeMap<&'static str, u64>,
    later: Vec<(u64, Change)>,
    number: u64,
    config: BTreeMap<String, String>,
    /// The config of each release.
    configs: BTreeMap<u64, BTreeMap<String, String>>,
    addons: Vec<Addon>,
    /// Add-ons that are being provisioned, until then.
    provisioning: Vec<(u64, String)>,
    limit: u64,
}

/// The world.
pub(crate) struct World(Mutex<State>);

/// What is compared at the end of a run: nothing in it depends on time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) live: String,
    pub(crate) releases: usize,
    pub(crate) web: u64,
    pub(crate) maintenance: bool,
    pub(crate) head: String,
    pub(crate) remote: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) plans: Vec<String>,
}

impl World {
    /// A wiki that leaks, two dynos of release v5, the fix not yet committed.
    pub(crate) fn new(leak: Leak) -> Arc<Self> {
        let mut state = State {
            now: 0,
            leak,
            idle: 146,
            relapses_at: None,
            kills: 0,
            jobs: 30,
            one_offs: Vec::new(),
            dynos: Vec::new(),
            born: 0,
            web: 2,
            maintenance: false,
            releases: Vec::new(),
            slugs: BTreeMap::new(),
            commits: vec![(sha(0), "first".to_owned()), (sha(1), "second".to_owned())],
            // The fix waits in one file, the other is as it was committed.
            uncommitted: BTreeSet::from(["apache_app.conf".to_owned()]),
            files: files(),
            remote: sha(1),
            cured: BTreeSet::new(),
            counts: BTreeMap::new(),
            later: Vec::new(),
            number: 4,
            config: BTreeMap::from([("WEB_CONCURRENCY".to_owned(), "8".to_owned())]),
            configs: BTreeMap::new(),
            addons: vec![addon("db-1", "jawsdb-maria:leopard", "provisioned", 0)],
            provisioning: Vec::new(),
            limit: LIMIT,
        };
        state.releases.push(release(4, "Deploy", &sha(0)));
        state.slugs.insert(slug(&sha(0)), sha(0));
        state.make_release("Deploy", &sha(1));
        state.idle = 146;
        Arc::new(Self(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.now;
        if state.relapses_at.is_some_and(|at| at <= now) {
            state.relapses_at = None;
            state.idle = 146;
        }
        let due: Vec<_> = state.later.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, change) in due {
            state.apply(&change);
        }
        state.provision();
        state
    }

    /// Time goes on.
    pub(crate) fn pass(&self, until: Moment) {
        let mut state = self.state();
        state.now = state.now.max(until.0);
    }

    /// A change takes effect.
    pub(crate) fn apply(&self, change: &Change) -> Effect {
        self.state().apply(change)
    }

    /// A change takes effect after `later`, whoever sent it.
    pub(crate) fn apply_later(&self, change: &Change, later: Duration) {
        let mut state = self.state();
        let at = state.now + u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        state.later.push((at, change.clone()));
    }

    /// What is compared.
    pub(crate) fn end(&self) -> End {
        let state = self.state();
        End {
            live: state.live_commit(),
            releases: state.releases.len(),
            web: state.web,
            maintenance: state.maintenance,
            head: state.commits.last().map(|(sha, _)| sha.clone()).unwrap_or_default(),
            remote: state.remote.clone(),
            files: state.files.clone(),
            counts: state.counts.clone(),
            config: state.config.clone(),
            plans: state.addons.iter().map(|addon| addon.plan.clone()).collect(),
        }
    }

    /// A sample at this moment.
    pub(crate) fn sample(&self, number: u64) -> Sample {
        let state = self.state();
        let used = state.idle + 2 + state.web;
        Sample {
            number,
            at: Moment(state.now),
            database: DatabaseReading::Measured(DatabaseSample {
                connected: used,
                server_limit: state.limit,
                own: used,
                visible: used,
                sleeping: state.idle,
                sleeping_at_least: [state.idle; 4],
                oldest_sleep_ms: 90_000.0,
                uptime: 1000 + state.now / 1000,
                connections_total: 1000 + state.now,
                ..DatabaseSample::default()
            }),
            dynos: Reading::Measured(DynoReading {
                up: state.web,
                wanted: state.web,
                ..DynoReading::default()
            }),
            pages: Reading::Measured(PageReading { ok_ms: vec![20.0; 4], ..PageReading::default() }),
            logs: Reading::not_asked(),
            jobs: Reading::Measured(state.jobs),
        }
    }

    /// Read authority over it.
    pub(crate) fn observer(self: &Arc<Self>) -> Observer {
        let clone = || Arc::clone(self);
        Observer::new(clone(), Some(clone()), clone(), clone())
    }
}

impl State {
    fn live_commit(&self) -> String {
        let live = self.releases.iter().find(|release| release.current);
        live.and_then(|release| self.slugs.get(release.slug.as_deref()?).cloned()).unwrap_or_default()
    }

    fn boot(&mut self) {
        self.born += 1;
        let version =
            self.releases.iter().find(|release| release.current).map_or(0, |release| release.version);
        self.dynos = (1..=self.web)
            .map(|index| Dyno {
                id: format!("dyno-{}-{index}", self.born),
                name: format!("web.{index}"),
                kind: "web".into(),
                state: "up".into(),
                size: "Standard-1X".into(),
                release: version,
                created_at: wall(self.now).to_string(),
                updated_at: wall(self.now).to_string(),
                command: String::new(),
            })
            .collect();
        let cured = self.cured.contains(&self.live_commit());
        if cured || self.leak != Leak::Code {
            self.idle = 0;
            self.relapses_at = None;
        }
    }

    fn make_release(&mut self, description: &str, commit: &str) -> u64 {
        self.number += 1;
        for release in &mut self.releases {
            release.current = false;
        }
        self.slugs.insert(slug(commit), commit.to_owned());
        let created_at = wall(self.now).to_string();
        self.releases.push(Release { created_at, ..release(self.number, description, commit) });
        self.configs.insert(self.number, self.config.clone());
        self.boot();
        self.number
    }

    /// What each config var is to be.
    fn wanted(&self, vars: &ConfigVars) -> Vec<(String, Option<String>)> {
        let value = |key: &String, value: &ConfigValue| match value {
            ConfigValue::Text(text) => Some(text.clone()),
            ConfigValue::Variable(name) => Some(format!("value of {name}")),
            ConfigValue::Release(version) => {
                self.configs.get(version).and_then(|then| then.get(key).cloned())
            }
            ConfigValue::Unset => None,
        };
        vars.iter().map(|(key, wanted)| (key.clone(), value(key, wanted))).collect()
    }

    /// Add-ons become ready: they set their config vars, which is a release.
    fn provision(&mut self) {
        let now = self.now;
        let ready: Vec<_> = self.provisioning.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, name) in ready {
            let mut set = Vec::new();
            for addon in self.addons.iter_mut().filter(|addon| addon.name == name) {
                "provisioned".clone_into(&mut addon.state);
                addon.updated_at = wall(now).to_string();
                set.extend(addon.config_vars.iter().map(|var| (var.clone(), "url".to_owned())));
            }
            if !set.is_empty() {
                self.config.extend(set);
                let live = self.live_commit();
                self.make_release(&format!("@ref:{name} completed provisioning"), &live);
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm a change")]
    fn apply(&mut self, change: &Change) -> Effect {
        let name = match change {
            Change::Restart { .. } => "restart",
            Change::Scale { .. } => "scale",
            Change::Maintenance { .. } => "maintenance",
            Change::Config { .. } => "config",
            Change::CreateAddon { .. } => "create add-on",
            Change::ChangePlan { .. } => "change plan",
            Change::Rollback { .. } => "rollback",
            Change::Promote { .. } => "promote",
            Change::Kill { .. } => "kill",
            Change::Edit { .. } => "edit",
            Change::Commit { .. } => "commit",
            Change::Revert { .. } => "revert",
            Change::Push { .. } => "push",
            Change::OneOff(_) => "one_off",
            Change::Command { .. } => "command",
        };
        *self.counts.entry(name).or_default() += 1;
        match change {
            Change::Restart { scope: DynoScope::All | DynoScope::Kind(_) | DynoScope::One(_) } => {
                self.boot();
                Effect::Accepted
            }
            Change::Scale { quantity, .. } => {
                self.web = *quantity;
                self.boot();
                Effect::Accepted
            }
            Change::Maintenance { on } => {
                self.maintenance = *on;
                Effect::Accepted
            }
            Change::Config { vars } => {
                let wanted = self.wanted(vars);
                if wanted.iter().all(|(key, value)| self.config.get(key) == value.as_ref()) {
                    return Effect::Accepted;
                }
                for (key, value) in wanted {
                    match value {
                        Some(value) => drop(self.config.insert(key, value)),
                        None => drop(self.config.remove(&key)),
                    }
                }
                let names: Vec<_> = vars.keys().map(String::as_str).collect();
                let live = self.live_commit();
                let version = self.make_release(&format!("Set {} config vars", names.join(", ")), &live);
                Effect::Released { version }
            }
            Change::CreateAddon { plan, name } => {
                let name = name.clone().unwrap_or_else(|| format!("addon-{}", self.addons.len() + 1));
                self.addons.push(addon(&name, plan, "provisioning", self.now));
                self.provisioning.push((self.now + 20_000, name.clone()));
                Effect::Addon { name, plan: plan.clone() }
            }
            Change::ChangePlan { addon, plan } => {
                let now = wall(self.now).to_string();
                for known in self.addons.iter_mut().filter(|known| known.name == *addon) {
                    known.plan.clone_from(plan);
                    known.updated_at.clone_from(&now);
                }
                self.limit = 2 * LIMIT;
                let live = self.live_commit();
                self.make_release(&format!("Change plan of {addon}"), &live);
                Effect::Addon { name: addon.clone(), plan: plan.clone() }
            }
            Change::Rollback { version, .. } => {
                let slug = self.releases.iter().find(|r| r.version == *version).and_then(|r| r.slug.clone());
                let commit = slug.and_then(|slug| self.slugs.get(&slug).cloned()).unwrap_or_default();
                if let Some(then) = self.configs.get(version) {
                    self.config.clone_from(then);
                }
                let version = self.make_release(&format!("Rollback to v{version}"), &commit);
                Effect::Released { version }
            }
            Change::Promote { commit, .. } => {
                let version = self.make_release("Deploy", commit);
                Effect::Released { version }
            }
            Change::Kill { victims, .. } => {
                self.kills += 1;
                if matches!(self.leak, Leak::Once | Leak::Relapses) {
                    if self.leak == Leak::Relapses {
                        self.relapses_at = Some(self.now + RELAPSE_MS);
                    }
                    self.idle = self.idle.saturating_sub(victims.len() as u64);
                }
                Effect::Killed {
                    killed: victims.iter().map(|victim| victim.id).collect(),
                    spared: Vec::new(),
                    one_by_one: false,
                    dying: Some(0),
                }
            }
            Change::Edit { path, hunks, .. } => {
                let now = self.files.get(path).map(|text| apply(text, hunks));
                if let Some(Ok(now)) = now {
                    self.files.insert(path.clone(), now);
                    self.uncommitted.insert(path.clone());
                }
                Effect::Edited
            }
            Change::Commit { message, paths } => {
                self.uncommitted.retain(|path| !paths.contains(path));
                let commit = sha(self.commits.len());
                self.cured.insert(commit.clone());
                self.commits.push((commit.clone(), message.clone()));
                Effect::Committed { commit }
            }
            Change::Revert { commit } => {
                let subject = format!("Revert \"{}\"", &commit[..8]);
                let commit = sha(self.commits.len());
                self.commits.push((commit.clone(), subject));
                Effect::Committed { commit }
            }
            Change::Push { commit, .. } => {
                if self.remote == *commit {
                    return Effect::Pushed { up_to_date: true };
                }
                self.remote.clone_from(commit);
                self.make_release(&format!("Deploy {}", &commit[..8]), commit);
                Effect::Pushed { up_to_date: false }
            }
            Change::Command { prints, .. } => Effect::Ran {
                output: Vec::new(),
                printed: prints.iter().map(|(name, unit)| (name.clone(), specimen(*unit))).collect(),
            },
            Change::OneOff(wish) => {
                self.jobs = self.jobs.saturating_sub(20);
                let dyno = format!("run.{}", 1000 + self.one_offs.len());
                self.one_offs.push((dyno.clone(), wish.detached_command()));
                Effect::OneOff {
                    dyno,
                    attached: false,
                    exit: Some(0),
                    crashed: false,
                    output: vec!["20 jobs done".into()],
                }
            }
        }
    }
}

/// What a program prints here.
fn specimen(unit: Unit) -> Value {
    match unit {
        Unit::Ratio => Value::Ratio(0.5),
        Unit::Count | Unit::Rate => Value::Count(1.0),
        Unit::Duration => Value::Duration(Some(1.0)),
        Unit::Truth => Value::Truth(true),
        Unit::Text => Value::Text("text".to_owned()),
    }
}

/// The wiki's files before the fix.
fn files() -> BTreeMap<String, Vec<u8>> {
    let settings = concat!(
        "<?php\n$wgDBservers = [ [\n\t'flags' => DBO_DEFAULT | DBO_PERSISTENT,\n] ];\n",
        "$wgMainCacheType = CACHE_NONE;\n# $wgJobRunRate = 0;\n# $wgDisableSearchUpdate = true;\n# $wgEnableUploads = false;\n"
    );
    let apache = "MaxRequestWorkers 8\nMaxConnectionsPerChild 100\n";
    let procfile = "web: heroku-php-apache2 -c apache_app.conf\n";
    let files = [("LocalSettings.php", settings), ("apache_app.conf", apache), ("Procfile", procfile)];
    files.into_iter().map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).collect()
}

fn sha(number: usize) -> String {
    format!("{:08x}{}", 0xc000_0000_u32 + u32::try_from(number).unwrap_or(0), "0".repeat(32))
}

fn slug(commit: &str) -> String {
    format!("slug-{}", commit.get(..8).unwrap_or(commit))
}

fn addon(name: &str, plan: &str, state: &str, now: u64) -> Addon {
    let service = plan.split(':').next().unwrap_or_default().to_owned();
    Addon {
        id: format!("id-{name}"),
        name: name.to_owned(),
        config_vars: match service.as_str() {
            "heroku-redis" => vec!["REDIS_URL".to_owned()],
            "jawsdb-maria" => vec!["JAWSDB_MARIA_URL".to_owned()],
            _ => Vec::new(),
        },
        service,
        plan: plan.to_owned(),
        state: state.to_owned(),
        message: None,
        updated_at: wall(now).to_string(),
    }
}

fn wall(now: u64) -> jiff::Timestamp {
    let now = i64::try_from(now).unwrap_or(0);
    jiff::Timestamp::from_millisecond(BEGAN * 1000 + now).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

fn release(version: u64, description: &str, commit: &str) -> Release {
    Release {
        id: format!("release-{version}"),
        version,
        status: ReleaseStatus::Succeeded,
        current: true,
        eligible_for_rollback: true,
        description: description.to_owned(),
        slug: Some(slug(commit)),
        user: "operator@example.com".into(),
        created_at: wall(0).to_string(),
        output_stream_url: None,
    }
}

impl Clock for World {
    fn now(&self) -> Moment {
        Moment(self.state().now)
    }

    fn wall(&self) -> jiff::Timestamp {
        wall(self.state().now)
    }

    fn sleep(&self, time: Duration) {
        let until = self.now().plus(time);
        self.pass(until);
    }

    fn beside(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

impl HerokuReads for World {
    fn app(&self) -> Result<App, Fault> {
        Ok(App {
            id: "app-1".into(),
            name: "wiki".into(),
            web_url: None,
            generation: "cedar".into(),
            stack: "heroku-24".into(),
            maintenance: self.state().maintenance,
        })
    }
    fn preboot(&self) -> Result<bool, Fault> {
        Ok(false)
    }
    fn origin(&self) -> Result<BuildOrigin, Fault> {
        Ok(BuildOrigin::Git)
    }
    fn builds(&self, _: usize) -> Result<Vec<Build>, Fault> {
        Ok(Vec::new())
    }
    fn dynos(&self) -> Result<Vec<Dyno>, Fault> {
        Ok(self.state().dynos.clone())
    }
    fn formation(&self) -> Result<Vec<Formation>, Fault> {
        let quantity = self.state().web;
        Ok(vec![Formation {
            kind: "web".into(),
            quantity,
            size: "Standard-1X".into(),
            command: "run".into(),
        }])
    }
    fn releases(&self, newest: usize) -> Result<Vec<Release>, Fault> {
        Ok(self.state().releases.iter().rev().take(newest).cloned().collect())
    }
    fn slug(&self, id: &str) -> Result<Slug, Fault> {
        let commit = self.state().slugs.get(id).cloned();
        Ok(Slug { id: id.to_owned(), commit, process_types: Vec::new() })
    }
    fn config_changes(&self, _: &str) -> Result<Vec<ConfigChange>, Fault> {
        Ok(Vec::new())
    }
    fn sharing_apps(&self) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
    fn recent_logs(&self, _: u32, _: Option<&str>) -> Result<Vec<LogLine>, Fault> {
        let line = |dyno: &str, message: &str| LogLine {
            at: wall(0).to_string(),
            source: "heroku".into(),
            process: dyno.to_owned(),
            message: message.to_owned(),
        };
        let of = |(dyno, command): &(String, String)| {
            [
                line(dyno, &format!("Starting process with command `{command}`")),
                line(dyno, "Process exited with status 0"),
                line(dyno, "State changed from up to complete"),
            ]
        };
        Ok(self.state().one_offs.iter().flat_map(of).collect())
    }
    fn probe_page(&self, _: &str) -> Reading<PageReading> {
        Reading::Measured(PageReading { ok_ms: vec![20.0], ..PageReading::default() })
    }
    fn ask_page(&self, _: &str) -> PageAnswer {
        let body = "<html>a page</html>".to_owned();
        PageAnswer {
            status: Some(200),
            took_ms: 20.0,
            bytes: body.len() as u64,
            body,
            ..PageAnswer::default()
        }
    }
    fn pages_url(&self) -> Option<String> {
        Some("http://127.0.0.1:1".into())
    }
    fn web_concurrency(&self) -> Result<Option<u64>, Fault> {
        Ok(self.state().config.get("WEB_CONCURRENCY").and_then(|value| value.parse().ok()))
    }
    fn config_differences(&self, vars: &ConfigVars) -> Result<Vec<ConfigDifference>, Fault> {
        let state = self.state();
        let difference = |(key, wanted): (String, Option<String>)| ConfigDifference {
            same: state.config.get(&key) == wanted.as_ref(),
            is_set: state.config.contains_key(&key),
            will_be_set: wanted.is_some(),
            wanted: wanted.clone(),
            now: state.config.get(&key).cloned(),
            is_database: key == "JAWSDB_MARIA_URL",
            key,
        };
        Ok(state.wanted(vars).into_iter().map(difference).collect())
    }
    fn addons(&self) -> Result<Vec<Addon>, Fault> {
        Ok(self.state().addons.clone())
    }
    fn addon(&self, name: &str) -> Result<Addon, Fault> {
        let found = self.state().addons.iter().find(|addon| addon.name == name).cloned();
        found.ok_or_else(|| Fault::new(super::error::FaultKind::Missing, "reading an add-on", name))
    }
    fn addon_plan(&self, name: &str) -> Result<AddonPlan, Fault> {
        let found = self.addon_plans("")?.into_iter().find(|plan| plan.name == name);
        found.ok_or_else(|| Fault::new(super::error::FaultKind::Missing, "reading a plan", name))
    }
    fn addon_plans(&self, service: &str) -> Result<Vec<AddonPlan>, Fault> {
        let plan = |name: &str, cents| AddonPlan {
            name: name.to_owned(),
            human_name: String::new(),
            price: Some(Price { cents, unit: "month".to_owned(), contract: false }),
            state: "ga".to_owned(),
        };
        let all = [
            plan("jawsdb-maria:leopard", 5000),
            plan("jawsdb-maria:larger", 9000),
            plan("heroku-redis:mini", 300),
            plan("scheduler:standard", 0),
        ];
        Ok(all.into_iter().filter(|plan| plan.name.starts_with(service)).collect())
    }
    fn calls(&self) -> u64 {
        0
    }
    fn api_url(&self) -> String {
        "http://127.0.0.1:1".into()
    }
}

impl DatabaseReads for World {
    fn sample(&self) -> DatabaseReading {
        World::sample(self, 0).database
    }
    fn facts(&self) -> Result<DatabaseFacts, Fault> {
        Ok(DatabaseFacts {
            version: "10.11.0-MariaDB".into(),
            account: "wiki@%".into(),
            connection_id: 1,
            server_limit: LIMIT,
            account_limit: 0,
            sees_transactions: false,
            sees_locks: false,
            wait_timeout: 28_800,
            idle_transaction_timeout: 0,
            protection: "not encrypted".into(),
        })
    }
    fn idle_sessions(&self, rule: &KillRule) -> Result<Vec<IdleSession>, Fault> {
        let state = self.state();
        // Sessions of after a kill have other ids: those that were killed are gone.
        let first = 1000 * (state.kills + 1) + 10_000 * state.born;
        let sessions = (0..state.idle.min(rule.at_most)).map(|index| IdleSession {
            id: first + index,
            query_id: first + index,
            user: "wiki".into(),
            host: "10.0.0.1".into(),
            db: None,
            idle_ms: 90_000.0,
        });
        Ok(sessions.collect())
    }
    fn census(&self) -> Result<Census, Fault> {
        Ok(Census::default())
    }
    fn sessions(&self) -> Result<Vec<DatabaseSession>, Fault> {
        Ok(Vec::new())
    }
    fn counters(&self) -> Result<Vec<Figure>, Fault> {
        Ok(vec![Figure { name: "threads_connected".into(), value: "1".into() }])
    }
    fn settings(&self) -> Result<Vec<Figure>, Fault> {
        Ok(vec![Figure { name: "max_connections".into(), value: LIMIT.to_string() }])
    }
    fn answer(&self, query: NamedQuery) -> Result<Answer, Fault> {
        Ok(Answer {
            columns: vec!["question".into(), "sessions".into()],
            rows: vec![vec![query.name().into(), self.state().idle.to_string()]],
            value: self.state().idle as f64,
        })
    }
    fn kill_sql(&self, _: &[Victim], _: &KillRule) -> String {
        String::new()
    }
    fn jobs_queued(&self) -> Result<u64, Fault> {
        Ok(self.state().jobs)
    }
    fn logins(&self) -> u64 {
        0
    }
    fn name(&self) -> String {
        "wiki@127.0.0.1:1/wiki".into()
    }
}

impl GitReads for World {
    fn tree(&self) -> Result<TreeState, Fault> {
        let head = self.state().commits.last().map(|(sha, _)| sha.clone()).unwrap_or_default();
        Ok(TreeState { top: "/wiki".into(), head, branch: "master".into(), staged: Vec::new() })
    }
    fn expand(&self, patterns: &[(String, bool)]) -> Result<Vec<String>, Fault> {
        Ok(patterns.iter().filter(|(_, optional)| !optional).map(|(name, _)| name.clone()).collect())
    }
    fn pending(&self, paths: &[String]) -> Result<Vec<TreeChange>, Fault> {
        let state = self.state();
        let change =
            |path: &String| TreeChange { path: path.clone(), change: "modified".into(), lines: Some((1, 1)) };
        Ok(paths.iter().filter(|path| state.uncommitted.contains(*path)).map(change).collect())
    }
    fn commits_between(&self, from: &str, to: &str) -> Result<Vec<CommitFact>, Fault> {
        let state = self.state();
        let at = |sha: &str| state.commits.iter().position(|(known, _)| known == sha).unwrap_or(0);
        let (from, to) = (at(from), at(to));
        let between = state.commits.iter().skip(from + 1).take(to.saturating_sub(from)).rev();
        Ok(between.map(fact).collect())
    }
    fn changes_between(&self, _: &str, _: &str) -> Result<Vec<TreeChange>, Fault> {
        Ok(Vec::new())
    }
    fn commit(&self, revision: &str) -> Result<CommitFact, Fault> {
        let state = self.state();
        let known = state.commits.iter().rev().find(|(sha, _)| sha.starts_with(revision));
        let missing = || Fault::new(super::error::FaultKind::Missing, "reading a commit", revision);
        known.or(state.commits.last()).map(fact).ok_or_else(missing)
    }
    fn parents(&self, revision: &str) -> Result<Vec<String>, Fault> {
        let state = self.state();
        let at = state.commits.iter().position(|(sha, _)| sha == revision).unwrap_or(0);
        Ok(at.checked_sub(1).map(|parent| state.commits[parent].0.clone()).into_iter().collect())
    }
    fn half_reverted(&self, _: &str) -> Result<bool, Fault> {
        Ok(false)
    }
    fn committer(&self) -> Result<Committer, Fault> {
        Ok(Committer { name: "Op <op@example.com>".into(), would_sign: false, hooks: Vec::new() })
    }
    fn push_check(&self, commit: &str, _: &str) -> Result<bool, Fault> {
        Ok(self.state().remote == commit)
    }
    fn file(&self, _: &str) -> Result<Option<String>, Fault> {
        Ok(None)
    }
    fn file_in(&self, _: &str, _: &str) -> Result<Option<String>, Fault> {
        Ok(None)
    }
    fn names_in(&self, _: &str, _: &str) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
    fn working_file(&self, path: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.state().files.get(path).cloned())
    }
    fn remote_url(&self) -> String {
        "http://127.0.0.1:1/wiki.git".into()
    }
}

fn fact((sha, subject): &(String, String)) -> CommitFact {
    CommitFact { sha: sha.clone(), subject: subject.clone(), author: "op".into() }
}
