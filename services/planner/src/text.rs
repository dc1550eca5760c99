//! Texts of a bounded length, as the contracts take them.

use crate::error::Error;

/// Most characters of a login, a first name or a last name.
pub const NAME_LIMIT: usize = 64;
/// Most characters of the title of a goal or a task.
pub const TITLE_LIMIT: usize = 200;
/// Most characters of a description.
pub const DESCRIPTION_LIMIT: usize = 4096;

/// Checks what is shown in one line: `first` to `most` characters, none of them a control character, and not blank.
///
/// # Errors
/// [`Error::OutsideLimit`], with the field's name.
pub fn line(field: &str, text: &str, most: usize) -> Result<(), Error> {
    let blank = text.trim().is_empty();
    if blank || text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(Error::OutsideLimit(format!(
            "`{field}` takes 1 to {most} characters, not only blanks and no control characters."
        )));
    }
    Ok(())
}

/// Checks a text of several lines, which may be empty.
///
/// # Errors
/// [`Error::OutsideLimit`], with the field's name.
pub fn lines(field: &str, text: &str, most: usize) -> Result<(), Error> {
    if text.chars().count() > most {
        let detail = format!("`{field}` takes at most {most} characters.");
        return Err(Error::OutsideLimit(detail));
    }
    Ok(())
}

/// Checks a login: letters, digits and few other signs of ASCII, and beyond it whatever is seen, so that it may be of any script.
pub fn login(login: &str) -> Result<(), Error> {
    let taken = |sign: char| match sign {
        '\0'..='\x7f' => sign.is_ascii_alphanumeric() || "._@+-".contains(sign),
        // Control characters, blanks, and what joins, divides or turns others; of the punctuation among them not all is seen.
        '\u{80}'..='\u{a0}'
        | '\u{ad}'
        | '\u{1680}'
        | '\u{2000}'..='\u{206f}'
        | '\u{3000}'
        | '\u{feff}' => false,
        _ => true,
    };
    if !(1..=NAME_LIMIT).contains(&login.chars().count()) || !login.chars().all(taken) {
        return Err(Error::OutsideLimit(format!(
            "`login` takes 1 to {NAME_LIMIT} letters, digits and any of . _ @ + -, and beyond ASCII any signs that are seen."
        )));
    }
    Ok(())
}

/// The text as all are that differ from it in the case of letters alone.
#[must_use]
pub fn folded(text: &str) -> String {
    let lower = text.chars().flat_map(char::to_lowercase);
    // The form that ends a word.
    lower
        .map(|sign| if sign == 'ς' { 'σ' } else { sign })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_up_to_its_limit_and_not_beyond() {
        for (text, fits) in [
            ("я".repeat(NAME_LIMIT), true),
            ("я".repeat(NAME_LIMIT + 1), false),
            ("a b".to_owned(), true),
            (String::new(), false),
            (" \u{3000}".to_owned(), false),
            ("a\nb".to_owned(), false),
        ] {
            assert_eq!(line("x", &text, NAME_LIMIT).is_ok(), fits, "{text:?}");
        }
        assert!(lines("x", "", 3).is_ok());
        assert!(lines("x", "a\nb", 3).is_ok());
        assert!(lines("x", "a\nbc", 3).is_err());
    }

    #[test]
    fn a_login_has_letters_of_any_script_and_few_other_signs() {
        let longest = "ж".repeat(NAME_LIMIT);
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
            assert!(login(taken).is_ok(), "{taken}");
        }
        let too_long = "ж".repeat(NAME_LIMIT + 1);
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
            assert!(login(refused).is_err(), "{refused:?}");
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
            assert_eq!(folded(text), folded(other));
        }
        // No letter is more than two in lower case: the columns are so wide.
        let most = ('\0'..=char::MAX).map(|sign| folded(&sign.to_string()).chars().count());
        assert_eq!(most.max(), Some(2));
    }
}
