//! `sql`: one question to the database that is known by name. It reads only; there is no way to send SQL of one's own.

use std::collections::BTreeMap;

use super::by_hand::sql;
use super::param::{Bindings, Param};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, required};
use super::verb::{Action, Done, Next, Output, Preview, Verb};
use crate::health::{Unit, Value};
use crate::platform::{Answer, Fault, FaultKind, NamedQuery};
use crate::source::{Diagnostic, Spanned};

/// Names of the questions.
const NAMES: [&str; NamedQuery::ALL.len()] = {
    let mut names = [""; NamedQuery::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = NamedQuery::ALL[index].name();
        index += 1;
    }
    names
};

/// Ask the database a question that is known by name.
#[derive(Debug)]
pub struct Sql {
    query: Param<String>,
}

impl Verb for Sql {
    const NAME: &'static str = "sql";
    const ABOUT: &'static str = "Ask the database one question that is known by name; read-only, 500 ms and 20 rows at most, statements without their literals. SQL of one's own cannot be sent.";
    const SHAPE: &'static Shape = &Shape {
        name: "sql",
        fields: &[required("query", Kind::Choice(&NAMES), "Which.")],
        short: Some("query"),
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "rows", unit: Unit::Count, about: "rows of the answer, 20 at most" },
        Output {
            name: "value",
            unit: Unit::Count,
            about: "the one number that it comes down to: sessions, seconds, jobs, megabytes",
        },
        Output { name: "first", unit: Unit::Text, about: "the first row, its cells separated by blanks" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self { query: reading.param("query")? })
    }
}

impl Sql {
    fn query(&self) -> Option<NamedQuery> {
        NamedQuery::named(&self.query.or(String::new()))
    }

    fn asked(&self) -> Result<NamedQuery, Failure> {
        let what = format!("asking for {}", self.query.or(String::new()));
        self.query()
            .ok_or_else(|| Fault::new(FaultKind::Unsupported, what, "no question has this name").into())
    }
}

/// The answer as lines: columns as wide as their widest cell.
fn lines(answer: &Answer) -> Vec<String> {
    let rows: Vec<&Vec<String>> = std::iter::once(&answer.columns).chain(&answer.rows).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..answer.columns.len()).map(width).collect();
    let line = |row: &&Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count()))))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

impl Action for Sql {
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
        self.query.bind(bindings, &mut faults);
        if faults.is_empty() && self.query().is_none() {
            let name = Spanned::new(self.query.or(String::new()), self.query.text.span);
            if name.trim().contains(char::is_whitespace) {
                let fault =
                    Diagnostic::error(name.span, "SQL of one's own cannot be sent: questions have names");
                faults.push(fault.help(format!("names: {}", NAMES.join(", "))));
            } else {
                faults.push(crate::source::unknown(&name, &NAMES, "question"));
            }
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = (app, bindings);
        self.query().map(|query| sql(&query.statement())).into_iter().collect()
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let query = self.asked()?;
        let mut preview = Preview {
            summary: format!("ask the database for {} (reads only)", query.name()),
            details: vec![query.about().to_owned()],
            ..Preview::default()
        };
        if scene.observer.database().is_none() {
            preview.warnings.push("the database is not asked in this run: this step will fail".to_owned());
        }
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, _: &Progress) -> Result<Next, Failure> {
        let query = self.asked()?;
        let database = scene.observer.database().ok_or_else(|| {
            let what = format!("asking for {}", query.name());
            Fault::new(
                FaultKind::Unsupported,
                what,
                "the run was told not to use the database (--no-database)",
            )
        })?;
        let answer = database.answer(query).map_err(|fault| match fault.kind {
            FaultKind::Forbidden => fault.hint("this account may not see that (it needs PROCESS, which hosted plans often withhold): ask another question, or an administrator"),
            _ => fault,
        })?;
        let count = answer.rows.len();
        let first = answer.rows.first().map(|row| row.join(" ")).unwrap_or_default();
        Ok(Next::Done(Done {
            summary: format!("{}: {} ({count} rows)", query.name(), Value::Count(answer.value)),
            outputs: BTreeMap::from([
                ("rows".to_owned(), Value::Count(count as f64)),
                ("value".to_owned(), Value::Count(answer.value)),
                ("first".to_owned(), Value::Text(first)),
            ]),
            notes: if count == 0 { Vec::new() } else { lines(&answer) },
            ..Done::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_table() {
        let answer = Answer {
            columns: vec!["user".into(), "sessions".into()],
            rows: vec![vec!["wiki".into(), "12".into()], vec!["größer".into(), "1".into()]],
            value: 13.0,
        };
        assert_eq!(lines(&answer), ["user    sessions", "wiki    12", "größer  1"]);
    }
}
