//! What the simulated platform knows: releases, slugs, dynos, formation, add-ons. Plain data under one lock.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::super::door;
use super::Options;

/// A release.
#[derive(Debug, Clone)]
pub struct Release {
    pub id: String,
    pub version: u64,
    pub slug: Option<String>,
    pub status: &'static str,
    pub description: String,
    pub at: String,
    pub config: BTreeMap<String, String>,
}

/// A compiled commit.
#[derive(Debug, Clone)]
pub struct Slug {
    pub id: String,
    pub commit: String,
    pub subject: String,
    pub dir: PathBuf,
    pub types: BTreeMap<String, String>,
    pub at: String,
}

/// A build.
#[derive(Debug, Clone)]
pub struct Build {
    pub id: String,
    pub slug: Option<String>,
    pub release: Option<String>,
    pub status: &'static str,
    pub commit: String,
    pub at: String,
}

/// How a dyno's supervisor is told to end it.
#[derive(Debug, Default)]
pub struct Control {
    /// From then on it is to be ended.
    pub retire: Mutex<Option<Instant>>,
    /// The exit code of a one-off, which the API never tells (facts §2).
    pub exit: OnceLock<i32>,
    /// Who attached to it (facts §2, Rendezvous).
    pub client: Mutex<Option<Client>>,
}

/// The other end of an attached one-off.
#[derive(Debug)]
pub struct Client {
    pub stream: TcpStream,
    /// The connection is cut before the exit code, as it was ordered.
    pub cut: bool,
}

/// A dyno.
#[derive(Debug, Clone)]
pub struct Dyno {
    pub id: String,
    pub name: String,
    pub kind: String,
    pub size: String,
    pub command: String,
    pub environment: BTreeMap<String, String>,
    pub version: u64,
    pub release: String,
    pub state: &'static str,
    pub created: String,
    pub updated: String,
    pub port: u16,
    /// It waits for a client before its command begins, `attach: true`.
    pub attach: bool,
    pub control: Arc<Control>,
}

impl Dyno {
    /// Runs once, and no manager keeps it up: `heroku run`, a release phase.
    pub fn one_off(&self) -> bool {
        self.kind == "run" || self.kind == "release"
    }

    /// Its place among those of its type, from 1.
    pub fn index(&self) -> u32 {
        self.name.rsplit('.').next().and_then(|index| index.parse().ok()).unwrap_or(0)
    }
}

/// One process type.
#[derive(Debug, Clone)]
pub struct Formation {
    pub id: String,
    pub quantity: u32,
    pub size: String,
}

/// An add-on.
#[derive(Debug, Clone)]
pub struct Addon {
    pub id: String,
    pub name: String,
    pub service: String,
    pub plan: String,
    pub config: Vec<String>,
    pub state: &'static str,
    pub at: String,
    pub updated: String,
}

/// Everything.
pub struct State {
    pub app: String,
    pub app_id: String,
    pub created: String,
    pub maintenance: bool,
    pub config: BTreeMap<String, String>,
    pub releases: Vec<Release>,
    pub current: Option<u64>,
    pub slugs: Vec<Slug>,
    pub builds: Vec<Build>,
    pub formation: BTreeMap<String, Formation>,
    pub dynos: BTreeMap<String, Dyno>,
    /// Dynos that the list still shows though they are being replaced, until then.
    pub stale: Vec<(Instant, Dyno)>,
    /// Old dynos that still serve behind preboot, until then.
    pub serving: Vec<(Instant, Dyno)>,
    pub features: BTreeMap<String, bool>,
    pub addons: Vec<Addon>,
    /// Calls left in the account's bucket, and when it was filled last.
    pub calls_left: (f64, Instant),
    /// Dynos that were replaced, for the lab's own figures.
    pub retired: u64,
}

impl State {
    pub fn new(options: &Options) -> Self {
        let formation = options
            .formation
            .iter()
            .map(|(kind, quantity, size)| {
                (kind.clone(), Formation { id: door::uuid(), quantity: *quantity, size: size.clone() })
            })
            .collect();
        let mut state = Self {
            app: options.app.clone(),
            app_id: door::uuid(),
            created: door::stamp(),
            maintenance: false,
            config: options.config.clone(),
            releases: Vec::new(),
            current: None,
            slugs: Vec::new(),
            builds: Vec::new(),
            formation,
            dynos: BTreeMap::new(),
            stale: Vec::new(),
            serving: Vec::new(),
            features: BTreeMap::from([
                ("preboot".to_owned(), false),
                ("log-runtime-metrics".to_owned(), false),
            ]),
            addons: vec![Addon {
                id: door::uuid(),
                name: "jawsdb-maria-deep-12345".to_owned(),
                service: "jawsdb-maria".to_owned(),
                plan: "jawsdb-maria:leopard".to_owned(),
                config: vec!["JAWSDB_MARIA_URL".to_owned()],
                state: "provisioned",
                at: door::stamp(),
                updated: door::stamp(),
            }],
            calls_left: (4500.0, door::now()),
            retired: 0,
        };
        for description in
            ["Initial release", "Enable Logplex", "Attach JAWSDB_MARIA (@ref:jawsdb-maria-deep-12345)"]
        {
            state.add_release(None, "succeeded", description.to_owned());
        }
        state
    }

    /// Adds a release with the config of now; one that succeeded is current.
    pub fn add_release(
        &mut self,
        slug: Option<String>,
        status: &'static str,
        description: String,
    ) -> Release {
        let release = Release {
            id: door::uuid(),
            version: self.releases.len() as u64 + 1,
            slug,
            status,
            description,
            at: door::stamp(),
            config: self.config.clone(),
        };
        if status == "succeeded" {
            self.current = Some(release.version);
        }
        self.releases.push(release.clone());
        release
    }

    pub fn current_release(&self) -> Option<&Release> {
        let current = self.current?;
        self.releases.iter().find(|release| release.version == current)
    }

    pub fn find_release(&self, name: &str) -> Option<&Release> {
        self.releases
            .iter()
            .find(|release| release.id == name || release.version.to_string() == name.trim_start_matches('v'))
    }

    pub fn find_slug(&self, id: &str) -> Option<&Slug> {
        self.slugs.iter().find(|slug| slug.id == id)
    }

    /// Process types of the current release's Procfile that make up the formation.
    pub fn types(&self) -> BTreeMap<String, String> {
        let slug = self.current_release().and_then(|release| self.find_slug(release.slug.as_deref()?));
        let mut types = slug.map(|slug| slug.types.clone()).unwrap_or_default();
        types.remove("release");
        types
    }

    pub fn all_up(&self) -> bool {
        let wanted: u32 = self.formation.values().map(|formation| formation.quantity).sum();
        let up = self.dynos.values().filter(|dyno| !dyno.one_off() && dyno.state == "up").count();
        wanted as usize == up
    }

    /// The list as the API shows it now: a replaced dyno may still stand there as `up` for a moment (facts §5).
    pub fn listed_dynos(&mut self) -> Vec<Dyno> {
        let now = door::now();
        self.stale.retain(|(until, _)| *until > now);
        let mut listed = self.dynos.clone();
        for (_, old) in &self.stale {
            listed.insert(old.name.clone(), old.clone());
        }
        listed.into_values().collect()
    }

    fn app_ref(&self) -> Json {
        json!({ "id": self.app_id, "name": self.app })
    }

    pub fn dyno_json(&self, dyno: &Dyno) -> Json {
        json!({
            "attach_url": null, "command": dyno.command, "created_at": dyno.created, "id": dyno.id, "name": dyno.name,
            "release": { "id": dyno.release, "version": dyno.version }, "app": self.app_ref(), "size": dyno.size,
            "state": dyno.state, "type": dyno.kind, "updated_at": dyno.updated,
        })
    }

    pub fn formation_json(&self, kind: &str, formation: &Formation) -> Json {
        let command = self.types().remove(kind).unwrap_or_default();
        json!({
            "app": self.app_ref(), "command": command, "created_at": self.created, "id": formation.id,
            "dyno_size": { "id": "9d3a0a4e-0b1c-4a5d-8d36-3c1a5f5f0b6a", "name": formation.size },
            "quantity": formation.quantity, "size": formation.size, "type": kind, "updated_at": self.created,
        })
    }

    pub fn release_json(&self, release: &Release) -> Json {
        let plans: Vec<&str> = self.addons.iter().map(|addon| addon.plan.as_str()).collect();
        json!({
            "addon_plan_names": plans, "artifacts": [], "app": self.app_ref(), "created_at": release.at,
            "current": self.current == Some(release.version), "description": release.description,
            "eligible_for_rollback": release.status == "succeeded" && release.slug.is_some(), "id": release.id,
            "output_stream_url": null, "slug": release.slug.as_ref().map(|id| json!({ "id": id })),
            "status": release.status, "updated_at": release.at,
            "user": { "email": "operator@wizzypedia.invalid", "id": "0d2b7c70-6a0f-4a1e-8f0a-5d9e2f9f1c11" },
            "version": release.version,
        })
    }

    pub fn slug_json(slug: &Slug) -> Json {
        json!({
            "blob": { "method": "get", "url": format!("https://slugs.invalid/{}", slug.id) },
            "buildpack_provided_description": "PHP", "checksum": "SHA256:0", "commit": slug.commit,
            "commit_description": slug.subject, "created_at": slug.at, "id": slug.id, "process_types": slug.types,
            "size": 22_649_000, "stack": { "id": "69ac7e1b-8f2c-4a7a-9a3b-d1f4d6c1a7b2", "name": "heroku-24" },
            "updated_at": slug.at,
        })
    }

    pub fn build_json(&self, build: &Build) -> Json {
        json!({
            "app": { "id": self.app_id }, "buildpacks": [{ "name": "heroku/php", "url": "urn:buildpack:heroku/php" }],
            "created_at": build.at, "id": build.id, "output_stream_url": "https://build-output.invalid/",
            "release": build.release.as_ref().map(|id| json!({ "id": id })),
            "slug": build.slug.as_ref().map(|id| json!({ "id": id })),
            "source_blob": { "checksum": null, "url": "https://sources.invalid/", "version": build.commit,
                "version_description": null },
            "stack": "heroku-24", "status": build.status, "updated_at": build.at,
            "user": { "email": "operator@wizzypedia.invalid", "id": "0d2b7c70-6a0f-4a1e-8f0a-5d9e2f9f1c11" },
        })
    }

    pub fn addon_json(&self, addon: &Addon) -> Json {
        json!({
            "actions": [], "addon_service": { "id": addon.service, "name": addon.service }, "app": self.app_ref(),
            "billed_price": super::plans::find(&addon.plan).map(super::plans::Plan::billed), "config_vars": addon.config, "created_at": addon.at, "id": addon.id,
            "name": addon.name, "plan": { "id": addon.plan, "name": addon.plan }, "provider_id": "abcd1234",
            "state": addon.state, "updated_at": addon.updated, "web_url": "https://addons-sso.invalid/",
        })
    }

    pub fn attachment_json(&self, addon: &Addon) -> Json {
        let name = addon.config.first().map_or_else(
            || addon.service.to_uppercase(),
            |variable| variable.trim_end_matches("_URL").to_owned(),
        );
        json!({
            "addon": { "id": addon.id, "name": addon.name, "app": self.app_ref() }, "app": self.app_ref(),
            "created_at": addon.at, "id": addon.id, "name": name, "namespace": null, "updated_at": addon.at,
            "web_url": "https://addons-sso.invalid/", "log_input_url": null,
        })
    }

    pub fn app_json(&self, git: &str, web: &str) -> Json {
        let tier = self.formation.values().next().map_or("production", |formation| {
            match formation.size.to_ascii_lowercase().as_str() {
                "eco" => "eco",
                "basic" => "basic",
                _ => "production",
            }
        });
        json!({
            "acm": false, "archived_at": null, "buildpack_provided_description": "PHP",
            "build_stack": { "id": "69ac7e1b", "name": "heroku-24" }, "created_at": self.created, "git_url": git,
            "generation": { "id": "8d3a", "name": "cedar" }, "id": self.app_id, "internal_routing": null,
            "maintenance": self.maintenance, "name": self.app, "organization": null, "process_tier": tier,
            "owner": { "email": "operator@wizzypedia.invalid", "id": "0d2b7c70-6a0f-4a1e-8f0a-5d9e2f9f1c11" },
            "region": { "id": "59accabd", "name": "us" },
            "released_at": self.current_release().map(|release| release.at.clone()), "repo_size": 12_345,
            "slug_size": 22_649_000, "space": null, "stack": { "id": "69ac7e1b", "name": "heroku-24" }, "team": null,
            "updated_at": self.created, "web_url": web,
        })
    }
}
