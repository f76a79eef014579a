//! The format's JSON schema and reference page, generated from the tables it is read by.

use serde_json::{Value as Json, json};

use super::after_care::AFTER_CARE;
use super::notify::SINK;
use super::runbook::{HEALTH, RUNBOOK};
use super::step::{GATE, INCLUDE, LADDER, RETRY, STEP};
use crate::action::{INPUT, VERBS};
use crate::guard::RUNBOOK_PART;
use crate::health::Metric;

/// The JSON schema of a runbook file, for editors.
pub fn json_schema() -> Json {
    let mut step = STEP.schema();
    let mut one_of = Vec::new();
    let verbs = VERBS.iter().map(|entry| (entry.name, entry.about, entry.shape.schema()));
    let ladder = ("ladder", LADDER_ABOUT, LADDER.schema());
    let include = ("include", INCLUDE_ABOUT, INCLUDE.schema());
    for (name, about, mut schema) in verbs.chain([ladder, include]) {
        schema["description"] = json!(about);
        step["properties"][name] = schema;
        one_of.push(json!({ "required": [name] }));
    }
    step["oneOf"] = json!(one_of);
    step["additionalProperties"] = json!(false);
    let mut schema = RUNBOOK.schema();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("runbook");
    schema["properties"]["runbook"] = json!({ "const": 1, "description": "Version of the format." });
    schema["$defs"] = json!({ "step": step, "gate": GATE.schema() });
    schema
}

/// The reference page of the format, in Markdown.
pub fn format_page() -> String {
    let mut out = String::from(INTRODUCTION);
    out.push_str("\n## The file\n\n");
    out.push_str(&RUNBOOK.table());
    out.push_str("\n### inputs\n\n");
    out.push_str(&INPUT.table());
    out.push_str("\n### health\n\n");
    out.push_str(&HEALTH.table());
    out.push_str("\n### guardrails\n\n");
    out.push_str(&RUNBOOK_PART.table());
    out.push_str("\n### after_care\n\n");
    out.push_str(&AFTER_CARE.table());
    out.push_str("\n### notify\n\n");
    out.push_str(&SINK.table());
    out.push_str("\n## A step\n\nOne verb and these keys:\n\n");
    out.push_str(&STEP.table());
    out.push_str("\n### gate\n\nOne condition, or `before` and `after`, or `none` with a reason (beside `before` if need be).\n\n");
    out.push_str(&GATE.table());
    out.push_str("\n### retry\n\n");
    out.push_str(&RETRY.table());
    out.push_str("\n## Verbs\n\n| verb | |\n|---|---|\n");
    for (name, about) in VERBS
        .iter()
        .map(|entry| (entry.name, entry.about))
        .chain([("ladder", LADDER_ABOUT), ("include", INCLUDE_ABOUT)])
    {
        out.push_str(&format!("| [`{name}`](#{name}) | {} |\n", cell(about)));
    }
    for entry in VERBS {
        out.push_str(&format!("\n### {}\n\n{}\n\n", entry.name, entry.about));
        if entry.shape.fields.is_empty() {
            out.push_str("It takes no keys.\n");
        } else {
            out.push_str(&entry.shape.table());
        }
        if !entry.outputs.is_empty() {
            out.push_str("\n| output | unit | |\n|---|---|---|\n");
            for output in entry.outputs {
                out.push_str(&format!(
                    "| `{}` | {} | {} |\n",
                    output.name,
                    output.unit.word(),
                    cell(output.about)
                ));
            }
        }
    }
    out.push_str(&format!("\n### ladder\n\n{LADDER_ABOUT} A rung that fails, cannot connect or finds nothing to do passes to the next at once.\n\n"));
    out.push_str(&LADDER.table());
    out.push_str(&format!("\n### include\n\n{INCLUDE_ABOUT} They are called `ID-STEP`, where ID is this step's `id` or the runbook's name; a later condition reads `steps.ID-STEP.OUTPUT`, and `--skip ID` leaves all of them out. One run has one meaning of `healthy`: the including runbook's. Limits add up: guardrails and deadlines of both count, the tighter one wins. What the other watches for after its end (`after_care`) and whom it tells (`notify`) do not come along.\n\n"));
    out.push_str(&INCLUDE.table());
    out.push_str("\n## Names in conditions\n\n| name | unit | |\n|---|---|---|\n");
    for metric in Metric::ALL {
        out.push_str(&format!(
            "| `{}` | {} | {} |\n",
            metric.name(),
            metric.unit().word(),
            cell(metric.about())
        ));
    }
    out.push_str(
        "| `healthy` | truth | the condition of the `health` section; `live` is always part of it |\n\
         | `inputs.NAME` | the input's | the input's value; `${{ inputs.NAME }}` is the same |\n\
         | `steps.ID.OUTPUT` | the output's | what an earlier step found; unknown when it did not run |\n\
         | `item` | text | in a step with `for_each`, the item |\n",
    );
    out
}

const INCLUDE_ABOUT: &str = "The steps of another runbook, in this place.";
const LADDER_ABOUT: &str = "Rungs, mildest first; the first after which the condition holds ends it.";

/// A text inside a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const INTRODUCTION: &str = "# The runbook format

<!-- Generated by `runbook schema --markdown`; a test fails when this file differs. Do not edit it by hand. -->

A runbook is one YAML file. It is read by tables from which this page and the JSON schema (`runbook schema`,
[runbook.schema.json](runbook.schema.json)) are generated too. Keys that are not listed here are refused, with a
suggestion; every fault of a file is told at once, each with its line and column (`runbook check FILE`).

- **Values.** A ratio has a percent sign (`40%`), a duration a unit (`500ms`, `30s`, `1m30s`, `2h`, `1d`), a count is a
  whole number. Values are read as they are written: an unquoted `1.10` stays `1.10`, and only `true` and `false` are
  truths, not `yes` or `no`. Anchors, aliases and merge keys work; tags (`!name`) are refused.
- **Templates.** `${{ inputs.NAME }}` puts an input in, before the run. Conditions and messages (a `confirm`'s question,
  a `check`'s or commit's message, the arguments of `run`) may also read `${{ steps.ID.OUTPUT }}` and metrics; what a
  step acts on never can. `$${{` stands for the signs themselves.
- **Conditions** compare like with like: `usage < 40% and refused == 0 and live`. They have `and`, `or`, `not`,
  parentheses, `< <= > >= == !=`, texts in quotes, and the names at the end of this page. What they mean, and what gates
  do with them, is in [gates.md](gates.md).
";
