//! How many PHP processes a dyno runs, by the buildpack's rule: `pm.max_children` is `WEB_CONCURRENCY`; where nothing
//! sets that, it is reckoned from the dyno's memory, its processors and PHP's `memory_limit` when the dyno starts.

use super::command::{Command, Fpm, Server, Word, started};
use super::files::{Files, Text, inside, is_template};
use crate::health::{How, Reckoned};

/// PHP's `memory_limit` when nothing sets it, in bytes.
const MEMORY_LIMIT: u64 = 128 * MEGABYTE;
const MEGABYTE: u64 = 1024 * 1024;
/// Apache's own limit of workers, with an MPM of processes.
const APACHE_WORKERS: u64 = 256;

/// PHP's `memory_limit`, and what sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Memory {
    /// Bytes; 0 = without limit.
    bytes: u64,
    /// What sets it.
    basis: String,
}

/// Memory in MB and processors of a dyno's size.
fn machine(size: &str) -> Option<(u64, u64)> {
    let size = size.to_ascii_lowercase();
    Some(match size.trim_start_matches("private-").trim_start_matches("shield-") {
        "free" | "hobby" | "eco" | "basic" | "standard-1x" => (512, 8),
        "standard-2x" => (1024, 8),
        "s" => (1024, 2),
        "performance-m" | "m" => (2560, 2),
        "performance-l" | "l" => (14 * 1024, 8),
        "performance-l-ram" | "l-ram" => (30 * 1024, 4),
        "performance-xl" | "xl" => (62 * 1024, 8),
        "performance-2xl" | "2xl" => (126 * 1024, 16),
        _ => return None,
    })
}

/// The buildpack's rule: it grows with the logarithm of the memory and with the processors, and never asks for more
/// memory than there is.
fn reckoned(ram_mb: u64, cores: u64, limit: u64) -> u64 {
    if limit == 0 {
        return 1;
    }
    let (ram, base, limit) = ((ram_mb * MEGABYTE) as f64, MEMORY_LIMIT as f64, limit as f64);
    let wished = (ram / base).log2().ceil() * cores as f64 * 2.0 * (base / limit);
    let most = (ram / limit).floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between one and the number of megabytes"
    )]
    let processes = wished.min(most).max(1.0) as u64;
    processes
}

/// A size as PHP writes it: `256M`. `-1` is 0: without limit.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().trim_matches(['"', '\'']).trim();
    if text == "-1" {
        return Some(0);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.trim().parse().ok()?;
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1024,
        "m" => MEGABYTE,
        "g" => 1024 * MEGABYTE,
        _ => return None,
    };
    number.checked_mul(unit).filter(|bytes| *bytes > 0)
}

/// The last `NAME = VALUE` of a file in the manner of `php.ini`, with its line.
fn setting(text: &str, name: &str) -> Option<(String, usize)> {
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let (key, value) = line.split(';').next()?.split_once('=')?;
            (key.trim() == name).then(|| (value.trim().to_owned(), index + 1))
        })
        .last()
}

/// The text of a file that a word names, when it is known.
fn text_of(files: &dyn Files, word: Option<&Word>) -> Option<(String, String)> {
    let word = word.filter(|word| !word.open && !is_template(&word.text))?;
    let path = inside(&word.text)?;
    match files.text(&path) {
        Text::There(text) => Some((path, text)),
        Text::Absent | Text::Unknown => None,
    }
}

/// PHP's memory limit as the buildpack finds it.
fn memory(files: &dyn Files, fpm: &Fpm) -> Memory {
    let pool = text_of(files, fpm.option('F')).or_else(|| text_of(files, fpm.option('f')));
    let in_pool = |name: &str| {
        let (path, text) = pool.as_ref()?;
        let (value, line) = setting(text, name)?;
        Some(Memory { bytes: bytes(&value)?, basis: format!("memory_limit {value} in {path}:{line}") })
    };
    let in_ini = |path: String, text: &str| {
        let (value, line) = setting(text, "memory_limit")?;
        Some(Memory { bytes: bytes(&value)?, basis: format!("memory_limit {value} in {path}:{line}") })
    };
    let root = fpm.root.as_ref().map_or(Some(String::new()), |word| inside(&word.text));
    let user_ini = root.and_then(|root| {
        let path = if root.is_empty() { ".user.ini".to_owned() } else { format!("{root}/.user.ini") };
        match files.text(&path) {
            Text::There(text) => in_ini(path, &text),
            Text::Absent | Text::Unknown => None,
        }
    });
    in_pool("php_admin_value[memory_limit]")
        .or(user_ini)
        .or_else(|| in_pool("php_value[memory_limit]"))
        .or_else(|| text_of(files, fpm.option('i')).and_then(|(path, text)| in_ini(path, &text)))
        .unwrap_or_else(|| Memory { bytes: MEMORY_LIMIT, basis: "PHP's own memory_limit of 128M".to_owned() })
}

/// Processes of a dyno that may speak to the database. `concurrency` is the config var, `size` the dyno's; `None` when it
/// cannot be told.
pub fn processes_of(
    kind: &str,
    command: &str,
    size: Option<&str>,
    concurrency: Option<u64>,
    files: &dyn Files,
) -> Option<Reckoned> {
    let Some((command, server)) = started(command, 0) else { return config_var(kind, concurrency) };
    match server {
        Server::Fpm(fpm) => of_fpm(&command, &fpm, size, concurrency, files),
        Server::Apache { config } => Some(of_apache(files, config.as_ref())),
        Server::Other if kind == "web" => in_command(&command).or_else(|| config_var(kind, concurrency)),
        Server::Other => {
            let basis = format!("`{}` is taken to be one process", command.program.text);
            Some(Reckoned::new(1, How::Assumed, basis))
        }
    }
}

fn config_var(kind: &str, concurrency: Option<u64>) -> Option<Reckoned> {
    (kind == "web").then_some(())?;
    Some(Reckoned::new(concurrency?, How::Told, "config var WEB_CONCURRENCY"))
}

/// `WEB_CONCURRENCY=5` before the program.
fn in_command(command: &Command) -> Option<Reckoned> {
    let (_, value) = command.variables.iter().rev().find(|(name, _)| name == "WEB_CONCURRENCY")?;
    let number = value.parse().ok().filter(|number| *number > 0)?;
    Some(Reckoned::new(number, How::Told, "WEB_CONCURRENCY in the process type's command"))
}

fn of_fpm(
    command: &Command,
    fpm: &Fpm,
    size: Option<&str>,
    concurrency: Option<u64>,
    files: &dyn Files,
) -> Option<Reckoned> {
    for word in ['F', 'f'].into_iter().filter_map(|letter| fpm.option(letter)) {
        let Some((path, text)) = text_of(files, Some(word)) else { continue };
        let Some((value, line)) = setting(&text, "pm.max_children") else { continue };
        if let Ok(number) = value.parse() {
            let basis = format!("pm.max_children in {path}:{line}, whatever WEB_CONCURRENCY says");
            return Some(Reckoned::new(number, How::Told, basis));
        }
    }
    if let Some(told) = in_command(command).or_else(|| config_var("web", concurrency)) {
        return Some(told);
    }
    let size = size?;
    let (ram, cores) = machine(size)?;
    let memory = memory(files, fpm);
    let basis = format!(
        "WEB_CONCURRENCY is not set: the buildpack's rule for {ram} MB ({size}) and {}",
        memory.basis
    );
    Some(Reckoned::new(reckoned(ram, cores, memory.bytes), How::Estimated, basis))
}

/// An Apache that runs PHP itself: its workers.
fn of_apache(files: &dyn Files, config: Option<&Word>) -> Reckoned {
    let named = text_of(files, config).and_then(|(path, text)| {
        let source = crate::source::Source::new(path, text);
        let mut walk = super::apache::Walk::new(files, super::apache::Reader::Own, String::new());
        walk.file(&source);
        walk.read.workers
    });
    match named {
        Some((number, basis)) => Reckoned::new(number, How::Told, basis),
        None => Reckoned::new(
            APACHE_WORKERS,
            How::Assumed,
            "no MaxRequestWorkers is set for its own Apache: 256, as Apache has it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::tests::Tree;
    use super::*;

    fn reckon(
        command: &str,
        size: &str,
        var: Option<u64>,
        files: &[(&'static str, &'static str)],
    ) -> Reckoned {
        let tree = Tree(files.iter().copied().collect());
        processes_of("web", command, Some(size), var, &tree).expect("known")
    }

    #[test]
    fn without_a_config_var_it_is_the_buildpacks_rule() {
        for (size, processes) in [
            ("Basic", 4),
            ("Standard-1X", 4),
            ("Standard-2X", 8),
            ("Performance-M", 20),
            ("Performance-L", 112),
            ("Performance-L-RAM", 64),
            ("Performance-XL", 144),
            ("Performance-2XL", 320),
            ("Private-M", 20),
        ] {
            let told = reckon("heroku-php-apache2", size, None, &[]);
            assert_eq!((told.number, told.how), (processes, How::Estimated), "{size}: {}", told.basis);
        }
        assert_eq!(processes_of("web", "heroku-php-apache2", Some("odd"), None, &Tree([].into())), None);
    }

    #[test]
    fn the_memory_limit_is_found_where_the_buildpack_looks() {
        let conf = ("fpm.conf", "php_value[memory_limit] = 64M\n");
        let admin =
            ("fpm.conf", "; php_admin_value[memory_limit] = 1M\nphp_admin_value[memory_limit] = 32M\n");
        let ini = ("public/.user.ini", "memory_limit = \"256M\"\n");
        let php = ("php.ini", "memory_limit = 512M\n");
        let line = "heroku-php-apache2 -F fpm.conf -i php.ini public/";
        for (files, processes, says) in [
            (vec![conf, ini, php], 2, "public/.user.ini:1"),
            (vec![admin, ini, php], 16, "fpm.conf:2"),
            (vec![conf, php], 8, "fpm.conf:1"),
            (vec![php], 1, "php.ini:1"),
        ] {
            let told = reckon(line, "Standard-1X", None, &files);
            assert_eq!(told.number, processes, "{}", told.basis);
            assert!(told.basis.contains(says), "{}", told.basis);
        }
        assert_eq!(
            (bytes("-1"), bytes("1G"), bytes("x"), bytes("0")),
            (Some(0), Some(1024 * MEGABYTE), None, None)
        );
        assert_eq!(reckoned(512, 8, 0), 1);
    }

    #[test]
    fn what_is_set_wins_in_its_order() {
        let files = [("fpm.conf", "pm.max_children = 3\n")];
        let told = reckon("WEB_CONCURRENCY=7 heroku-php-apache2 -F fpm.conf", "Basic", Some(9), &files);
        assert!(told.number == 3 && told.basis.contains("fpm.conf:1"), "{told:?}");
        assert_eq!(reckon("WEB_CONCURRENCY=7 heroku-php-nginx", "Basic", Some(9), &[]).number, 7);
        assert_eq!(reckon("vendor/bin/heroku-php-apache2", "Basic", Some(9), &[]).number, 9);
        assert_eq!(reckon("bin/own-server", "Basic", Some(9), &[]).number, 9);
        let own = [("own.conf", "MaxRequestWorkers 6\n")];
        assert_eq!(reckon("httpd -f own.conf", "Basic", Some(9), &own).number, 6);
        assert_eq!(reckon("apache2-foreground", "Basic", Some(9), &own).number, 256);
        let worker = processes_of("worker", "php maintenance/runJobs.php", None, Some(9), &Tree([].into()));
        assert_eq!(worker.map(|told| (told.number, told.how)), Some((1, How::Assumed)));
        assert_eq!(processes_of("web", "bin/own", Some("Basic"), None, &Tree([].into())), None);
    }
}
