//! Reads what decides how many connections the wiki holds: `LocalSettings.php`, `apache_app.conf` and the arguments
//! of `heroku-php-apache2`, as the buildpack and MediaWiki would. It must never guess: what is commented out does not
//! count.

use std::path::Path;

/// What `LocalSettings.php` says.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the wiki's own")]
pub struct Wiki {
    /// Persistent connections (`DBO_PERSISTENT`, or `$wgDBpersistent = true`).
    pub persistent: bool,
    /// A hook closes the connections at the end of each request.
    pub closes: bool,
    /// `$wgJobRunRate`: jobs run by each page request (MediaWiki's default is 1).
    pub job_run_rate: f64,
    /// Pages are cached, so that fewer reach the database.
    pub cached: bool,
    /// `$wgMiserMode`.
    pub miser: bool,
}

/// PHP without its comments; texts stay.
fn without_comments(php: &str) -> String {
    let mut out = String::with_capacity(php.len());
    let mut chars = php.chars().peekable();
    let mut quote: Option<char> = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) => {
                out.push(c);
                if c == '\\' {
                    out.extend(chars.next());
                } else if c == open {
                    quote = None;
                }
            }
            (None, '\'' | '"') => {
                quote = Some(c);
                out.push(c);
            }
            (None, '#') => skip_line(&mut chars, &mut out),
            (None, '/') if chars.peek() == Some(&'/') => skip_line(&mut chars, &mut out),
            (None, '/') if chars.peek() == Some(&'*') => {
                chars.next();
                let mut last = ' ';
                for c in chars.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
                out.push(' ');
            }
            (None, _) => out.push(c),
        }
    }
    out
}

fn skip_line(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    for c in chars.by_ref() {
        if c == '\n' {
            break;
        }
    }
    out.push('\n');
}

/// The value last assigned to `$name`.
fn assigned<'a>(code: &'a str, name: &str) -> Option<&'a str> {
    code.match_indices(&format!("${name}"))
        .filter_map(|(at, found)| {
            let rest = code[at + found.len()..].trim_start().strip_prefix('=')?;
            Some(rest.split(';').next().unwrap_or_default().trim())
        })
        .last()
}

impl Wiki {
    /// Reads `LocalSettings.php`.
    pub fn read(php: &str) -> Self {
        let code = without_comments(php);
        let truth =
            |name: &str| assigned(&code, name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let cache = assigned(&code, "wgMainCacheType").unwrap_or("CACHE_NONE");
        Self {
            persistent: code.contains("DBO_PERSISTENT") || truth("wgDBpersistent"),
            closes: code.contains("closeAll") || code.contains("->disable("),
            job_run_rate: assigned(&code, "wgJobRunRate").and_then(|value| value.parse().ok()).unwrap_or(1.0),
            cached: cache != "CACHE_NONE" && cache != "0",
            miser: truth("wgMiserMode"),
        }
    }
}

/// What Apache was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apache {
    /// PHP runs inside Apache (`httpd -f FILE` in the Procfile), not in PHP-FPM beside it.
    pub runs_php: bool,
    /// `MaxRequestWorkers`.
    pub max_request_workers: Option<u32>,
    /// `MaxConnectionsPerChild`.
    pub max_connections_per_child: Option<u32>,
}

/// Directives that Apache takes at server level only (`reference/guide.md`, read in the buildpack's source).
const SERVER_LEVEL: [&str; 6] = [
    "MaxRequestWorkers",
    "StartServers",
    "MinSpareServers",
    "MaxSpareServers",
    "MaxConnectionsPerChild",
    "ServerLimit",
];

/// Reads the command of a web dyno, program first, and the files that it names: `heroku-php-apache2` takes `-C FILE`
/// (inside the vhost) and `-c FILE` (in its place); an Apache of the app's own, `httpd -f FILE`, runs PHP itself.
///
/// # Errors
/// What Apache says when it does not start: a server-level directive inside the vhost (`-C`), or a missing file.
pub fn apache(command: &[String], root: &Path) -> Result<Apache, String> {
    let program = command.first().map(String::as_str).unwrap_or_default();
    let runs_php = program == "httpd" || program == "apache2";
    let mut apache = Apache { runs_php, max_request_workers: None, max_connections_per_child: None };
    let mut arguments = command.iter().skip(1);
    while let Some(argument) = arguments.next() {
        let flag = argument.get(..2).unwrap_or(argument);
        let inside = match (flag, runs_php) {
            ("-C", false) => true,
            ("-c", false) | ("-f", true) => false,
            _ => continue,
        };
        // Its file follows, attached or apart.
        let attached = argument.get(2..).filter(|rest| !rest.is_empty());
        let name = attached.or_else(|| arguments.next().map(String::as_str));
        let name = name.ok_or_else(|| format!("{argument} needs a file"))?;
        let text = std::fs::read_to_string(root.join(name))
            .map_err(|_| format!("Cannot read configuration file {name}"))?;
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(directive) = words.next().filter(|word| !word.starts_with('#')) else { continue };
            let known = SERVER_LEVEL.iter().find(|known| known.eq_ignore_ascii_case(directive));
            let Some(known) = known else { continue };
            if inside {
                return Err(format!(
                    "AH00526: Syntax error on line {} of /app/{name}:\n{known} cannot occur within <VirtualHost> section",
                    number + 1
                ));
            }
            let value = words.next().and_then(|value| value.parse().ok());
            match *known {
                "MaxRequestWorkers" => apache.max_request_workers = value,
                "MaxConnectionsPerChild" => apache.max_connections_per_child = value,
                _ => {}
            }
        }
    }
    Ok(apache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_commented_out_counts() {
        let wiki = Wiki::read(
            "<?php\n# $wgJobRunRate = 0;\n// DBO_PERSISTENT\n/* closeAll */ $wgMiserMode = true; $s = 'a # b';\n",
        );
        assert!(!wiki.persistent && !wiki.closes && wiki.miser && !wiki.cached);
        assert!((wiki.job_run_rate - 1.0).abs() < f64::EPSILON);
        let fixed =
            Wiki::read("$wgJobRunRate = 0;\n$wgMainCacheType = CACHE_ACCEL; $lb->closeAll( __METHOD__ );");
        assert!(fixed.closes && fixed.cached && fixed.job_run_rate == 0.0);
    }

    #[test]
    fn a_server_directive_inside_the_vhost_stops_apache() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.conf"), "# x\nMaxRequestWorkers 5\nMaxConnectionsPerChild 50\n")
            .unwrap();
        let read = |line: &str| apache(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), dir.path());
        for inside in ["heroku-php-apache2 -C a.conf ./", "heroku-php-apache2 -Ca.conf"] {
            let told = read(inside).unwrap_err();
            assert!(told.contains("line 2") && told.contains("cannot occur within <VirtualHost>"), "{told}");
        }
        let fpm = read("heroku-php-apache2 -c a.conf").unwrap();
        assert_eq!((fpm.max_request_workers, fpm.max_connections_per_child), (Some(5), Some(50)));
        assert!(!fpm.runs_php, "PHP-FPM has a pool of its own");
        let own = read("httpd -D FOREGROUND -f a.conf").unwrap();
        assert!(own.runs_php && own.max_request_workers == Some(5));
        assert_eq!(
            read("heroku-php-apache2 -c none.conf").unwrap_err(),
            "Cannot read configuration file none.conf"
        );
    }
}
