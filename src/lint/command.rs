//! A process type's command: its words as a shell would split them, and the web server that they start.

use crate::source::{Span, Spanned};

/// A word of a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Word {
    /// Without its quotes.
    pub(super) text: String,
    /// Where it stands.
    pub(super) span: Span,
    /// A shell would put something in here that is not known.
    pub(super) open: bool,
}

/// One command: what stands before its program, the program, its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    /// `NAME=value` before the program.
    pub(super) variables: Vec<(String, String)>,
    /// The program.
    pub(super) program: Word,
    /// What follows.
    pub(super) arguments: Vec<Word>,
}

/// What a command starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Server {
    /// `heroku-php-apache2` or `heroku-php-nginx`: PHP-FPM, and a web server in front of it.
    Fpm(Box<Fpm>),
    /// An Apache of the app's own, which runs PHP itself.
    Apache {
        /// `-f FILE`.
        config: Option<Word>,
    },
    /// Something else: one process, as far as is known.
    Other,
}

/// The arguments of the buildpack's starter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fpm {
    /// Apache; otherwise nginx.
    pub(super) apache: bool,
    /// Options that take a value, in their order.
    pub(super) options: Vec<(char, Word)>,
    /// The document root.
    pub(super) root: Option<Word>,
    /// Why the starter would end at once.
    pub(super) refused: Option<(Span, String)>,
}

impl Fpm {
    /// The last value of an option.
    pub(super) fn option(&self, letter: char) -> Option<&Word> {
        self.options.iter().rev().find(|(known, _)| *known == letter).map(|(_, word)| word)
    }
}

/// Programs that only start another one.
const STARTERS: [&str; 4] = ["exec", "env", "nice", "time"];
/// Shells that take a command as a text.
const SHELLS: [&str; 3] = ["bash", "sh", "dash"];
/// How deep shells in shells are followed.
const DEEPEST: u8 = 3;

/// Splits a command line into commands.
fn commands(line: &str, at: usize) -> Vec<Vec<Word>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.char_indices().peekable();
    let end_word = |word: &mut Option<Word>, all: &mut Vec<Vec<Word>>, end: usize| {
        if let (Some(mut done), Some(words)) = (word.take(), all.last_mut()) {
            done.span.end = end;
            words.push(done);
        }
    };
    while let Some((index, c)) = chars.next() {
        let place = at + index;
        let mut fresh = || Word { text: String::new(), span: Span::new(place, place), open: false };
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') => {
                let next = chars.next().map(|(_, next)| next);
                word.get_or_insert_with(fresh).text.extend(next);
            }
            (None, '\\') => {
                let next = chars.next().map(|(_, next)| next);
                word.get_or_insert_with(fresh).text.extend(next);
            }
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_with(fresh);
            }
            (None, '&' | ';' | '|' | '\n') => {
                end_word(&mut word, &mut all, place);
                all.push(Vec::new());
            }
            (None, c) if c.is_whitespace() => end_word(&mut word, &mut all, place),
            (None, '#') if word.is_none() => break,
            (_, c) => {
                let word = word.get_or_insert_with(&mut fresh);
                word.open |= quote != Some('\'') && matches!(c, '$' | '`');
                word.text.push(c);
            }
        }
    }
    end_word(&mut word, &mut all, at + line.len());
    all.retain(|words| !words.is_empty());
    all
}

fn is_assignment(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let first = name.chars().next()?;
    let plain = (first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then_some((name, value))
}

fn command(words: Vec<Word>) -> Option<Command> {
    let mut variables = Vec::new();
    let mut words = words.into_iter();
    let mut begun = false;
    let program = loop {
        let word = words.next()?;
        if let Some((name, value)) = is_assignment(&word.text) {
            variables.push((name.to_owned(), value.to_owned()));
        } else if !(STARTERS.contains(&base(&word.text)) || (begun && word.text.starts_with('-'))) {
            break word;
        } else {
            begun = true;
        }
    };
    Some(Command { variables, program, arguments: words.collect() })
}

/// The last part of a path.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What a command line starts: the first server in it, or else its last command. `at` is where the line stands.
pub(super) fn started(line: &str, at: usize) -> Option<(Command, Server)> {
    started_within(line, at, DEEPEST)
}

fn started_within(line: &str, at: usize, deeper: u8) -> Option<(Command, Server)> {
    let mut last = None;
    for words in commands(line, at) {
        let Some(command) = command(words) else { continue };
        if SHELLS.contains(&base(&command.program.text))
            && deeper > 0
            && let [option, text, ..] = command.arguments.as_slice()
            && option.text.starts_with('-')
            && option.text.ends_with('c')
        {
            // Its text stands in quotes, so one letter on.
            if let Some((mut inner, server)) = started_within(&text.text, text.span.start + 1, deeper - 1) {
                inner.variables.splice(0..0, command.variables);
                last = Some((inner, server));
            }
        } else {
            let server = server(&command);
            last = Some((command, server));
        }
        if last.as_ref().is_some_and(|(_, server)| *server != Server::Other) {
            break;
        }
    }
    last
}

fn server(command: &Command) -> Server {
    match base(&command.program.text) {
        "heroku-php-apache2" => Server::Fpm(Box::new(options(true, command))),
        "heroku-php-nginx" => Server::Fpm(Box::new(options(false, command))),
        "httpd" | "apache2" | "apache2-foreground" | "apachectl" | "apache2ctl" => {
            let mut arguments = command.arguments.iter();
            let mut config = None;
            while let Some(word) = arguments.next() {
                if word.text == "-f" {
                    config = arguments.next().cloned();
                } else if let Some(attached) = word.text.strip_prefix("-f") {
                    config = Some(Word { text: attached.to_owned(), ..word.clone() });
                }
            }
            Server::Apache { config }
        }
        _ => Server::Other,
    }
}

/// Reads the starter's options as its `getopts` does: up to the first word that is none.
fn options(apache: bool, command: &Command) -> Fpm {
    let mut fpm = Fpm { apache, options: Vec::new(), root: None, refused: None };
    let mut words = command.arguments.iter().peekable();
    while let Some(word) = words.peek().filter(|word| word.text.len() > 1 && word.text.starts_with('-')) {
        let word = *word;
        words.next();
        if word.text == "--" {
            break;
        }
        if let Some(long) = word.text.strip_prefix("--") {
            match long {
                "verbose" => {}
                "test" | "help" => refuse(&mut fpm, word.span, format!("`--{long}` ends at once")),
                _ => refuse(&mut fpm, word.span, format!("it knows no option `--{long}`")),
            }
            continue;
        }
        let letters: Vec<(usize, char)> = word.text.char_indices().skip(1).collect();
        for (index, letter) in letters {
            match letter {
                'v' => {}
                't' | 'h' => refuse(&mut fpm, word.span, format!("`-{letter}` ends at once")),
                'C' | 'c' | 'F' | 'f' | 'i' | 'l' | 'p' => {
                    let attached = &word.text[index + 1..];
                    let value = if attached.is_empty() {
                        words.next().cloned()
                    } else {
                        Some(Word { text: attached.to_owned(), ..word.clone() })
                    };
                    match value {
                        Some(value) => fpm.options.push((letter, value)),
                        None => refuse(&mut fpm, word.span, format!("`-{letter}` needs a value")),
                    }
                    break;
                }
                _ => refuse(&mut fpm, word.span, format!("it knows no option `-{letter}`")),
            }
        }
    }
    fpm.root = words.next().cloned();
    if let (Some(_), Some(more)) = (&fpm.root, words.next()) {
        let why = if more.text.starts_with('-') {
            format!("`{}` stands behind the document root, where no option is read", more.text)
        } else {
            format!("`{}` is one argument too many", more.text)
        };
        refuse(&mut fpm, more.span, why);
    }
    fpm
}

fn refuse(fpm: &mut Fpm, span: Span, why: String) {
    fpm.refused.get_or_insert((span, why));
}

/// A command and where it stands.
pub(super) fn started_at(command: &Spanned<String>) -> Option<(Command, Server)> {
    started(&command.value, command.span.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fpm(line: &str) -> Fpm {
        match started(line, 0) {
            Some((_, Server::Fpm(fpm))) => *fpm,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_starter_is_found_whatever_stands_round_it() {
        for line in [
            "heroku-php-apache2 -C a.conf public/",
            "vendor/bin/heroku-php-apache2 -C a.conf public/",
            "php warm.php && exec vendor/bin/heroku-php-apache2 -vC 'a.conf' public/ # why",
            "WEB_CONCURRENCY=5 A='b c' heroku-php-apache2 -Ca.conf public/",
            "bash -c \"heroku-php-apache2 -C a.conf public/\"",
            "env B=1 heroku-php-apache2 -C a.conf public/",
        ] {
            let found = fpm(line);
            assert!(found.apache && found.refused.is_none(), "{line}: {found:?}");
            assert_eq!(found.option('C').unwrap().text, "a.conf", "{line}");
            assert_eq!(found.root.unwrap().text, "public/", "{line}");
        }
        let (command, _) = started("WEB_CONCURRENCY=5 A='b c' heroku-php-nginx", 0).unwrap();
        let wanted = [("WEB_CONCURRENCY".to_owned(), "5".to_owned()), ("A".to_owned(), "b c".to_owned())];
        assert_eq!(command.variables, wanted);
        assert!(!fpm("heroku-php-nginx -C n.conf").apache);
        assert_eq!(started("php maintenance/runJobs.php", 0).unwrap().1, Server::Other);
        assert!(started("", 0).is_none() && started("A=1", 0).is_none() && started("# x", 0).is_none());
    }

    #[test]
    fn what_the_starter_would_refuse() {
        for (line, why) in [
            ("heroku-php-apache2 ./ -C a.conf", "behind the document root"),
            ("heroku-php-apache2 -C", "needs a value"),
            ("heroku-php-apache2 -x", "no option `-x`"),
            ("heroku-php-apache2 --port 5", "no option `--port`"),
            ("heroku-php-apache2 a b", "one argument too many"),
            ("heroku-php-apache2 -t", "ends at once"),
        ] {
            let (_, told) = fpm(line).refused.expect(line);
            assert!(told.contains(why), "{line}: {told}");
        }
        assert_eq!(fpm("heroku-php-apache2 -v -- -x").refused, None);
    }

    #[test]
    fn words_know_their_places_and_variables_are_open() {
        let line = "heroku-php-apache2 -C \"$CONF\" 'a b'";
        let (_, server) = started(line, 5).unwrap();
        let Server::Fpm(fpm) = server else { panic!("{server:?}") };
        let conf = fpm.option('C').unwrap();
        assert!(conf.open && &line[conf.span.start - 5..conf.span.end - 5] == "\"$CONF\"");
        assert_eq!(fpm.root.unwrap().text, "a b");
        let own = started("httpd -D FOREGROUND -f own.conf", 0).unwrap().1;
        assert!(matches!(own, Server::Apache { config: Some(word) } if word.text == "own.conf"));
    }
}
