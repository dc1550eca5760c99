//! Checks of texts and logins, by the limits of the contracts, and case folding.

use crate::error::Error;

/// Most characters of a login, a first name or a last name.
pub const MAX_NAME: usize = 64;
/// Most characters of the title of a goal or a task.
pub const MAX_TITLE: usize = 200;
/// Most characters of a description.
pub const MAX_DESCRIPTION: usize = 4096;

/// Checks a text of one line: 1 to `max` characters, no control characters, and not only blanks.
///
/// # Errors
/// [`Error::OutsideLimit`], with the field's name.
pub fn check_line(field: &str, text: &str, max: usize) -> Result<(), Error> {
    let blank = text.trim().is_empty();
    if blank || text.chars().count() > max || text.chars().any(char::is_control) {
        return Err(Error::OutsideLimit(format!(
            "`{field}` takes 1 to {max} characters, not only blanks and no control characters."
        )));
    }
    Ok(())
}

/// Checks a text of several lines, which may be empty.
///
/// # Errors
/// [`Error::OutsideLimit`], with the field's name.
pub fn check_text(field: &str, text: &str, max: usize) -> Result<(), Error> {
    if text.chars().count() > max {
        let detail = format!("`{field}` takes at most {max} characters.");
        return Err(Error::OutsideLimit(detail));
    }
    Ok(())
}

/// Checks a login: ASCII letters, digits and `. _ @ + -`; beyond ASCII all visible characters, so that any script is possible.
pub fn check_login(login: &str) -> Result<(), Error> {
    let is_allowed = |c: char| match c {
        '\0'..='\x7f' => c.is_ascii_alphanumeric() || "._@+-".contains(c),
        // Control characters, blanks, the soft hyphen, joiners, separators, direction marks and the punctuation among them.
        '\u{80}'..='\u{a0}'
        | '\u{ad}'
        | '\u{1680}'
        | '\u{2000}'..='\u{206f}'
        | '\u{3000}'
        | '\u{feff}' => false,
        _ => true,
    };
    if !(1..=MAX_NAME).contains(&login.chars().count()) || !login.chars().all(is_allowed) {
        return Err(Error::OutsideLimit(format!(
            "`login` takes 1 to {MAX_NAME} letters, digits and any of . _ @ + -, and beyond ASCII any signs that are seen."
        )));
    }
    Ok(())
}

/// Folds the case: texts that differ only in the case of letters give the same result.
#[must_use]
pub fn fold_case(text: &str) -> String {
    let lower = text.chars().flat_map(char::to_lowercase);
    // The final sigma, which is used at the end of a word.
    lower.map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_up_to_its_limit_and_not_beyond() {
        for (text, fits) in [
            ("я".repeat(MAX_NAME), true),
            ("я".repeat(MAX_NAME + 1), false),
            ("a b".to_owned(), true),
            (String::new(), false),
            (" \u{3000}".to_owned(), false),
            ("a\nb".to_owned(), false),
        ] {
            assert_eq!(check_line("x", &text, MAX_NAME).is_ok(), fits, "{text:?}");
        }
        assert!(check_text("x", "", 3).is_ok());
        assert!(check_text("x", "a\nb", 3).is_ok());
        assert!(check_text("x", "a\nbc", 3).is_err());
    }

    #[test]
    fn a_login_has_letters_of_any_script_and_few_other_signs() {
        let longest = "ж".repeat(MAX_NAME);
        for taken in [
            "admin",
            "Иван.7",
            "a@b.c",
            "x+y-z_",
            "x²",
            "Ⅷ",
            "สวัสดี",
            "हिन्दी",
            "e\u{301}",
            &longest,
        ] {
            assert!(check_login(taken).is_ok(), "{taken}");
        }
        let too_long = "ж".repeat(MAX_NAME + 1);
        for refused in [
            "",
            "a b",
            "a%",
            "a*",
            "a\0",
            "admin\u{200b}",
            "admin\u{a0}",
            "admin\u{202e}",
            &too_long,
        ] {
            assert!(check_login(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn texts_that_differ_in_case_alone_are_folded_to_one() {
        for (text, other) in [
            ("Γιώργος", "ΓΙΏΡΓΟΣ"),
            ("Иван", "ИВАН"),
            ("ⴀ", "Ⴀ"),
            ("ა", "Ა"),
            ("ꭰ", "Ꭰ"),
            ("ß", "ẞ"),
            ("𐐨", "𐐀"),
        ] {
            assert_eq!(fold_case(text), fold_case(other));
        }
        // No character becomes more than two in lower case, so the columns are twice as wide.
        let longest = ('\0'..=char::MAX).map(|c| fold_case(&c.to_string()).chars().count());
        assert_eq!(longest.max(), Some(2));
    }
}
