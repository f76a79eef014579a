//! The change itself, made in the working tree, and the guide's second option.

use std::os::unix::fs::PermissionsExt;

use crate::support::shared::Shared;
use crate::support::{Lab, git};

const BEFORE: &str = "# Read at server level.\nMaxRequestWorkers 8\nMaxConnectionsPerChild 100\n";

fn file(lab: &Lab, name: &str) -> String {
    std::fs::read_to_string(lab.wiki.join(name)).expect("readable")
}

/// The id of the newest run.
fn newest(lab: &Lab) -> String {
    let folder = lab.newest_journal().parent().expect("a folder").to_owned();
    folder.file_name().expect("a name").to_string_lossy().into_owned()
}

/// A working tree as it is live, with nothing of another test in it.
fn as_live(lab: &Lab) {
    git(&lab.wiki, &["reset", "--quiet", "--hard"]);
}

fn live_commit(lab: &Lab) -> String {
    let releases = lab.app("GET", "/releases", &serde_json::Value::Null).expect(200).json();
    let current = releases.as_array().expect("a list").iter().find(|release| release["current"] == true);
    let slug = current.expect("a current release")["slug"]["id"].as_str().expect("a slug").to_owned();
    let slug = lab.app("GET", &format!("/slugs/{slug}"), &serde_json::Value::Null).expect(200).json();
    slug["commit"].as_str().expect("a commit").to_owned()
}

/// Prepared by one command, shipped by the next: the leak is cured. Nothing is committed before, all of it can be taken
/// back, and doing it twice is doing it once.
#[test]
fn the_settings_and_deploy_fix_heals() {
    let lab = Lab::up(&["--scenario=leak", "--fix=unprepared"]);
    let (before, head) = (file(&lab, "LocalSettings.php"), git(&lab.wiki, &["rev-parse", "HEAD"]));
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(lab.wiki.join("LocalSettings.php"), mode).expect("a mode");

    let dry = lab.run(&["run", "prepare-fix", "--dry-run"]).expect(0).stdout;
    for line in [
        "-    'flags' => DBO_DEFAULT | DBO_PERSISTENT,",
        "+    'flags' => DBO_DEFAULT,",
        "+$wgJobRunRate = 0;",
        "+$wgMiserMode = true;",
        "+$wgMainCacheType = CACHE_ACCEL;",
        "closeAll( __METHOD__",
        "-MaxRequestWorkers 8",
        "+MaxRequestWorkers 5",
    ] {
        assert!(dry.contains(line), "{line} is in the diff:\n{dry}");
    }
    assert_eq!(file(&lab, "LocalSettings.php"), before, "a dry run writes nothing");

    lab.run(&["run", "prepare-fix", "--yes"]).expect(0);
    let prepared = file(&lab, "LocalSettings.php");
    assert!(
        !prepared.contains("DBO_PERSISTENT") && prepared.contains("\n$wgJobRunRate = 0;\n"),
        "{prepared}"
    );
    assert_eq!(git(&lab.wiki, &["rev-parse", "HEAD"]), head, "nothing is committed");
    let about = std::fs::metadata(lab.wiki.join("LocalSettings.php")).expect("a file");
    assert_eq!(about.permissions().mode() & 0o777, 0o640, "the mode stays");
    assert_eq!(git(&lab.wiki, &["status", "--porcelain"]), " M LocalSettings.php\n M apache_app.conf\n");

    lab.run(&["undo", &newest(&lab), "--yes"]).expect(0);
    assert_eq!(file(&lab, "LocalSettings.php"), before, "every byte");
    assert_eq!(git(&lab.wiki, &["diff", "--stat", "--", "apache_app.conf"]), "");

    lab.run(&["run", "prepare-fix", "--yes"]).expect(0);
    assert_eq!(file(&lab, "LocalSettings.php"), prepared);
    let again = lab.run(&["run", "prepare-fix", "--yes"]).expect(0).all();
    assert!(again.contains("nothing to do in LocalSettings.php: all is so already"), "{again}");
    assert_eq!(file(&lab, "LocalSettings.php"), prepared, "twice is once");

    lab.run(&["run", "deploy-fix", "--yes", "--set=soak=4s"]).expect(0);
    lab.healthy_below(0.40);
}

/// Workers, requests and spare servers; where the Procfile includes the file in the vhost, not one directive is added that
/// would crash every dyno.
#[test]
fn apache_and_what_would_crash_it() {
    let lab = Shared::take();
    as_live(&lab);
    lab.file("apache_app.conf", &BEFORE.replace('\n', "\r\n"));
    lab.run(&["run", "prepare-fix", "--yes", "--only=apache", "--set=workers=4"]).expect(0);
    let expected = "# Read at server level.\r\nMaxRequestWorkers 4\r\nMaxConnectionsPerChild 50\r\n";
    let now = file(&lab, "apache_app.conf");
    assert!(now.starts_with(expected) && now.contains("\r\nMaxSpareServers 2\r\n"), "{now}");
    assert!(!now.replace("\r\n", "").contains('\n'), "line ends stay: {now:?}");

    lab.file("Procfile", "web: heroku-php-apache2 -C apache_app.conf\n");
    lab.file("apache_app.conf", "DocumentRoot /app\n");
    let ran = lab.run(&["run", "prepare-fix", "--yes", "--only=apache"]).expect(0).all();
    assert!(ran.contains("left as it is, since the app would not start"), "{ran}");
    assert!(!file(&lab, "apache_app.conf").contains("MaxRequestWorkers"), "{ran}");
    as_live(&lab);
}

/// Uncommented and live by one command, and back by its undo: the release, the commit, and the lines once.
#[test]
fn disable_extensions_and_its_undo() {
    let lab = Shared::take();
    as_live(&lab);
    let (before, was) = (file(&lab, "LocalSettings.php"), live_commit(&lab));
    lab.file("LocalSettings.php", &format!("{before}$wgLogo = 'wizzy.png';\n"));
    let refused = lab.run(&["run", "disable-extensions", "--yes"]).expect(9);
    assert!(refused.stderr.contains("changes that are not committed"), "{}", refused.stderr);
    as_live(&lab);

    lab.run(&["run", "disable-extensions", "--yes"]).expect(0);
    let run = newest(&lab);
    let shown = git(&lab.wiki, &["show", "--format=", "--unified=0", "HEAD"]);
    for line in ["\n+$wgDisableSearchUpdate = true;\n", "\n+$wgEnableUploads = false;\n"] {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(shown.matches("\n+$").count(), 2, "and no other: {shown}");
    assert_eq!(live_commit(&lab), git(&lab.wiki, &["rev-parse", "HEAD"]).trim());

    lab.run(&["undo", &run, "--yes"]).expect(0);
    assert_eq!(live_commit(&lab), was, "what was live before");
    assert_eq!(file(&lab, "LocalSettings.php"), before, "every byte");
    assert_eq!(git(&lab.wiki, &["status", "--porcelain"]), "", "committed, and nothing is put back twice");
}
