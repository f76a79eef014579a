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

/// Reads the arguments of `heroku-php-apache2` and the files that they name.
///
/// # Errors
/// What Apache says when it does not start: a server-level directive inside the vhost (`-C`), or a missing file.
pub fn apache(arguments: &[String], root: &Path) -> Result<Apache, String> {
    let mut apache = Apache { max_request_workers: None, max_connections_per_child: None };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let inside = match argument.as_str() {
            "-C" => true,
            "-c" => false,
            _ => continue,
        };
        let name = arguments.next().ok_or_else(|| format!("{argument} needs a file"))?;
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
        let arguments = |flag: &str| vec![flag.to_owned(), "a.conf".to_owned(), "./".to_owned()];
        let told = apache(&arguments("-C"), dir.path()).unwrap_err();
        assert!(told.contains("line 2") && told.contains("cannot occur within <VirtualHost>"), "{told}");
        let apache = apache(&arguments("-c"), dir.path()).unwrap();
        assert_eq!((apache.max_request_workers, apache.max_connections_per_child), (Some(5), Some(50)));
    }
}
