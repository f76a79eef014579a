//! Apache's configuration: its directives and sections, followed into the files that it includes, and what Apache says
//! where they stand. Measured with Apache 2.4 and its event MPM, which is what Heroku's is built with.

use super::files::{Files, Text, fits, inside, is_built};
use super::finding::Finding;
use crate::source::{Source, Span, Spanned};

/// Directives of the server as a whole that size its pool of workers, or recycle them.
const WORKERS: [&str; 10] = [
    "MaxRequestWorkers",
    "MaxClients",
    "ServerLimit",
    "StartServers",
    "ThreadsPerChild",
    "ThreadLimit",
    "MinSpareThreads",
    "MaxSpareThreads",
    "MaxConnectionsPerChild",
    "MaxRequestsPerChild",
];
/// The same, of the prefork MPM only.
const PREFORK: [&str; 2] = ["MinSpareServers", "MaxSpareServers"];
/// Other directives that Apache takes for the server as a whole only.
const SERVER: [&str; 22] = [
    "AcceptFilter",
    "AsyncRequestWorkerFactor",
    "ChrootDir",
    "CoreDumpDirectory",
    "ExtendedStatus",
    "GracefulShutdownTimeout",
    "Group",
    "Listen",
    "ListenBacklog",
    "ListenCoresBucketsRatio",
    "MaxMemFree",
    "Mutex",
    "PidFile",
    "ReceiveBufferSize",
    "RegisterHttpMethod",
    "ScoreBoardFile",
    "SeeRequestTail",
    "SendBufferSize",
    "ServerRoot",
    "ServerTokens",
    "ThreadStackSize",
    "User",
];
/// Names of the module that Heroku's Apache handles requests with.
const EVENT: [&str; 2] = ["mpm_event_module", "event.c"];
/// Modules that it does not have.
const NOT_LOADED: [&str; 14] = [
    "mpm_prefork_module",
    "prefork.c",
    "mpm_worker_module",
    "worker.c",
    "mpm_itk_module",
    "itk.c",
    "mod_mpm_event.c",
    "mod_mpm_prefork.c",
    "mod_mpm_worker.c",
    "php_module",
    "php5_module",
    "php7_module",
    "php8_module",
    "mod_php.c",
];
/// How deep files that include files are followed.
const DEEPEST: u8 = 8;

/// A line of the configuration, continued lines joined.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    name: Spanned<String>,
    rest: String,
}

/// Reads the lines that say something. A comment takes the lines that continue it, as Apache reads them.
fn lines(text: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut whole: Option<(usize, String)> = None;
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let bare = line.trim_end_matches('\n').trim_end_matches('\r');
        let (_, joined) = whole.get_or_insert_with(|| (at, String::new()));
        if let Some(continued) = bare.strip_suffix('\\') {
            joined.push_str(continued);
            joined.push(' ');
            continue;
        }
        joined.push_str(bare);
        found.extend(whole.take().and_then(|(at, joined)| as_line(at, &joined)));
    }
    found.extend(whole.and_then(|(at, joined)| as_line(at, &joined)));
    found
}

fn as_line(at: usize, joined: &str) -> Option<Line> {
    let text = joined.trim_start();
    let at = at + joined.len() - text.len();
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    let end = text.find(|c: char| c.is_whitespace() || (c == '>' && text.starts_with('<')));
    let end = end.unwrap_or(text.len());
    let name = Spanned::new(text[..end].to_owned(), Span::new(at, at + end));
    let rest = text[end..].trim().trim_end_matches('>').trim().to_owned();
    Some(Line { name, rest })
}

/// The value of a directive, without its quotes.
fn value(rest: &str) -> &str {
    let rest = rest.trim();
    match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest[1..].split(quote).next().unwrap_or_default(),
        _ => rest.split_whitespace().next().unwrap_or_default(),
    }
}

/// What stands round a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Applies {
    Yes,
    /// Under a condition that is not known here.
    Perhaps,
    No,
}

#[derive(Debug, Clone)]
struct Section {
    name: String,
    span: Span,
    applies: Applies,
}

/// Who reads the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Heroku's Apache, with PHP-FPM behind it; the file stands inside the vhost (`-C`).
    Vhost,
    /// The same; the file stands in the vhost's place (`-c`).
    Whole,
    /// An Apache of the app's own, which may be any.
    Own,
}

/// What was found in a configuration.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that a configuration has or lacks")]
pub(super) struct Read {
    /// Findings.
    pub(super) findings: Vec<Finding>,
    /// It listens somewhere.
    pub(super) listens: bool,
    /// It has a vhost.
    pub(super) vhost: bool,
    /// It hands requests on to PHP-FPM.
    pub(super) hands_on: bool,
    /// The last `MaxRequestWorkers` that counts.
    pub(super) workers: Option<(u64, String)>,
    /// Something of it could not be read: what it lacks is not known.
    pub(super) partly: bool,
}

/// Follows a configuration. `included` says who includes it: `Procfile:1`.
pub(super) struct Walk<'f> {
    /// The app's files.
    pub(super) files: &'f dyn Files,
    /// Who reads it.
    pub(super) reader: Reader,
    /// Where the Procfile names it.
    pub(super) included: String,
    /// What is found.
    pub(super) read: Read,
    /// Files that are being read: none includes itself.
    open: Vec<String>,
}

impl<'f> Walk<'f> {
    pub(super) fn new(files: &'f dyn Files, reader: Reader, included: String) -> Self {
        Self { files, reader, included, read: Read::default(), open: Vec::new() }
    }

    /// Reads a file and what it includes.
    pub(super) fn file(&mut self, source: &Source) {
        let mut sections = Vec::new();
        self.within(source, &mut sections);
        self.own_workers(source);
    }

    fn within(&mut self, source: &Source, sections: &mut Vec<Section>) {
        self.open.push(source.name.to_string());
        let base = sections.len();
        for line in lines(&source.text) {
            if let Some(name) = line.name.strip_prefix("</") {
                // What is closed must be what was opened last.
                match sections.last() {
                    Some(last) if sections.len() > base && last.name.eq_ignore_ascii_case(name) => {
                        sections.pop();
                    }
                    _ => self.unmatched(source, line.name.span, &format!("`</{name}>` closes nothing here")),
                }
            } else if let Some(name) = line.name.strip_prefix('<') {
                self.open_section(source, sections, name, &line);
            } else {
                self.directive(source, sections, &line);
            }
        }
        for left in sections.split_off(base) {
            self.unmatched(source, left.span, &format!("`<{}>` is never closed", left.name));
        }
        self.open.pop();
    }

    fn unmatched(&mut self, source: &Source, span: Span, what: &str) {
        let finding = Finding::fatal("unbalanced-section", source, span, format!("{what}: {CRASH}"));
        self.read.findings.push(finding.help("close each section in the file that opens it"));
    }

    fn open_section(&mut self, source: &Source, sections: &mut Vec<Section>, name: &str, line: &Line) {
        let applies = match name.to_ascii_lowercase().as_str() {
            "ifmodule" => self.module(&line.rest),
            "ifdefine" | "ifversion" | "ifdirective" | "iffile" | "ifsection" | "else" | "elseif" => {
                Applies::Perhaps
            }
            _ => Applies::Yes,
        };
        if name.eq_ignore_ascii_case("VirtualHost") {
            self.read.vhost = true;
            if applying(sections) == Applies::Yes && self.in_vhost(sections) {
                let finding = Finding::fatal(
                    "vhost-directive",
                    source,
                    line.name.span,
                    format!("`<VirtualHost>` stands inside Apache's own vhost{}: {CRASH}", self.via()),
                );
                self.read.findings.push(
                    finding
                        .label("cannot occur within <VirtualHost> section")
                        .help("take the section away and leave what is in it, or give the file with `-c`"),
                );
            }
        }
        sections.push(Section { name: name.to_owned(), span: line.name.span, applies });
    }

    /// Whether `<IfModule …>` applies.
    fn module(&self, condition: &str) -> Applies {
        let condition = value(condition);
        let (not, module) = condition.strip_prefix('!').map_or((false, condition), |module| (true, module));
        let is = |known: &&str| known.eq_ignore_ascii_case(module);
        let loaded = match (self.reader, EVENT.iter().any(is)) {
            (Reader::Own, _) => return Applies::Perhaps,
            (_, true) => true,
            (_, false) if NOT_LOADED.iter().any(is) => false,
            _ => return Applies::Perhaps,
        };
        if loaded == not { Applies::No } else { Applies::Yes }
    }

    fn in_vhost(&self, sections: &[Section]) -> bool {
        self.reader == Reader::Vhost
            || sections.iter().any(|section| section.name.eq_ignore_ascii_case("VirtualHost"))
    }

    /// How the file comes to stand inside the vhost.
    fn via(&self) -> String {
        if self.reader == Reader::Vhost {
            format!(" ({} includes the file with `-C`)", self.included)
        } else {
            String::new()
        }
    }

    fn directive(&mut self, source: &Source, sections: &[Section], line: &Line) {
        let applies = applying(sections);
        let name = line.name.value.as_str();
        let is = |known: &&str| known.eq_ignore_ascii_case(name);
        match name.to_ascii_lowercase().as_str() {
            "listen" => self.read.listens = true,
            "sethandler" | "proxypass" | "proxypassmatch" | "rewriterule"
                if line.rest.contains("fcgi") || line.rest.contains("php-fpm") =>
            {
                self.read.hands_on = true;
            }
            "include" | "includeoptional" => return self.include(source, sections, line),
            _ => {}
        }
        let worker = WORKERS.iter().chain(&PREFORK).find(|known| is(known)).copied();
        let Some(known) = worker.or_else(|| SERVER.iter().find(|known| is(known)).copied()) else { return };
        if applies == Applies::No {
            if worker.is_some() {
                self.no_effect(source, line, known);
            }
            return;
        }
        let directory = sections.iter().rev().find(|section| {
            ["Directory", "DirectoryMatch", "Files", "FilesMatch", "Location", "LocationMatch", "If"]
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&section.name))
        });
        let (label, inside) = match directory {
            Some(section) => {
                (format!("not allowed in <{}> context", section.name), format!("`<{}>`", section.name))
            }
            None if self.in_vhost(sections) => (
                "cannot occur within <VirtualHost> section".to_owned(),
                format!("Apache's vhost{}", self.via()),
            ),
            None => return self.at_server_level(source, line, known, worker.is_some(), applies),
        };
        let message = format!("`{known}`, a server-level directive, stands inside {inside}: {CRASH}");
        let finding = if applies == Applies::Yes {
            Finding::fatal("vhost-directive", source, line.name.span, message)
        } else {
            let message = format!("{message}, if the condition round it holds");
            Finding::warning("vhost-directive", source, line.name.span, message)
        };
        let finding = finding.label(label);
        self.read.findings.push(match (worker.is_some(), self.reader) {
            (true, Reader::Vhost | Reader::Whole) => finding
                .help(format!("take the line out: {FPM}"))
                .help("to have it all the same, make the file a whole vhost and give it with `-c`"),
            _ if self.reader == Reader::Vhost => {
                finding.help("take the line out, or make the file a whole vhost and give it with `-c`")
            }
            _ => finding.help("put the line outside of the section"),
        });
    }

    /// Under a condition that is false on Heroku: nothing breaks, and nothing is limited either.
    fn no_effect(&mut self, source: &Source, line: &Line, known: &str) {
        if self.read.findings.iter().any(|known| known.code == "never-applied") {
            return;
        }
        let message = format!("`{known}` never applies: Heroku's Apache is built with the event MPM");
        let finding = Finding::warning("never-applied", source, line.name.span, message);
        self.read.findings.push(finding.help(FPM));
    }

    /// Where Apache takes it: what it does there.
    fn at_server_level(&mut self, source: &Source, line: &Line, known: &str, worker: bool, applies: Applies) {
        if ["MaxRequestWorkers", "MaxClients"].contains(&known)
            && let Ok(number) = value(&line.rest).parse::<u64>()
        {
            let (row, _) = source.place(line.name.span.start);
            self.read.workers = Some((number, format!("{known} in {}:{row}", source.name)));
        }
        if self.reader != Reader::Whole || !worker {
            return;
        }
        if PREFORK.contains(&known) {
            let message = format!(
                "`{known}` belongs to Apache's prefork MPM, and Heroku's is built with event, which does not know it: Apache may refuse to start"
            );
            let finding = Finding::warning("unknown-directive", source, line.name.span, message);
            let help = "take the line out, or put it into `<IfModule mpm_prefork_module>`";
            self.read.findings.push(finding.label("Invalid command").help(help));
            return;
        }
        if applies == Applies::No || self.read.findings.iter().any(|known| known.code == "fpm-ignores") {
            return;
        }
        let message = if known.ends_with("PerChild") && known != "ThreadsPerChild" {
            format!("`{known}` renews Apache's processes, not PHP's: the database's connections are PHP's")
        } else {
            format!("`{known}` limits Apache's workers, not PHP's: it limits no connection to the database")
        };
        let finding = Finding::warning("fpm-ignores", source, line.name.span, message);
        self.read.findings.push(finding.help(FPM));
    }

    /// The app's own Apache runs PHP: its workers are what counts.
    fn own_workers(&mut self, source: &Source) {
        if self.reader == Reader::Own && self.read.workers.is_none() && !self.read.partly {
            let finding = Finding::warning(
                "no-worker-limit",
                source,
                Span::new(0, 0),
                "no `MaxRequestWorkers`: Apache runs up to 256 PHP processes, each with its connections",
            );
            self.read.findings.push(finding.help("set `MaxRequestWorkers` to what the database can bear"));
        }
    }

    fn include(&mut self, source: &Source, sections: &[Section], line: &Line) {
        let applies = applying(sections);
        if applies == Applies::No || self.open.len() >= usize::from(DEEPEST) {
            return;
        }
        let optional = line.name.eq_ignore_ascii_case("IncludeOptional");
        let written = value(&line.rest);
        let ours = ["${HEROKU_APP_DIR}/", "/app/"].iter().find_map(|top| written.strip_prefix(top));
        let relative = !written.starts_with(['/', '$']);
        if ours.is_none() && !relative {
            self.read.partly = true;
            // The buildpack's own files are there when the dyno starts.
            return;
        }
        let Some(path) = inside(ours.unwrap_or(written)).filter(|path| !path.contains("${")) else {
            self.read.partly = true;
            return;
        };
        let built = is_built(self.files, &path);
        if built == Some(true) {
            self.read.partly = true;
            return;
        }
        let found = self.named(&path);
        if relative && found.as_ref().is_some_and(|paths| !paths.is_empty()) {
            let finding = Finding::warning(
                "relative-include",
                source,
                line.name.span,
                format!("Apache looks for `{written}` in its own folder, not in the app's"),
            );
            self.read
                .findings
                .push(finding.help(format!("write `{} ${{HEROKU_APP_DIR}}/{path}`", line.name.value)));
        }
        let Some(paths) = found else {
            self.read.partly = true;
            return;
        };
        if paths.is_empty() && (relative || built.is_none()) {
            self.read.partly = true;
        } else if paths.is_empty() && !optional && applies == Applies::Yes {
            let finding = Finding::fatal(
                "missing-file",
                source,
                line.name.span,
                format!("`{path}` is not among the app's files: {CRASH}"),
            );
            self.read
                .findings
                .push(finding.help("add the file, or write `IncludeOptional` where it may be missing"));
        }
        for path in paths {
            if self.open.contains(&path) {
                continue;
            }
            match self.files.text(&path) {
                Text::There(text) => self.within(&Source::new(path, text), &mut sections.to_vec()),
                Text::Absent => {}
                Text::Unknown => self.read.partly = true,
            }
        }
    }

    /// Files that an include names.
    fn named(&self, path: &str) -> Option<Vec<String>> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if folder.contains(['*', '?', '[']) || name.contains('[') {
            return None;
        }
        if !name.contains(['*', '?']) {
            return match self.files.text(path) {
                Text::There(_) => Some(vec![path.to_owned()]),
                Text::Absent => Some(Vec::new()),
                Text::Unknown => None,
            };
        }
        let mut names = self.files.children(folder)?;
        names.retain(|child| fits(name, child));
        names.sort();
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        Some(names.into_iter().map(|child| format!("{prefix}{child}")).collect())
    }
}

/// What Apache does with a configuration that it does not take.
const CRASH: &str = "Apache refuses to start, every dyno crashes";
/// What limits PHP on Heroku.
const FPM: &str = "PHP's processes, and with them the connections, are set by `WEB_CONCURRENCY`: `heroku config:set WEB_CONCURRENCY=5`";

fn applying(sections: &[Section]) -> Applies {
    let any = |wanted| sections.iter().any(|section| section.applies == wanted);
    if any(Applies::No) {
        Applies::No
    } else if any(Applies::Perhaps) {
        Applies::Perhaps
    } else {
        Applies::Yes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::files::tests::Tree;
    use super::*;

    fn walk(reader: Reader, text: &'static str, more: &[(&'static str, &'static str)]) -> Read {
        let tree = Tree(more.iter().copied().collect::<BTreeMap<_, _>>());
        let mut walk = Walk::new(&tree, reader, "Procfile:1".to_owned());
        walk.file(&Source::new("a.conf", text));
        walk.read
    }

    fn told(read: &Read) -> Vec<String> {
        let level = |finding: &Finding| if finding.is_fatal() { "E" } else { "W" };
        let row = |finding: &Finding| finding.source.place(finding.fault.span.start).0;
        read.findings
            .iter()
            .map(|finding| {
                format!("{} {} {}:{}", level(finding), finding.code, finding.source.name, row(finding))
            })
            .collect()
    }

    /// Each is what Apache 2.4 with its event MPM says of the text inside a vhost.
    #[test]
    fn what_apache_says_inside_a_vhost() {
        let fatal = [
            "MaxRequestWorkers 5",
            "maxrequestworkers 5",
            "MinSpareServers 1",
            "ServerTokens Prod",
            "Listen 80",
            "MaxRequestWorkers \\\n5",
            "<IfModule mpm_event_module>\nMaxRequestWorkers 5\n</IfModule>",
            "<IfModule event.c>\nMaxRequestWorkers 5\n</IfModule>",
            "<IfModule !mpm_prefork_module>\nMaxRequestWorkers 5\n</IfModule>",
            "<Directory \"/app\">\nMaxRequestWorkers 5\n</Directory>",
            "<VirtualHost *:1>\n</VirtualHost>",
            "Include /app/none.conf",
            "<Directory />",
            "</Directory>",
        ];
        for text in fatal {
            let read = walk(Reader::Vhost, text, &[]);
            assert_eq!(read.findings.iter().filter(|f| f.is_fatal()).count(), 1, "{text}: {:?}", told(&read));
        }
        let fine = [
            "# MaxRequestWorkers 5",
            "# c \\\nMaxRequestWorkers 5",
            "<IfModule mpm_prefork_module>\nMaxRequestWorkers 5\n</IfModule>",
            "<IfModule mod_mpm_event.c>\nMaxRequestWorkers 5\n</IfModule>",
            "<IfDefine X>\nMaxRequestWorkers 5\n</IfDefine>",
            "ServerSignature Off\nTimeout 30\nKeepAlive On\nTraceEnable off\nDocumentRoot /tmp",
            "IncludeOptional /app/none.conf",
            "Include etc/apache2/extra.conf",
        ];
        for text in fine {
            let read = walk(Reader::Vhost, text, &[]);
            assert!(!read.findings.iter().any(Finding::is_fatal), "{text}: {:?}", told(&read));
        }
    }

    #[test]
    fn findings_point_at_their_line_and_say_what_to_do() {
        let read =
            walk(Reader::Vhost, "# x\nKeepAlive On\n  MaxRequestWorkers 5\nMaxConnectionsPerChild 50\n", &[]);
        assert_eq!(told(&read), ["E vhost-directive a.conf:3", "E vhost-directive a.conf:4"]);
        let first = &read.findings[0];
        assert_eq!(first.source.place(first.fault.span.start), (3, 3));
        let line = first.line();
        assert!(line.starts_with("a.conf:3: `MaxRequestWorkers`") && line.contains("Procfile:1"), "{line}");
        assert!(first.remedy().is_some_and(|remedy| remedy.contains("WEB_CONCURRENCY")));
    }

    #[test]
    fn included_files_stand_where_they_are_included() {
        let more = [("conf/a.conf", "MaxRequestWorkers 5\n"), ("conf/b.conf", "Include /app/conf/a.conf\n")];
        let read = walk(Reader::Vhost, "Include ${HEROKU_APP_DIR}/conf/*.conf\n", &more);
        assert_eq!(told(&read), ["E vhost-directive conf/a.conf:1", "E vhost-directive conf/a.conf:1"]);
        let read = walk(Reader::Vhost, "Include conf/a.conf\n", &more);
        assert_eq!(told(&read), ["W relative-include a.conf:1", "E vhost-directive conf/a.conf:1"]);
        let itself = walk(Reader::Vhost, "Include /app/a.conf\n", &[("a.conf", "Include /app/a.conf\n")]);
        assert!(told(&itself).is_empty());
    }

    #[test]
    fn a_whole_vhost_may_hold_them_and_limits_nothing_of_php() {
        let text = "MaxRequestWorkers 5\nMaxConnectionsPerChild 50\nMinSpareServers 1\nListen ${PORT}\n\
                    <VirtualHost *:${PORT}>\n<FilesMatch \\.php$>\nSetHandler proxy:fcgi://heroku-fcgi\n</FilesMatch>\n</VirtualHost>\n";
        let read = walk(Reader::Whole, text, &[]);
        assert_eq!(told(&read), ["W fpm-ignores a.conf:1", "W unknown-directive a.conf:3"]);
        assert!(read.listens && read.vhost && read.hands_on);
        let read = walk(Reader::Whole, "<VirtualHost *:1>\nServerLimit 5\n</VirtualHost>\n", &[]);
        assert_eq!(told(&read), ["E vhost-directive a.conf:2"]);
    }

    #[test]
    fn the_workers_of_an_apache_that_runs_php_count() {
        let read = walk(Reader::Own, "# x\nMaxRequestWorkers 7\n", &[]);
        assert_eq!(read.workers, Some((7, "MaxRequestWorkers in a.conf:2".to_owned())));
        assert!(read.findings.is_empty());
        assert_eq!(told(&walk(Reader::Own, "Listen 1\n", &[])), ["W no-worker-limit a.conf:1"]);
    }
}
