//! Masks of names: `*` matches any characters, `?` matches one, all others match themselves in any case.

use crate::error::Error;
use crate::text::{MAX_NAME, fold_case};

/// A mask that begins with a wildcard cannot use an index, and with fewer other characters it would match too many names.
const MIN_LETTERS: usize = 2;

/// A mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The pattern for `LIKE … ESCAPE '|'`, with its case folded.
    pub pattern: String,
    /// The number of characters before the first `*` or `?`: the more, the fewer index entries are read.
    pub prefix_length: usize,
}

impl Mask {
    /// Parses a mask.
    ///
    /// # Errors
    /// [`Error::OutsideLimit`] if it is empty or too long, or if it begins with `*` or `?` and has fewer than two others.
    pub fn parse(field: &str, mask: &str) -> Result<Self, Error> {
        let is_wildcard = |c: char| c == '*' || c == '?';
        let letters = mask.chars().filter(|&c| !is_wildcard(c)).count();
        if !(1..=MAX_NAME).contains(&mask.chars().count()) {
            let detail = format!("`{field}` takes 1 to {MAX_NAME} characters.");
            return Err(Error::OutsideLimit(detail));
        }
        if mask.starts_with(is_wildcard) && letters < MIN_LETTERS {
            return Err(Error::OutsideLimit(format!(
                "`{field}` begins with * or ?, and then takes at least {MIN_LETTERS} other characters."
            )));
        }
        let mut pattern = String::with_capacity(mask.len() + 8);
        for c in fold_case(mask).chars() {
            match c {
                '*' => pattern.push('%'),
                '?' => pattern.push('_'),
                '%' | '_' | '|' => pattern.extend(['|', c]),
                other => pattern.push(other),
            }
        }
        let prefix_length = mask.chars().take_while(|&c| !is_wildcard(c)).count();
        Ok(Self {
            pattern,
            prefix_length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_a_pattern_in_which_only_stars_and_question_marks_are_wild() {
        for (mask, pattern, prefix_length) in [
            ("Iv*", "iv%", 2),
            ("*ов?", "%ов_", 0),
            ("100%", "100|%", 4),
            ("a_b|c\\", "a|_b||c\\", 6),
            ("x", "x", 1),
        ] {
            let pattern = pattern.to_owned();
            assert_eq!(
                Mask::parse("x", mask),
                Ok(Mask {
                    pattern,
                    prefix_length
                })
            );
        }
    }

    #[test]
    fn a_mask_without_a_beginning_needs_two_letters() {
        for (mask, taken) in [
            ("*", false),
            ("*a", false),
            ("?a", false),
            ("a*", true),
            ("*ab", true),
            ("?a?b", true),
            ("", false),
            (&"a".repeat(MAX_NAME), true),
            (&"a".repeat(MAX_NAME + 1), false),
        ] {
            assert_eq!(Mask::parse("x", mask).is_ok(), taken, "{mask:?}");
        }
    }
}
