//! A sparkline of ratios.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One bar a value, 0 to 1; an unknown one is a dot.
pub(crate) fn spark(values: impl IntoIterator<Item = Option<f64>>) -> String {
    values
        .into_iter()
        .map(|value| match value {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=7")]
            Some(value) => BARS[((value.clamp(0.0, 1.0) * 8.0) as usize).min(7)],
            None => '·',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn bars_rise_with_the_value() {
        assert_eq!(super::spark([Some(0.0), Some(0.5), None, Some(1.0), Some(7.0)]), "▁▅·██");
    }
}
