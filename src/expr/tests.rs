//! Tests of the condition language.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::health::{Metric, Unit, Value};

struct World {
    values: BTreeMap<&'static str, Value>,
    healthy: Option<Expr>,
}

impl Env for World {
    fn value(&self, path: &str) -> Option<Value> {
        self.values.get(path).cloned()
    }
    fn condition(&self, path: &str) -> Option<&Expr> {
        if path == "healthy" { self.healthy.as_ref() } else { None }
    }
    fn parts(&self, path: &str) -> &'static [&'static str] {
        if path == "live" { &["dynos.up", "pages.ok"] } else { &[] }
    }
}

struct Names;

impl Scope for Names {
    fn unit_of(&self, path: &str) -> Option<Unit> {
        match path {
            "healthy" => Some(Unit::Truth),
            "inputs.limit" => Some(Unit::Ratio),
            "steps.kill-idle.killed" => Some(Unit::Count),
            "steps.look.verdict" => Some(Unit::Text),
            _ => Metric::named(path).map(Metric::unit),
        }
    }
    fn names(&self) -> Vec<String> {
        Metric::ALL.iter().map(|metric| metric.name().to_owned()).chain(["healthy".to_owned()]).collect()
    }
}

fn world(values: &[(&'static str, Value)]) -> World {
    World { values: values.iter().cloned().collect(), healthy: None }
}

fn truth(text: &str, env: &World) -> Truth {
    Expr::parse(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}")).evaluate(env).truth
}

#[test]
fn comparisons_and_words() {
    let env = world(&[
        ("usage", Value::Ratio(0.52)),
        ("refused", Value::Count(0.0)),
        ("live", Value::Truth(true)),
        ("time_to_full", Value::Duration(None)),
        ("growth", Value::Rate(0.0)),
        ("steps.look.verdict", Value::Text("leak".into())),
        ("steps.kill-idle.killed", Value::Count(12.0)),
        ("inputs.limit", Value::Ratio(0.6)),
    ]);
    for (text, expected) in [
        ("usage < 60%", Truth::True),
        ("usage < 40%", Truth::False),
        ("usage < 40% or refused == 0 and live", Truth::True),
        ("not (usage < 40%) and not not live", Truth::True),
        ("time_to_full > 1h", Truth::True),
        ("growth <= 0", Truth::True),
        ("steps.look.verdict == 'leak'", Truth::True),
        ("steps.kill-idle.killed > 0", Truth::True),
        ("usage < ${{ inputs.limit }}", Truth::True),
        ("live == true", Truth::True),
        ("used < 10", Truth::Unknown),
        ("used < 10 and usage < 40%", Truth::False),
        ("used < 10 or usage < 60%", Truth::True),
        ("not used < 10", Truth::Unknown),
    ] {
        assert_eq!(truth(text, &env), expected, "{text}");
    }
}

#[test]
fn clauses_say_what_was_measured() {
    let env = world(&[("usage", Value::Ratio(0.97))]);
    let seen = Expr::parse("usage < 40% and live").unwrap().evaluate(&env);
    let told: Vec<_> = seen.clauses.iter().map(|c| (c.text.as_str(), c.reads.as_str(), c.truth)).collect();
    assert_eq!(told, [("usage < 40%", "usage 97%", Truth::False), ("live", "live unknown", Truth::Unknown)]);
}

#[test]
fn a_name_that_does_not_hold_says_what_it_is_made_of() {
    let reads = |live: bool| {
        let env = world(&[("live", Value::Truth(live)), ("pages.ok", Value::Ratio(0.0))]);
        Expr::parse("live").unwrap().evaluate(&env).clauses[0].reads.clone()
    };
    assert_eq!(reads(false), "live false, pages.ok 0%", "what is not measured is left out");
    assert_eq!(reads(true), "live true");
}

#[test]
fn named_conditions_unfold_and_do_not_loop() {
    let mut env = world(&[("live", Value::Truth(true))]);
    env.healthy = Some(Expr::parse("live").unwrap());
    assert_eq!(truth("healthy", &env), Truth::True);
    env.healthy = Some(Expr::parse("healthy").unwrap());
    assert_eq!(truth("healthy", &env), Truth::Unknown);
}

#[test]
fn faults_are_found_before_the_run_with_place_and_remedy() {
    for (text, place, words) in [
        ("usage < 40", "usage < 40", "40%"),
        ("usgae < 40%", "usgae", "did you mean `usage`"),
        ("time_to_full > 1", "time_to_full > 1", "1s"),
        ("usage", "usage", "not true or false"),
        ("live > true", "live > true", "orders nothing"),
        ("steps.look.verdict == 3", "steps.look.verdict == 3", "a text is compared with a count"),
    ] {
        let faults = Expr::parse(text).unwrap().check(&Names);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        let told = format!("{} {}", faults[0].message, faults[0].help.join(" "));
        assert!(told.contains(words), "{text}: {told}");
        assert_eq!(&text[faults[0].span.start..faults[0].span.end], place, "{text}");
    }
    for (text, words) in [
        ("usage < 40% && live", "`and`"),
        ("usage = 40%", "`==`"),
        ("usage < 40% live", "join"),
        ("1 < used < 3", "chain"),
        ("(usage < 40%", "`)`"),
        ("", "empty"),
        ("usage <", "ends too early"),
        ("usage < 40 %", "without a space"),
        ("usage < 40apples", "no unit of time"),
        ("'open", "not closed"),
    ] {
        let faults = Expr::parse(text).expect_err(text);
        let told = format!("{} {}", faults[0].message, faults[0].help.join(" "));
        assert!(told.contains(words), "{text}: {told}");
    }
}

#[test]
fn bound_conditions_show_exactly_what_is_compared() {
    let env = world(&[
        ("inputs.limit", Value::Ratio(0.125)),
        ("inputs.soak", Value::Duration(Some(90.5))),
        ("inputs.word", Value::Text("leak".into())),
    ]);
    let bound = |text: &str| Expr::parse(text).unwrap().bound(&env).to_string();
    assert_eq!(bound("usage < ${{ inputs.limit }}"), "usage < 12.5%");
    assert_eq!(bound("time_to_full > inputs.soak"), "time_to_full > 90.5s");
    assert_eq!(bound("steps.look.verdict == ${{inputs.word}}"), "steps.look.verdict == 'leak'");
}

#[test]
fn what_cannot_be_measured_is_left_out() {
    let dropped = |name: &str| matches!(name, "usage" | "refused");
    for (text, left) in [
        ("usage < 40% and refused == 0 and live", Some("live")),
        ("(usage < 40% or dynos.up > 0) and live", Some("dynos.up > 0 and live")),
        ("(used < 3 or dynos.up > 0) and live", Some("(used < 3 or dynos.up > 0) and live")),
        ("live or (usage >= 90% and dynos.up > 0)", Some("live")),
        ("live or dynos.up > 0 or usage < 40%", Some("live or dynos.up > 0")),
        ("not (usage < 40% or live)", None),
        ("usage < 40%", None),
    ] {
        let told = Expr::parse(text).unwrap().without(&dropped).map(|expr| expr.to_string());
        assert_eq!(told.as_deref(), left, "{text}");
    }
}

#[test]
fn what_a_condition_demands() {
    for (text, demanded) in [
        ("live", true),
        ("usage < 40% and live", true),
        ("live or usage < 40%", false),
        ("live and usage < 1% or live", true),
        ("not live", false),
        ("live == true", false),
    ] {
        assert_eq!(Expr::parse(text).unwrap().demands("live"), demanded, "{text}");
    }
}

#[test]
fn templates_fill_and_refuse() {
    let env = world(&[("inputs.limit", Value::Ratio(0.4))]);
    let template = Template::parse("below ${{ inputs.limit }}, $${{ kept }}").unwrap();
    assert_eq!(template.fill(&env), "below 40%, ${{ kept }}");
    assert_eq!(template.names().collect::<Vec<_>>(), ["inputs.limit"]);
    assert!(Template::parse("${{ a b }}").is_err());
    assert!(Template::parse("${{ open").is_err());
    assert_eq!(Template::parse("${{ inputs.nope }}").unwrap().check(&Names).len(), 1);
}

fn any_truth() -> impl Strategy<Value = Truth> {
    prop_oneof![Just(Truth::True), Just(Truth::False), Just(Truth::Unknown)]
}

proptest! {
    #[test]
    fn the_parser_never_panics(text in "\\PC{0,80}") {
        let _ = Expr::parse(&text);
        let _ = Template::parse(&text);
    }

    #[test]
    fn words_in_any_order_never_panic(words in proptest::collection::vec(
        prop_oneof![Just("usage"), Just("<"), Just("40%"), Just("and"), Just("or"), Just("not"), Just("("), Just(")"), Just("live"), Just("${{ inputs.x }}"), Just("3s")], 0..14)
    ) {
        if let Ok(expr) = Expr::parse(&words.join(" ")) {
            // What is shown reads back as the same condition.
            prop_assert_eq!(&Expr::parse(&expr.to_string()).unwrap(), &expr);
            // What is printed from the tree means the same.
            let printed = expr.and(&Expr::parse("live").unwrap());
            let again = Expr::parse(&printed.to_string()).unwrap();
            prop_assert_eq!(again.and(&expr).to_string(), printed.and(&expr).to_string());
            let env = world(&[("usage", Value::Ratio(0.3))]);
            prop_assert_eq!(again.evaluate(&env).truth, printed.evaluate(&env).truth);
        }
    }

    #[test]
    fn unknown_never_opens_what_known_values_would_not(a in any_truth(), b in any_truth()) {
        let mut env = world(&[]);
        for (name, truth) in [("live", a), ("healthy", b)] {
            match truth {
                Truth::True => { env.values.insert(name, Value::Truth(true)); }
                Truth::False => { env.values.insert(name, Value::Truth(false)); }
                Truth::Unknown => {}
            }
        }
        if a == Truth::Unknown || b == Truth::Unknown {
            prop_assert_ne!(truth("live and healthy", &env), Truth::True);
        }
        let either = truth("live or healthy", &env);
        let by_de_morgan = truth("not (not live and not healthy)", &env);
        prop_assert_eq!(either, by_de_morgan);
    }
}
