//! Apache's directives that a virtual host may not hold, and whether a file is included in one.

use super::lines::{ranges, without_end};

/// Directives that Apache takes at server level only. Within `<VirtualHost>` it refuses to start.
pub const SERVER_LEVEL: &[&str] = &[
    "MaxRequestWorkers",
    "MaxClients",
    "StartServers",
    "MinSpareServers",
    "MaxSpareServers",
    "MinSpareThreads",
    "MaxSpareThreads",
    "MaxConnectionsPerChild",
    "MaxRequestsPerChild",
    "ServerLimit",
    "ThreadLimit",
    "ThreadsPerChild",
];

/// Those of them that a text sets: the first, as Apache spells it.
pub fn server_level(text: &str) -> Option<&'static str> {
    text.lines().find_map(|line| {
        let name = line.split_whitespace().next()?;
        SERVER_LEVEL.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
    })
}

/// The line of a Procfile that includes `path` within the virtual host of Heroku's Apache: `heroku-php-apache2 -C FILE`.
pub fn in_vhost(procfile: &[u8], path: &str) -> Option<usize> {
    ranges(procfile).enumerate().find_map(|(index, line)| {
        let line = String::from_utf8_lossy(without_end(&procfile[line])).into_owned();
        let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
        let program = words.iter().position(|word| word.ends_with("heroku-php-apache2"))?;
        let mut rest = words[program + 1..].iter();
        while let Some(word) = rest.next() {
            let file = match word.strip_prefix("-C") {
                Some("") => rest.next().copied(),
                Some(attached) => Some(attached),
                None => continue,
            };
            if file.is_some_and(|file| file.trim_start_matches("./") == path) {
                return Some(index + 1);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_procfile_includes_in_the_vhost() {
        for (procfile, line) in [
            ("web: heroku-php-apache2 -C apache_app.conf\n", Some(1)),
            ("release: x\r\nweb: vendor/bin/heroku-php-apache2 -F fpm.conf -C ./apache_app.conf public/\r\n", Some(2)),
            ("web: heroku-php-apache2 -Capache_app.conf", Some(1)),
            ("web: heroku-php-apache2 -c apache_app.conf\n", None),
            ("web: heroku-php-nginx -C apache_app.conf\n", None),
            ("web: heroku-php-apache2 -C other.conf\n", None),
            ("web: heroku-php-apache2 -C", None),
            ("", None),
        ] {
            assert_eq!(in_vhost(procfile.as_bytes(), "apache_app.conf"), line, "{procfile}");
        }
    }

    #[test]
    fn directives_are_found_whatever_their_case() {
        assert_eq!(server_level("<IfModule x>\n  maxspareservers 2\n</IfModule>"), Some("MaxSpareServers"));
        assert_eq!(server_level("# MaxRequestWorkers 5\nDocumentRoot /app"), None);
    }
}
