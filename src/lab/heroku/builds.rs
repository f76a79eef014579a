//! Builds: a commit becomes a slug and a release. Serialized per app (facts §5); a compile error refuses the push.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::{door, repository};
use super::state::{Build, Slug};
use super::{World, releases};

/// What a build of this wiki takes on the platform.
const COMPILE: Duration = Duration::from_secs(20);

/// Process types of a Procfile.
fn process_types(root: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root.join("Procfile")).unwrap_or_default();
    let types: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| {
            let (name, command) = line.split_once(':')?;
            let name = name.trim();
            let fine =
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
            (fine && !line.starts_with('#')).then(|| (name.to_owned(), command.trim().to_owned()))
        })
        .collect();
    if types.is_empty() {
        return BTreeMap::from([("web".to_owned(), "heroku-php-apache2".to_owned())]);
    }
    types
}

/// What Composer installs: the buildpack's program under the name that most Procfiles use.
fn install(root: &Path, programs: &Path) -> io::Result<()> {
    let bin = root.join("vendor").join("bin");
    std::fs::create_dir_all(&bin)?;
    let name = "heroku-php-apache2";
    std::fs::copy(programs.join(name), bin.join(name)).map(drop)
}

/// Why the buildpack would not take it.
fn compile(root: &Path) -> Result<(), String> {
    let composer = root.join("composer.json");
    if !composer.is_file() && !root.join("index.php").is_file() {
        return Err("No default language could be detected for this app.".to_owned());
    }
    if let Ok(text) = std::fs::read_to_string(&composer)
        && serde_json::from_str::<serde_json::Value>(&text).is_err()
    {
        return Err("'composer.json' contains invalid JSON!".to_owned());
    }
    Ok(())
}

fn add_slug(world: &Arc<World>, id: String, commit: &str, dir: &Path) -> Slug {
    let slug = Slug {
        id,
        commit: commit.to_owned(),
        subject: String::new(),
        types: process_types(dir),
        dir: dir.to_owned(),
        at: door::stamp(),
    };
    world.state().slugs.push(slug.clone());
    slug
}

/// The deploys before the incident.
pub fn history(world: &Arc<World>, commits: &[String]) -> io::Result<()> {
    let bare = world.options.dir.join("git").join(format!("{}.git", world.options.app));
    for (index, commit) in commits.iter().enumerate() {
        let id = door::uuid();
        let dir = world.options.dir.join("slugs").join(&id);
        repository::unpack(&bare, commit, &dir)?;
        install(&dir, &world.options.path)?;
        let slug = add_slug(world, id, commit, &dir);
        let description = format!("Deploy {}", commit.chars().take(8).collect::<String>());
        if index + 1 == commits.len() {
            releases::make(world, Some(slug.id), description, releases::Phase::Skipped);
        } else {
            world.state().add_release(Some(slug.id), "succeeded", description);
        }
    }
    Ok(())
}

/// Builds what the hook has unpacked; lines go to the person who pushes. `false` refuses the push.
pub fn build(world: &Arc<World>, commit: &str, slug: &str, out: &mut dyn Write) -> io::Result<bool> {
    let mut say = |line: &str| -> io::Result<()> {
        writeln!(out, "{line}")?;
        out.flush()
    };
    let _serialized = world.building.lock();
    let app = world.options.app.clone();
    let dir = world.options.dir.join("slugs").join(slug);
    let id = door::uuid();
    world.state().builds.push(Build {
        id: id.clone(),
        slug: None,
        release: None,
        status: "pending",
        commit: commit.to_owned(),
        at: door::stamp(),
    });
    let finish = |status: &'static str, slug: Option<String>, release: Option<String>| {
        if let Some(build) = world.state().builds.iter_mut().find(|build| build.id == id) {
            (build.status, build.slug, build.release) = (status, slug, release);
        }
    };
    world.logs.add("app", "api", &format!("Build started by user {}", super::USER));
    say("-----> Building on the Heroku-24 stack")?;
    say("-----> Using buildpack: heroku/php")?;
    say("-----> PHP app detected")?;
    door::pause(world.scaled(COMPILE));
    if let Err(why) = compile(&dir) {
        finish("failed", None, None);
        say(&format!(" !     ERROR: {why}"))?;
        say(" !")?;
        say(" !     Push rejected, failed to compile PHP app.")?;
        say(" !")?;
        say(" !     Push failed")?;
        return Ok(false);
    }
    install(&dir, &world.options.path)?;
    let slug = add_slug(world, slug.to_owned(), commit, &dir);
    let types: Vec<&str> = slug.types.keys().map(String::as_str).collect();
    say("-----> Preparing runtime environment...")?;
    say("-----> Discovering process types")?;
    say(&format!("       Procfile declares types -> {}", types.join(", ")))?;
    say("-----> Compressing...")?;
    say("       Done: 21.6M")?;
    say("-----> Launching...")?;
    let phase = slug.types.contains_key("release");
    let short: String = commit.chars().take(8).collect();
    if phase {
        say(
            " !     Release command declared: this new release will not be available until the command succeeds.",
        )?;
    }
    let release =
        releases::make(world, Some(slug.id.clone()), format!("Deploy {short}"), releases::Phase::Awaited);
    finish("succeeded", Some(slug.id), Some(release.id.clone()));
    say(&format!("       Released v{}", release.version))?;
    say(&format!("       https://{app}.example/ deployed to Heroku"))?;
    if phase {
        let verdict = if release.status == "succeeded" { "done." } else { "failed." };
        say(&format!("Waiting for release.... {verdict}"))?;
    }
    world.logs.add("app", "api", "Build succeeded");
    Ok(true)
}
