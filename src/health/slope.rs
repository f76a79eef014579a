//! The slope of a series of points: robust against a few wild ones, and zero unless beyond the noise. Pure.

/// Points that a slope needs.
const LEAST: usize = 5;
/// Points that a slope is reckoned from, at most: all pairs of them are looked at.
const AT_MOST: usize = 60;
/// A change over the window below this much is noise: of connections, or of percent.
const NOISE: f64 = 2.0;

/// The Theil–Sen slope of points (x, y), or zero when what it adds up to over the window is within the noise; `None`
/// with fewer than five points.
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let points = thinned(points);
    theil_sen(&points).map(|slope| beyond_noise(&points, slope))
}

/// Every n-th point, so that pairs stay few; the newest is kept.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(AT_MOST).max(1);
    let mut kept: Vec<_> = points.iter().rev().step_by(step).copied().collect();
    kept.reverse();
    kept
}

/// The median of the slopes of all pairs: a few wild points do not move it.
fn theil_sen(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < LEAST {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (index, (x1, y1)) in points.iter().enumerate() {
        for (x2, y2) in &points[index + 1..] {
            if x2 > x1 {
                slopes.push((y2 - y1) / (x2 - x1));
            }
        }
    }
    median(&mut slopes)
}

/// The slope, or zero when what it adds up to over the window is within the noise.
fn beyond_noise(points: &[(f64, f64)], slope: f64) -> f64 {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return 0.0 };
    let mut offsets: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
    let middle = median(&mut offsets).unwrap_or(0.0);
    let mut residuals: Vec<f64> = points.iter().map(|(x, y)| (y - slope * x - middle).abs()).collect();
    let spread = median(&mut residuals).unwrap_or(0.0);
    let change = (slope * (last.0 - first.0)).abs();
    if change > NOISE.max(2.0 * spread) { slope } else { 0.0 }
}

pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    Some(if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_slope_of_a_line_is_found_whatever_a_third_of_the_points_say(
            slope in -5.0f64..5.0,
            wild in proptest::collection::vec(-1000.0f64..1000.0, 6),
        ) {
            let mut points: Vec<(f64, f64)> = (0..30).map(|x| (f64::from(x), slope * f64::from(x))).collect();
            for (index, value) in wild.iter().enumerate() {
                points[index * 5].1 = *value;
            }
            let found = theil_sen(&points).unwrap();
            prop_assert!((found - slope).abs() < 1.0, "{found} for {slope}");
        }
    }
}
