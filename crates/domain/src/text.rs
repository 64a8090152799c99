//! Text from outside made fit for messages, and the search for a name that was probably meant.

/// Longest piece of foreign text that a message repeats, in characters.
const SHOWN_CHARACTERS: usize = 120;

/// Foreign text for a message: control and invisible direction characters escaped, cut to a readable length.
pub fn escape(text: &str) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN_CHARACTERS {
            shown.push('…');
            break;
        }
        if character.is_control() || is_invisible(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Foreign text for people, as long as it is: line breaks and tabs stay, all else that could move the cursor, recolour
/// the screen or turn the order of characters is escaped. Escape sequences would let a plugin rewrite what stands above
/// its own text.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\n' | '\t') || !(character.is_control() || is_invisible(character)) {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}

/// The same as one entry of a list: what comes after a line break is indented, so that it cannot pass for an entry.
pub fn entry(text: &str, indent: usize) -> String {
    printable(text).replace('\n', &format!("\n{:indent$}", ""))
}

/// Characters that change how the text around them looks on a terminal or page without being seen.
pub fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// The known word that differs least from `word`, if the difference is small enough to be a slip.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let allowed = (length / 3).clamp(1, 3);
    known
        .into_iter()
        // Words of very different length are far apart. Foreign text may be long, and comparing is quadratic.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_shows_control_and_direction_characters() {
        assert_eq!(escape("a\n[AUDIT]\u{202e}b"), "a\\u{a}[AUDIT]\\u{202e}b");
    }

    #[test]
    fn what_moves_the_cursor_is_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}c\rd\u{202e}e"), r"a\u{1b}[2Jb\u{9b}c\u{d}d\u{202e}e");
        assert_eq!(printable("Zürich\n\tπ"), "Zürich\n\tπ");
        assert_eq!(entry("one\n2026-11-21 two", 4), "one\n    2026-11-21 two");
    }

    #[test]
    fn escape_cuts_long_text() {
        assert_eq!(escape(&"x".repeat(500)).chars().count(), SHOWN_CHARACTERS + 1);
    }

    #[test]
    fn nearest_finds_a_slip_and_nothing_far_away() {
        let known = ["version", "name", "main"];
        assert_eq!(nearest("verison", known), Some("version"));
        assert_eq!(nearest("nmae", known), None);
        assert_eq!(nearest("nane", known), Some("name"));
        assert_eq!(nearest("colour", known), None);
    }
}
