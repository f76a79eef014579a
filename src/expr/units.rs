//! Units as people write them: `40%`, `30s`, `1m30s`.

use std::time::Duration;

/// Reads a ratio: `40%` is 0.4.
///
/// # Errors
/// Says in words what is wrong with the text.
pub fn parse_ratio(text: &str) -> Result<f64, String> {
    let Some(number) = text.trim().strip_suffix('%') else {
        return Err(format!("`{text}` is not a ratio: write it with a percent sign, such as `40%`"));
    };
    let number = parse_number(number)?;
    Ok(number / 100.0)
}

/// Reads a number that is not negative.
///
/// # Errors
/// Says in words what is wrong with the text.
pub fn parse_number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    match text.parse::<f64>() {
        Ok(number) if plain && number.is_finite() => Ok(number),
        _ if text.starts_with('-') => {
            Err(format!("`{text}` is negative; only zero and above make sense here"))
        }
        _ => Err(format!("`{text}` is not a number")),
    }
}

/// Reads a duration: `500ms`, `30s`, `1m30s`, `1h 30m`, `2d`.
///
/// # Errors
/// Says in words what is wrong with the text: a bare number, a month, a sign.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let whole = text.trim();
    if whole.starts_with('-') {
        return Err(format!("`{text}` is negative; a duration is zero or more"));
    }
    let mut rest = whole;
    let mut total = 0.0;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(format!(
                "`{text}` is not a duration: write a number and a unit, such as `30s` or `1m30s`"
            ));
        }
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "" => {
                return Err(format!(
                    "`{text}` has no unit: write `{number}s` for seconds or `{number}m` for minutes"
                ));
            }
            "mo" | "y" | "w" => {
                return Err(format!("`{text}`: `{unit}` is not used; write days, `{number}d`"));
            }
            _ => return Err(format!("`{text}`: `{unit}` is no unit of time; use ms, s, m, h or d")),
        };
        total += parse_number(number)? * seconds;
        parts += 1;
        rest = tail.trim_start();
    }
    if parts == 0 {
        return Err("a duration is missing: write a number and a unit, such as `30s`".to_owned());
    }
    Duration::try_from_secs_f64(total)
        .ok()
        .filter(|time| time.as_secs() < 366 * 86_400)
        .ok_or_else(|| format!("`{text}` is longer than a year"))
}

/// Writes a ratio so that [`parse_ratio`] reads the same number: `40%`, `12.5%`. Nothing is rounded away.
pub fn write_ratio(ratio: f64) -> String {
    let percent = ratio * 100.0;
    let exact = (0..=17)
        .map(|digits| format!("{percent:.digits$}"))
        .find(|text| text.parse::<f64>().is_ok_and(|number| (number / 100.0).to_bits() == ratio.to_bits()));
    format!("{}%", exact.unwrap_or_else(|| percent.to_string()))
}

/// Writes seconds so that [`parse_duration`] reads the same time: `30s`, `1m30s`, `350ms`, `1h`.
pub fn write_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "no end".to_owned();
    }
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds < 1.0 && (seconds * 1000.0).fract() == 0.0 {
        return format!("{}ms", seconds * 1000.0);
    }
    if seconds.fract() != 0.0 || seconds > 1e12 {
        return format!("{seconds}s");
    }
    let (hours, minutes, rest) =
        ((seconds / 3600.0).floor(), (seconds / 60.0).floor() % 60.0, seconds % 60.0);
    [(hours, "h"), (minutes, "m"), (rest, "s")]
        .into_iter()
        .filter(|(number, _)| *number > 0.0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_written_as_people_do() {
        for (seconds, text) in
            [(30.0, "30s"), (90.0, "1m30s"), (0.35, "350ms"), (3600.0, "1h"), (0.0, "0s"), (1.5, "1.5s")]
        {
            assert_eq!(write_duration(seconds), text);
        }
        for (ratio, text) in [(0.4, "40%"), (0.125, "12.5%"), (0.07, "7%"), (1.0, "100%"), (0.0, "0%")] {
            assert_eq!(write_ratio(ratio), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(percent in 0_u32..1_000_000, millis in 0_u64..1_000_000_000) {
            let ratio = parse_ratio(&format!("{}%", f64::from(percent) / 1000.0)).unwrap();
            prop_assert_eq!(parse_ratio(&write_ratio(ratio)), Ok(ratio));
            let time = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&write_duration(time.as_secs_f64())), Ok(time));
        }

        #[test]
        fn readers_of_units_never_panic(text in "\\PC{0,20}", odd in "[0-9.smhd% -]{0,12}") {
            for text in [text, odd] {
                let _ = (parse_ratio(&text), parse_number(&text), parse_duration(&text));
            }
        }
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1h 30m", 5_400_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["90", "1mo", "-3s", "", "s", "3 apples", "3s!", "99999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("90").is_err_and(|why| why.contains("`90s`")));
    }

    #[test]
    fn ratios_have_a_percent_sign() {
        assert_eq!(parse_ratio("40%"), Ok(0.4));
        assert!(parse_ratio("0.4").is_err_and(|why| why.contains("percent")));
        assert!(parse_ratio("-4%").is_err_and(|why| why.contains("negative")));
        assert!(parse_ratio("NaN%").is_err());
    }
}
