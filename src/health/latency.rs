//! Latencies of pages: percentiles, and whether one lot is faster than another beyond chance. Pure; it must never count
//! a page that failed: what was not answered has no latency.

/// Pages on each side below which no comparison is made.
const COMPARABLE: usize = 10;
/// From here on chance alone is no explanation: one time in a hundred, two-sided.
const SURE: f64 = 2.576;
/// A difference of the medians below this share, or below this time, is not felt.
const FELT_SHARE: f64 = 0.10;
const FELT_MS: f64 = 50.0;
/// The slowest pages are slower: 95th percentile.
const TAIL_SHARE: f64 = 0.50;
const TAIL_MS: f64 = 100.0;

/// How one lot of latencies compares with an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Faster, beyond chance, and the slowest are not slower.
    Faster,
    /// Slower, beyond chance and by so much that it is felt.
    Slower,
    /// The middle is no slower, and the slowest pages are.
    Tail,
    /// No difference beyond chance.
    Same,
    /// Too few pages on one side.
    TooFew,
}

/// The value that this share of the latencies does not exceed (nearest rank); `None` of none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the list")]
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// Compares latencies, in milliseconds: the rank test of Mann and Whitney decides whether there is a difference at all,
/// the medians whether it is felt.
pub fn compare(before: &[f64], after: &[f64]) -> Pace {
    if before.len() < COMPARABLE || after.len() < COMPARABLE {
        return Pace::TooFew;
    }
    let at = |values: &[f64], share| percentile(values, share).unwrap_or(0.0);
    let (p50, p50_now) = (at(before, 0.5), at(after, 0.5));
    let (p95, p95_now) = (at(before, 0.95), at(after, 0.95));
    let sure = rank_test(before, after);
    let tail = p95_now > p95 * (1.0 + TAIL_SHARE) && p95_now > p95 + TAIL_MS;
    if sure >= SURE && p50_now > p50 * (1.0 + FELT_SHARE) && p50_now > p50 + FELT_MS {
        Pace::Slower
    } else if tail {
        Pace::Tail
    } else if sure <= -SURE && p50_now < p50 * (1.0 - FELT_SHARE) {
        Pace::Faster
    } else {
        Pace::Same
    }
}

/// The test's z, ties counted: positive when `after` tends to be larger.
fn rank_test(before: &[f64], after: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = before.iter().map(|value| (*value, false)).collect();
    all.extend(after.iter().map(|value| (*value, true)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut ranks, mut ties, mut from) = (0.0, 0.0, 0);
    while from < all.len() {
        let same = all[from..].iter().take_while(|(value, _)| value.total_cmp(&all[from].0).is_eq()).count();
        let rank = from as f64 + f64::midpoint(same as f64, 1.0);
        ranks += rank * all[from..from + same].iter().filter(|(_, after)| *after).count() as f64;
        ties += (same as f64).powi(3) - same as f64;
        from += same;
    }
    let (first, second) = (before.len() as f64, after.len() as f64);
    let count = first + second;
    let surplus = ranks - second * (second + 1.0) / 2.0 - first * second / 2.0;
    let variance = first * second / 12.0 * (count + 1.0 - ties / (count * (count - 1.0)));
    if variance > 0.0 { surplus / variance.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Latencies round `middle`, spread by a third, the same each time.
    fn round(middle: f64, count: usize) -> Vec<f64> {
        (0..count).map(|index| middle * (0.85 + 0.3 * ((index * 7) % 10) as f64 / 9.0)).collect()
    }

    #[test]
    fn a_difference_must_be_sure_and_felt() {
        for (before, after, pace) in [
            (round(400.0, 30), round(100.0, 30), Pace::Faster),
            (round(100.0, 30), round(400.0, 30), Pace::Slower),
            (round(100.0, 30), round(103.0, 30), Pace::Same),
            // Sure, and nobody feels it.
            (round(8.0, 30), round(16.0, 30), Pace::Same),
            (round(100.0, 9), round(400.0, 30), Pace::TooFew),
            (round(100.0, 30), Vec::new(), Pace::TooFew),
            (vec![100.0; 30], vec![100.0; 30], Pace::Same),
        ] {
            assert_eq!(compare(&before, &after), pace, "{before:?} {after:?}");
        }
        let mut tail = round(100.0, 30);
        tail[3] = 900.0;
        tail[4] = 900.0;
        assert_eq!(compare(&round(100.0, 30), &tail), Pace::Tail);
    }

    #[test]
    fn percentiles_are_ranks() {
        let values: Vec<f64> = (1..=30).map(f64::from).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.95)), (Some(15.0), Some(29.0)));
        assert_eq!((percentile(&[7.0], 0.95), percentile(&[], 0.5)), (Some(7.0), None));
    }

    proptest! {
        #[test]
        fn what_is_swapped_is_reversed(
            before in proptest::collection::vec(1.0f64..500.0, 10..40),
            after in proptest::collection::vec(1.0f64..500.0, 10..40),
        ) {
            let there = rank_test(&before, &after);
            prop_assert!((there + rank_test(&after, &before)).abs() < 1e-9);
            prop_assert!(rank_test(&before, &before).abs() < 1e-9);
        }
    }
}
