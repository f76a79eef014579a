//! `http`: asks for one page and says what came: status, time, body. A GET without credentials; it changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::page;
use super::param::{Bindings, Param, bind_some};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional, required};
use super::verb::{Action, Done, Next, Output, Preview, Verb};
use crate::health::{Unit, Value, show_seconds};
use crate::platform::{Fault, FaultKind, PageAnswer, PageRound};
use crate::source::Diagnostic;

/// How soon it looks for the answer again.
const LOOK: Duration = Duration::from_millis(100);
/// A page is given ten seconds; a little more, and something else is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ask for one page.
#[derive(Debug)]
pub struct Http {
    url: Param<String>,
    status: Option<Param<u64>>,
    under: Option<Param<Duration>>,
    contains: Option<Param<String>>,
    without: Option<Param<String>>,
}

impl Verb for Http {
    const NAME: &'static str = "http";
    const ABOUT: &'static str = "Ask for one page, as a visitor would, and check its status, time and text. A GET without credentials; redirects are followed on the same host. What is not as expected fails the step.";
    const SHAPE: &'static Shape = &Shape {
        name: "http",
        fields: &[
            required(
                "url",
                Kind::Text,
                "A path of the site, or a whole URL. Another host is named in the plan.",
            ),
            optional("status", Kind::Count, "The status that is expected. Default: any below 400."),
            optional("under", Kind::Duration, "It must be there within this time. Default: 10s."),
            optional("contains", Kind::Text, "A text that must stand in its body (the first 256 KiB)."),
            optional("without", Kind::Text, "A text that must not stand there."),
        ],
        short: Some("url"),
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "status", unit: Unit::Count, about: "its status; none when nothing came" },
        Output { name: "latency", unit: Unit::Duration, about: "time until its body was there" },
        Output { name: "bytes", unit: Unit::Count, about: "bytes of its body, 256 KiB at most" },
        Output {
            name: "exhausted",
            unit: Unit::Truth,
            about: "it failed, and says that the database takes no more connections",
        },
        Output { name: "ok", unit: Unit::Truth, about: "all is as expected" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self {
            url: reading.param("url")?,
            status: reading.param("status"),
            under: reading.param("under"),
            contains: reading.param("contains"),
            without: reading.param("without"),
        })
    }
}

/// The scheme, host and port of a whole URL.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Some(format!("{}://{}", scheme.to_ascii_lowercase(), authority.to_ascii_lowercase()))
}

impl Http {
    fn url(&self) -> String {
        self.url.or("/".to_owned())
    }

    fn is_whole(&self) -> bool {
        self.url().contains("://")
    }

    fn under(&self) -> Option<Duration> {
        self.under.as_ref().map(|under| under.or(Duration::from_secs(10)))
    }

    /// What is not as expected.
    fn unmet(&self, page: &PageAnswer) -> Vec<String> {
        let mut unmet = Vec::new();
        let Some(status) = page.status else {
            return vec![page.why.clone().unwrap_or_else(|| "no answer".to_owned())];
        };
        unmet.extend(page.why.clone());
        match self.status.as_ref().map(|wanted| wanted.or(200)) {
            Some(wanted) if u64::from(status) != wanted => {
                unmet.push(format!("status {status}, not {wanted}"));
            }
            None if status >= 400 => unmet.push(format!("status {status}")),
            _ => {}
        }
        if let Some(under) = self.under()
            && page.took_ms > under.as_secs_f64() * 1000.0
        {
            let (took, under) = (page.took_ms / 1000.0, under.as_secs_f64());
            unmet.push(format!("it took {}, not under {}", show_seconds(took), show_seconds(under)));
        }
        for (text, wanted) in [(&self.contains, true), (&self.without, false)] {
            let Some(text) = text.as_ref().map(|text| text.or(String::new())) else { continue };
            if page.body.contains(&text) != wanted {
                let shown = crate::source::escape_controls(&text).into_owned();
                unmet.push(format!("`{shown}` {} in it", if wanted { "is not" } else { "stands" }));
            }
        }
        unmet
    }

    fn done(&self, page: &PageAnswer) -> Done {
        let unmet = self.unmet(page);
        let took = show_seconds(page.took_ms / 1000.0);
        let mut outputs = BTreeMap::from([
            ("latency".to_owned(), Value::Duration(Some(page.took_ms / 1000.0))),
            ("bytes".to_owned(), Value::Count(page.bytes as f64)),
            ("exhausted".to_owned(), Value::Truth(page.exhausted)),
            ("ok".to_owned(), Value::Truth(unmet.is_empty())),
        ]);
        let summary = match page.status {
            Some(status) => {
                outputs.insert("status".to_owned(), Value::Count(f64::from(status)));
                format!("{status} in {took}, {} bytes", page.bytes)
            }
            None => format!("no answer after {took}"),
        };
        let url = self.url();
        Done {
            unmet: (!unmet.is_empty()).then(|| format!("{url}: {}", unmet.join("; "))),
            notes: if page.exhausted {
                vec!["its body says that the database takes no more connections".to_owned()]
            } else {
                Vec::new()
            },
            summary,
            outputs,
            ..Done::default()
        }
    }
}

impl Action for Http {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        false
    }

    fn only_looks(&self) -> bool {
        true
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        self.url.bind(bindings, &mut faults);
        if let Some(status) = &mut self.status {
            status.bind_within(bindings, &(100..=599), &mut faults);
        }
        if let Some(under) = &mut self.under {
            let most = Duration::from_secs(10);
            under.bind_within(bindings, &(Duration::from_millis(1)..=most), &mut faults);
        }
        bind_some(&mut self.contains, bindings, &mut faults);
        bind_some(&mut self.without, bindings, &mut faults);
        let (url, place) = (self.url(), self.url.text.span);
        let whole = url.starts_with("http://") || url.starts_with("https://");
        if !whole && !url.starts_with('/') {
            let fault =
                Diagnostic::error(place, "a path begins with `/`, a whole URL with `http://` or `https://`");
            faults.push(fault);
        } else if origin(&url).is_some_and(|origin| whole && origin.contains('@')) {
            let fault =
                Diagnostic::error(place, "a login in a URL would stand in the plan and in the journal");
            faults.push(fault.help("ask for a page that needs none"));
        }
        faults
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = (app, bindings);
        vec![page(&self.url.or("/".to_owned()))]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let (url, site) = (self.url(), scene.observer.heroku().pages_url());
        let mut preview = Preview { summary: "ask for one page".to_owned(), ..Preview::default() };
        let shown = match &site {
            Some(site) if !self.is_whole() => format!("{}{url}", site.trim_end_matches('/')),
            _ => url.clone(),
        };
        preview.requests.push(format!("GET {shown}"));
        if !self.is_whole() && site.is_none() {
            preview.warnings.push("pages are not measured in this run: this step will fail".to_owned());
        }
        let other = self.is_whole() && site.as_deref().and_then(origin) != origin(&url);
        if other {
            let host = origin(&url).unwrap_or(url);
            preview
                .warnings
                .push(format!("{host} is not where this app's pages are; it is asked without credentials"));
        }
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let wait = || Next::Wait { awaited: format!("the answer to GET {}", self.url()), again: LOOK };
        if scene.dry {
            return Ok(wait());
        }
        if !self.is_whole() && scene.observer.heroku().pages_url().is_none() {
            let what = format!("asking for {}", self.url());
            return Err(Fault::new(FaultKind::Unsupported, what, "pages are not measured in this run")
                .hint("`--url` or RUNBOOK_APP_URL says where the site answers")
                .into());
        }
        let round = PageRound { began: progress.began, addresses: vec![self.url()], bodies: true };
        Ok(match scene.observer.pages(&round, 1).first() {
            Some(page) => Next::Done(self.done(page)),
            None => wait(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(contains: Option<&str>, without: Option<&str>) -> Http {
        Http {
            url: Param::fixed("/wiki".to_owned()),
            status: None,
            under: Some(Param::fixed(Duration::from_secs(1))),
            contains: contains.map(|text| Param::fixed(text.to_owned())),
            without: without.map(|text| Param::fixed(text.to_owned())),
        }
    }

    #[test]
    fn what_is_not_as_expected_is_said_all_at_once() {
        let page = PageAnswer {
            status: Some(200),
            took_ms: 200.0,
            bytes: 20,
            body: "<h1>Main Page</h1>".into(),
            ..PageAnswer::default()
        };
        assert_eq!(http(Some("Main Page"), Some("Cannot access")).unmet(&page), [""; 0]);
        let slow = PageAnswer { status: Some(503), took_ms: 1500.0, ..page.clone() };
        assert_eq!(
            http(Some("Talk"), Some("Main")).unmet(&slow),
            ["status 503", "it took 1.5s, not under 1s", "`Talk` is not in it", "`Main` stands in it"]
        );
        let silent = PageAnswer { why: Some("no answer within 10 s".into()), ..PageAnswer::default() };
        let done = http(None, None).done(&silent);
        assert_eq!(done.unmet.as_deref(), Some("/wiki: no answer within 10 s"));
        assert_eq!(done.outputs.get("ok"), Some(&Value::Truth(false)));
        assert_eq!(done.outputs.get("status"), None, "what did not come has no status");
        let expected = Http { status: Some(Param::fixed(503)), under: None, ..http(None, None) };
        assert_eq!(expected.unmet(&slow), [""; 0]);
        let cut = PageAnswer { why: Some("cut".into()), ..page };
        assert_eq!(http(None, None).unmet(&cut), ["cut"]);
    }

    #[test]
    fn hosts_are_compared_with_their_port() {
        assert_eq!(origin("HTTPS://Wiki.Example/a?b"), Some("https://wiki.example".to_owned()));
        assert_ne!(origin("http://127.0.0.1:80/"), origin("http://127.0.0.1:81/"));
        assert_eq!(origin("/wiki"), None);
    }
}
