//! The Procfile: process types and their commands.

use crate::source::{Source, Span, Spanned};

/// One process type.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Process {
    /// `web`, `worker`, `release`.
    pub(super) kind: Spanned<String>,
    /// Its command.
    pub(super) command: Spanned<String>,
}

/// Reads it: lines of `TYPE: COMMAND`; all others are passed over, as Heroku does.
pub(super) fn read(source: &Source) -> Vec<Process> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let Some((kind, command)) = line.split_once(':') else { continue };
        let name = kind.trim();
        let named = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            && kind.starts_with(name);
        let text = command.trim();
        if !named || text.is_empty() {
            continue;
        }
        let begins = at + kind.len() + 1 + (command.len() - command.trim_start().len());
        found.push(Process {
            kind: Spanned::new(name.to_owned(), Span::new(at, at + name.len())),
            command: Spanned::new(text.to_owned(), Span::new(begins, begins + text.len())),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_commands_know_their_places() {
        let text =
            "# web: not this\nweb:  heroku-php-apache2 -C a.conf\r\nworker: php x.php\n bad: x\nno: \n";
        let source = Source::new("Procfile", text);
        let found = read(&source);
        let kinds: Vec<_> = found.iter().map(|process| process.kind.value.as_str()).collect();
        assert_eq!(kinds, ["web", "worker"]);
        let command = &found[0].command;
        assert_eq!(&text[command.span.start..command.span.end], "heroku-php-apache2 -C a.conf");
        assert_eq!(command.value, "heroku-php-apache2 -C a.conf");
    }
}
