//! What an add-on costs, and who has agreed to it. It must never let a price pass that is higher than what was agreed to,
//! or that nobody was told.

use super::scene::{Failure, Scene};
use super::verb::Consent;
use crate::platform::{AddonPlan, Fault, FaultKind, Price, dollars};

/// What is agreed to beforehand: at most this many cents a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bound(Option<u64>);

impl Bound {
    /// `$50`, `50`, `2.50`; nothing, or 0, agrees to nothing.
    ///
    /// # Errors
    /// In words.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is no amount of dollars");
        let bare = text.trim().trim_start_matches('$');
        if bare.is_empty() {
            return Ok(Self::default());
        }
        let (whole, rest) = bare.split_once('.').unwrap_or((bare, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 7 || rest.len() > 2 || !digits(whole) || !digits(rest) {
            return Err(fault());
        }
        let whole: u64 = whole.parse().map_err(|_| fault())?;
        let rest: u64 = format!("{rest:0<2}").parse().map_err(|_| fault())?;
        Ok(Self(Some(whole * 100 + rest).filter(|cents| *cents > 0)))
    }
}

/// The question that the price raises; `None` when it is free or within what was agreed to.
///
/// # Errors
/// It costs more than what was agreed to.
pub(super) fn consent(
    what: &str,
    plan: &AddonPlan,
    now: Option<&AddonPlan>,
    bound: Bound,
) -> Result<Option<Consent>, Failure> {
    if plan.price.as_ref().is_some_and(Price::is_free) {
        return Ok(None);
    }
    let monthly = plan.price.as_ref().and_then(Price::monthly);
    if let (Some(most), Some(cents)) = (bound.0, monthly) {
        if cents <= most {
            return Ok(None);
        }
        let why = format!(
            "{} costs {}, more than the {} a month that are agreed to",
            plan.name,
            plan.costs(),
            dollars(most)
        );
        return Err(Fault::new(FaultKind::Refused, what, why)
            .hint("agree to more with `up_to`, or choose a smaller plan")
            .into());
    }
    let now = now.map_or(String::new(), |now| format!(", and {} costs {} now", now.name, now.costs()));
    let otherwise = match monthly {
        Some(cents) => format!("up_to: {}", dollars(cents)),
        // No bound can cover what is not said in dollars a month.
        None => "up_to: $… of a plan that is priced by the month".to_owned(),
    };
    Ok(Some(Consent { question: format!("{} costs {}{now}", plan.name, plan.costs()), otherwise }))
}

/// Whether it was agreed to as it is now: a price that has changed since raises another question.
///
/// # Errors
/// It was not.
pub(super) fn agreed(scene: &Scene<'_>, what: &str, consent: Option<Consent>) -> Result<(), Failure> {
    match consent {
        Some(consent) if !scene.run.consents.contains(&consent.question) => Err(Fault::new(
            FaultKind::Refused,
            what,
            format!("nobody has agreed to this: {}", consent.question),
        )
        .hint(format!("answer at a terminal, or write `{}`", consent.otherwise))
        .into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(cents: u64, unit: &str, contract: bool) -> AddonPlan {
        AddonPlan {
            name: "db:large".into(),
            human_name: String::new(),
            price: Some(Price { cents, unit: unit.into(), contract }),
            state: "ga".into(),
        }
    }

    #[test]
    fn bounds_are_dollars() {
        for (text, cents) in [
            ("$50", Some(Some(5000))),
            ("50", Some(Some(5000))),
            ("2.5", Some(Some(250))),
            ("$2.05", Some(Some(205))),
            ("", Some(None)),
            ("0", Some(None)),
            ("fifty", None),
            ("-5", None),
            ("1.234", None),
            ("$", Some(None)),
            ("99999999", None),
        ] {
            assert_eq!(Bound::read(text).ok().map(|bound| bound.0), cents, "{text}");
        }
    }

    #[test]
    fn a_price_passes_free_or_within_the_bound_and_is_asked_about_or_refused_otherwise() {
        let bound = |text| Bound::read(text).unwrap();
        let told = |plan: &AddonPlan, up_to| match consent("buying", plan, None, bound(up_to)) {
            Ok(None) => "passes".to_owned(),
            Ok(Some(consent)) => format!("{} | {}", consent.question, consent.otherwise),
            Err(failure) => failure.fault.why,
        };
        assert_eq!(told(&plan(0, "month", false), ""), "passes");
        assert_eq!(told(&plan(5000, "month", false), "$50"), "passes");
        assert_eq!(told(&plan(5000, "month", false), ""), "db:large costs $50 a month | up_to: $50");
        assert!(told(&plan(5001, "month", false), "$50").contains("more than the $50 a month"));
        // What is not said in dollars a month is within no bound.
        assert!(told(&plan(1, "hour", false), "$50").contains("priced by the month"));
        assert!(told(&plan(0, "month", true), "$50").contains("by contract"));
        assert!(told(&AddonPlan { price: None, ..plan(0, "month", false) }, "$50").contains("does not tell"));
        let dearer = consent("x", &plan(200, "month", false), Some(&plan(100, "month", false)), bound(""));
        assert!(dearer.unwrap().unwrap().question.ends_with("costs $1 a month now"));
    }
}
