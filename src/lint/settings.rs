//! `LocalSettings.php`: what in it decides how many connections a request opens.

use super::finding::Finding;
use crate::health::{How, Reckoned};
use crate::source::{Source, Span};

/// What the wiki's settings say about connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Wiki {
    /// Where persistent connections are switched on.
    pub persistent: Option<String>,
    /// `$wgJobRunRate`: jobs run by a page request; 1 when nothing sets it.
    pub job_run_rate: f64,
    /// Where it is set; `None` = MediaWiki's default.
    pub job_run_rate_at: Option<String>,
}

impl Wiki {
    /// Links that a request opens, as far as the settings tell: one, and one more where it runs jobs. What extensions
    /// open besides is seen only when it is measured. `None` = the settings are not known.
    pub fn links(wiki: Option<&Self>) -> Reckoned {
        let Some(wiki) = wiki else { return Reckoned::new(1, How::Assumed, "one link a request") };
        if wiki.job_run_rate <= 0.0 {
            let place = wiki.job_run_rate_at.as_deref().unwrap_or("LocalSettings.php");
            return Reckoned::new(1, How::Assumed, format!("one link a request; it runs no jobs ({place})"));
        }
        let why = match &wiki.job_run_rate_at {
            Some(place) => format!("{place} lets a page request run jobs"),
            None => "page requests run jobs, as MediaWiki does when nothing sets $wgJobRunRate".to_owned(),
        };
        Reckoned::new(2, How::Assumed, format!("one link a request, and one for a job: {why}"))
    }
}

/// The text with its comments blanked out: places stay where they are, and texts in quotes are left.
fn without_comments(php: &str) -> String {
    let mut out: Vec<u8> = php.as_bytes().to_vec();
    let bytes = php.as_bytes();
    let mut index = 0;
    let mut quote: Option<u8> = None;
    while index < bytes.len() {
        let (byte, next) = (bytes[index], bytes.get(index + 1).copied());
        match (quote, byte, next) {
            (Some(_), b'\\', _) => index += 1,
            (Some(open), _, _) if byte == open => quote = None,
            (None, b'\'' | b'"', _) => quote = Some(byte),
            // An attribute is no comment.
            (None, b'#', next) if next != Some(b'[') => index = blank_line(bytes, &mut out, index),
            (None, b'/', Some(b'/')) => index = blank_line(bytes, &mut out, index),
            (None, b'/', Some(b'*')) => {
                let end = php[index + 2..].find("*/").map_or(bytes.len(), |at| index + at + 4);
                for (place, byte) in out.iter_mut().enumerate().take(end).skip(index) {
                    if bytes[place] != b'\n' {
                        *byte = b' ';
                    }
                }
                index = end - 1;
            }
            _ => {}
        }
        index += 1;
    }
    String::from_utf8(out).unwrap_or_default()
}

fn blank_line(bytes: &[u8], out: &mut [u8], from: usize) -> usize {
    let end = bytes[from..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| from + at);
    out[from..end].fill(b' ');
    end
}

/// What is last assigned to `$name`, and where.
fn assigned<'c>(code: &'c str, name: &str) -> Option<(&'c str, Span)> {
    let wanted = format!("${name}");
    code.match_indices(&wanted)
        .filter_map(|(at, _)| {
            let rest = code[at + wanted.len()..].trim_start().strip_prefix('=')?;
            let value = rest.split(';').next()?.trim();
            (!value.starts_with('=')).then_some((value, Span::new(at, at + wanted.len())))
        })
        .last()
}

/// Reads it.
pub(super) fn read(source: &Source) -> (Wiki, Vec<Finding>) {
    let code = without_comments(&source.text);
    let mut findings = Vec::new();
    let at = |span: Span| format!("{}:{}", source.name, source.place(span.start).0);
    let flag = code.rfind("DBO_PERSISTENT").map(|at| Span::new(at, at + "DBO_PERSISTENT".len()));
    let switch = assigned(&code, "wgDBpersistent")
        .filter(|(value, _)| value.eq_ignore_ascii_case("true") || *value == "1")
        .map(|(_, span)| span);
    let persistent = flag.or(switch);
    if let Some(span) = persistent {
        let message = "persistent connections are on: every PHP process keeps its links open between requests, used or not";
        let finding = Finding::warning("persistent-connections", source, span, message);
        findings.push(
            finding.help("leave the flag out (`runbook run prepare-fix` does): a page opens its link anew"),
        );
    }
    let rate =
        assigned(&code, "wgJobRunRate").and_then(|(value, span)| Some((value.parse::<f64>().ok()?, span)));
    if let Some((rate, span)) = rate
        && rate > 0.0
    {
        let message =
            format!("`$wgJobRunRate = {rate}`: page requests run jobs too, which open links of their own");
        let finding = Finding::warning("jobs-on-requests", source, span, message);
        findings
            .push(finding.help("set `$wgJobRunRate = 0;` and run jobs apart: `runbook run schedule-jobs`"));
    }
    let wiki = Wiki {
        persistent: persistent.map(at),
        job_run_rate: rate.map_or(1.0, |(rate, _)| rate),
        job_run_rate_at: rate.map(|(_, span)| at(span)),
    };
    (wiki, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(php: &str) -> (Wiki, Vec<String>) {
        let (wiki, findings) = read(&Source::new("LocalSettings.php", php));
        (
            wiki,
            findings.iter().map(|f| format!("{} {}", f.code, f.source.place(f.fault.span.start).0)).collect(),
        )
    }

    #[test]
    fn what_counts_is_found_at_its_line() {
        let (wiki, told) =
            look("<?php\n$x = 'it # s';\n'flags' => DBO_DEFAULT | DBO_PERSISTENT,\n$wgJobRunRate = 0.5;\n");
        assert_eq!(told, ["persistent-connections 3", "jobs-on-requests 4"]);
        assert_eq!(wiki.persistent.as_deref(), Some("LocalSettings.php:3"));
        assert!((wiki.job_run_rate - 0.5).abs() < f64::EPSILON);
        let (wiki, told) = look("<?php\n$wgDBpersistent = true;\n$wgJobRunRate = 1;\n$wgJobRunRate = 0;\n");
        assert_eq!(told, ["persistent-connections 2"]);
        assert!(wiki.job_run_rate == 0.0 && wiki.job_run_rate_at.as_deref() == Some("LocalSettings.php:4"));
    }

    #[test]
    fn comments_do_not_count() {
        let (wiki, told) =
            look("<?php # DBO_PERSISTENT\n// $wgJobRunRate = 5;\n/* é\nDBO_PERSISTENT */ #[A]\n/* open");
        assert!(told.is_empty() && wiki.persistent.is_none());
        assert!(wiki.job_run_rate_at.is_none() && (wiki.job_run_rate - 1.0).abs() < f64::EPSILON);
        let (_, told) = look("<?php $wgJobRunRate == 5; $wgDBpersistent = false;");
        assert!(told.is_empty(), "{told:?}");
    }
}
