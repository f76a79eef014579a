//! Looks at the app's files as a whole: what the Procfile starts, and what that reads.

use super::apache::{Reader, Walk};
use super::command::{Fpm, Server, Word, started_at};
use super::files::{Files, Text, inside, is_built, is_template};
use super::finding::Finding;
use super::procfile::{self, Process};
use super::settings::{self, Wiki};
use crate::source::{Source, Span};

/// Names under which an app's Apache configuration usually goes.
const APACHE_FILES: [&str; 4] = ["apache_app.conf", "apache.conf", "httpd.conf", "apache2.conf"];
/// What Heroku starts when the Procfile has no `web`.
const DEFAULT_WEB: &str = "heroku-php-apache2";

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub struct Looked {
    /// Findings, those of one file together.
    pub findings: Vec<Finding>,
    /// Process types and their commands, `web` always among them where there is a Procfile.
    pub commands: Vec<(String, String)>,
    /// What `LocalSettings.php` says.
    pub wiki: Option<Wiki>,
}

/// Looks.
pub fn look(files: &dyn Files) -> Looked {
    let mut looked = Looked::default();
    if let Text::There(text) = files.text("Procfile") {
        let source = Source::new("Procfile", text);
        let processes = procfile::read(&source);
        procfile_itself(&source, &processes, &mut looked);
        for process in &processes {
            started_by(files, &source, process, &mut looked);
            looked.commands.push((process.kind.value.clone(), process.command.value.clone()));
        }
        if !processes.iter().any(|process| process.kind.value == "web") {
            looked.commands.push(("web".to_owned(), DEFAULT_WEB.to_owned()));
        }
        unread(files, &source, &processes, &mut looked);
    }
    if let Text::There(text) = files.text("LocalSettings.php") {
        let (wiki, findings) = settings::read(&Source::new("LocalSettings.php", text));
        looked.wiki = Some(wiki);
        looked.findings.extend(findings);
    }
    looked
}

/// What the settings of the wiki say, when they are there.
pub fn wiki_of(files: &dyn Files) -> Option<Wiki> {
    match files.text("LocalSettings.php") {
        Text::There(text) => Some(settings::read(&Source::new("LocalSettings.php", text)).0),
        Text::Absent | Text::Unknown => None,
    }
}

fn procfile_itself(source: &Source, processes: &[Process], looked: &mut Looked) {
    if let Some(at) = source.text.find('\r') {
        let finding = Finding::warning(
            "crlf",
            source,
            Span::new(at, at + 1),
            "lines end with CR LF, as Windows has it: a command may be started with the CR as part of it",
        );
        looked.findings.push(finding.help("save the file with LF (`* text eol=lf` in .gitattributes)"));
    }
    if !processes.iter().any(|process| process.kind.value == "web") {
        let end = source.text.find('\n').unwrap_or(source.text.len());
        let finding = Finding::warning(
            "no-web",
            source,
            Span::new(0, end),
            format!(
                "no process type `web`: Heroku starts a plain `{DEFAULT_WEB}`, which reads no configuration of the app's"
            ),
        );
        looked.findings.push(finding.help("add a line such as `web: heroku-php-apache2`"));
    }
    for (index, process) in processes.iter().enumerate() {
        if processes[..index].iter().any(|earlier| earlier.kind == process.kind) {
            let message =
                format!("process type `{}` is there twice: one of the two is ignored", process.kind.value);
            let finding = Finding::warning("twice", source, process.kind.span, message);
            looked.findings.push(finding.help("delete the one that is not meant"));
        }
    }
}

/// What one process type starts, and the files that this reads.
fn started_by(files: &dyn Files, source: &Source, process: &Process, looked: &mut Looked) {
    let place = |span: Span| format!("{}:{}", source.name, source.place(span.start).0);
    match started_at(&process.command) {
        Some((_, Server::Fpm(fpm))) => fpm_files(files, source, &fpm, looked),
        Some((_, Server::Apache { config: Some(word) })) if !word.open => {
            // Its path may be one of the dyno's, not of the app's.
            let path = word.text.strip_prefix("/app/").unwrap_or(&word.text);
            if let Some(path) = inside(path).filter(|_| !path.starts_with('/'))
                && let Text::There(text) = files.text(&path)
            {
                let mut walk = Walk::new(files, Reader::Own, place(word.span));
                walk.file(&Source::new(path, text));
                looked.findings.extend(walk.read.findings);
            }
        }
        _ => {}
    }
}

fn fpm_files(files: &dyn Files, source: &Source, fpm: &Fpm, looked: &mut Looked) {
    let starter = if fpm.apache { "heroku-php-apache2" } else { "heroku-php-nginx" };
    if let Some((span, why)) = &fpm.refused {
        let message = format!("`{starter}` does not start so: {why}; every dyno crashes");
        let finding = Finding::fatal("command", source, *span, message);
        looked.findings.push(finding.help(format!("`{starter} [-C FILE] [DOCUMENT_ROOT]`: options first")));
    }
    for (letter, word) in &fpm.options {
        if *letter == 'p' || *letter == 'l' || word.open {
            continue;
        }
        let Some((path, text)) = there(files, source, *letter, word, looked) else { continue };
        if !fpm.apache || is_template(&path) {
            continue; // nginx's is another language, and a template is not what it becomes
        }
        let reader = match letter {
            'C' => Reader::Vhost,
            'c' => Reader::Whole,
            _ => continue,
        };
        let place = format!("{}:{}", source.name, source.place(word.span.start).0);
        let mut walk = Walk::new(files, reader, place);
        let conf = Source::new(path, text);
        walk.file(&conf);
        let (lacks, partly) = (lacks(&walk), walk.read.partly);
        looked.findings.extend(walk.read.findings);
        if *letter == 'c' && !lacks.is_empty() && !partly {
            let message = format!(
                "`-c {}` takes the place of Heroku's whole vhost, and it has no {}",
                conf.name,
                lacks.join(", no ")
            );
            let finding = Finding::warning("incomplete-vhost", source, word.span, message);
            looked.findings.push(
                finding
                    .help("start from the buildpack's conf/apache2/heroku.conf, or use `-C` for what belongs inside the vhost"),
            );
        }
    }
    root(files, source, starter, fpm, looked);
}

/// What a file in the vhost's place must have and does not.
fn lacks(walk: &Walk<'_>) -> Vec<&'static str> {
    let read = &walk.read;
    [
        (read.listens, "`Listen ${PORT}`"),
        (read.vhost, "`<VirtualHost>`"),
        (read.hands_on, "handler that passes .php files to PHP-FPM"),
    ]
    .into_iter()
    .filter_map(|(has, what)| (!has).then_some(what))
    .collect()
}

/// The text of a file that the command names; one that is missing is found.
fn there(
    files: &dyn Files,
    source: &Source,
    letter: char,
    word: &Word,
    looked: &mut Looked,
) -> Option<(String, String)> {
    let path = inside(&word.text);
    match path.as_ref().map(|path| files.text(path)) {
        Some(Text::There(text)) => return Some((path?, text)),
        Some(Text::Unknown) => return None,
        Some(Text::Absent) | None => {}
    }
    let built = path.map_or(Some(false), |path| is_built(files, &path));
    if built == Some(true) {
        return None;
    }
    let message = format!(
        "`{}`, which `-{letter}` names, is not among the app's files: every dyno crashes at its start",
        word.text
    );
    let finding = if built.is_some() {
        Finding::fatal("missing-file", source, word.span, message)
    } else {
        Finding::warning("missing-file", source, word.span, format!("{message}, unless the build makes it"))
    }
    .label("not there");
    looked.findings.push(finding.help("commit the file with the Procfile, or take the option out"));
    None
}

fn root(files: &dyn Files, source: &Source, starter: &str, fpm: &Fpm, looked: &mut Looked) {
    let Some(word) = fpm.root.as_ref().filter(|word| !word.open && fpm.refused.is_none()) else { return };
    let empty = match inside(&word.text) {
        Some(path) if path.is_empty() => return,
        Some(path) => files.children(&path),
        None => Some(Vec::new()),
    };
    if empty.is_none_or(|children| !children.is_empty()) {
        return;
    }
    let message = format!(
        "the document root `{}` is no folder of the app: `{starter}` ends at once and every dyno crashes",
        word.text
    );
    // A build may make it.
    let finding =
        Finding::warning("document-root", source, word.span, format!("{message}, unless the build makes it"));
    looked.findings.push(finding.help("name a folder that is committed, or none for the app's top"));
}

/// A configuration that nobody reads: changing it changes nothing.
fn unread(files: &dyn Files, source: &Source, processes: &[Process], looked: &mut Looked) {
    let Some(web) = processes.iter().find(|process| process.kind.value == "web") else { return };
    let Some((_, Server::Fpm(fpm))) = started_at(&web.command) else { return };
    if !fpm.apache || fpm.option('C').or_else(|| fpm.option('c')).is_some() || fpm.refused.is_some() {
        return;
    }
    for name in APACHE_FILES {
        if matches!(files.text(name), Text::There(_)) {
            let message = format!("nothing reads `{name}`: `web` names no configuration with `-C` or `-c`");
            let finding = Finding::warning("unread", source, web.command.span, message);
            looked.findings.push(
                finding
                    .help(format!("`-C {name}` before the document root includes it inside Apache's vhost")),
            );
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::tests::Tree;
    use super::*;

    fn told(files: &[(&'static str, &'static str)]) -> Vec<String> {
        let looked = look(&Tree(files.iter().copied().collect()));
        let level = |finding: &Finding| if finding.is_fatal() { "E" } else { "W" };
        let row = |finding: &Finding| finding.source.place(finding.fault.span.start).0;
        looked
            .findings
            .iter()
            .map(|f| format!("{} {} {}:{}", level(f), f.code, f.source.name, row(f)))
            .collect()
    }

    #[test]
    fn the_guides_trap_is_found_at_its_line() {
        let conf = ("apache_app.conf", "# workers\nMaxRequestWorkers 5\nMaxConnectionsPerChild 50\n");
        let found = told(&[("Procfile", "web: heroku-php-apache2 -C apache_app.conf\n"), conf]);
        assert_eq!(found, ["E vhost-directive apache_app.conf:2", "E vhost-directive apache_app.conf:3"]);
        // `-c` may hold them, and PHP does not care.
        let found = told(&[("Procfile", "web: heroku-php-apache2 -c apache_app.conf\n"), conf]);
        assert_eq!(found, ["W fpm-ignores apache_app.conf:2", "W incomplete-vhost Procfile:1"]);
        // A worker's command counts as well, a template is not what it becomes, nginx reads another language.
        let found = told(&[("Procfile", "web: x\nworker: heroku-php-apache2 -C apache_app.conf\n"), conf]);
        assert_eq!(found.len(), 2);
        assert!(told(&[("Procfile", "web: heroku-php-nginx -C apache_app.conf\n"), conf]).is_empty());
        let template = ("a.conf.php", "MaxRequestWorkers 5");
        assert!(told(&[("Procfile", "web: heroku-php-apache2 -C a.conf.php\n"), template]).is_empty());
    }

    #[test]
    fn what_is_missing_or_unread_is_found() {
        assert_eq!(
            told(&[("Procfile", "web: heroku-php-apache2 -C none.conf\n")]),
            ["E missing-file Procfile:1"]
        );
        assert_eq!(
            told(&[("Procfile", "web: heroku-php-apache2 -C ../out\n")]),
            ["E missing-file Procfile:1"]
        );
        assert!(told(&[("Procfile", "web: heroku-php-apache2 -C $CONF\n")]).is_empty());
        assert!(told(&[("Procfile", "web: heroku-php-apache2 -C vendor/x/a.conf\n")]).is_empty());
        let made = [
            ("Procfile", "web: heroku-php-nginx -C a.conf\n"),
            ("composer.json", r#"{"scripts":{"compile":"x"}}"#),
        ];
        assert_eq!(told(&made), ["W missing-file Procfile:1"]);
        assert_eq!(told(&[("Procfile", "web: heroku-php-apache2 w/\n")]), ["W document-root Procfile:1"]);
        assert!(told(&[("Procfile", "web: heroku-php-apache2 w/\n"), ("w/index.php", "")]).is_empty());
        assert!(told(&[("Procfile", "web: heroku-php-apache2 ./\n")]).is_empty());
        let unread = [("Procfile", "web: heroku-php-apache2\n"), ("apache_app.conf", "KeepAlive On\n")];
        assert_eq!(told(&unread), ["W unread Procfile:1"]);
        let late = [("Procfile", "web: heroku-php-apache2 ./ -C a.conf\n"), ("a.conf", "")];
        assert_eq!(told(&late), ["E command Procfile:1"]);
    }

    #[test]
    fn the_procfile_itself() {
        assert_eq!(told(&[("Procfile", "worker: php x.php\n")]), ["W no-web Procfile:1"]);
        assert_eq!(told(&[("Procfile", "# x\nweb: bin/x\r\n")]), ["W crlf Procfile:2"]);
        assert_eq!(told(&[("Procfile", "web: a\nweb: b\n")]), ["W twice Procfile:2"]);
        assert_eq!(told(&[]), [""; 0]);
        let looked = look(&Tree([("Procfile", "worker: php x.php\n")].into()));
        assert_eq!(looked.commands[1], ("web".to_owned(), DEFAULT_WEB.to_owned()));
    }

    #[test]
    fn the_wikis_settings_are_told_too() {
        let found = told(&[("LocalSettings.php", "<?php\n$wgJobRunRate = 1;\n")]);
        assert_eq!(found, ["W jobs-on-requests LocalSettings.php:2"]);
    }
}
