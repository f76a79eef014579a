//! "did you mean": the nearest known word, when it is near enough to be helpful.

/// The nearest of `known` to `word`, if it is close.
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let folded = word.to_lowercase().replace('-', "_");
    let most = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase().replace('-', "_")), candidate)
        })
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let verbs = ["restart", "deploy", "kill_idle", "scale"];
        assert_eq!(did_you_mean("restrat", verbs), Some("restart"));
        assert_eq!(did_you_mean("kill-idle", verbs), Some("kill_idle"));
        assert_eq!(did_you_mean("Deploy", verbs), Some("deploy"));
        assert_eq!(did_you_mean("explode", verbs), None);
    }
}
