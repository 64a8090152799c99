//! Takes the words of a command apart as a shell does: blanks separate, quotes keep together, a backslash takes the next
//! character as it is. Nothing is expanded.

/// Why a text has no words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quote is not closed.
    #[error("the quote {quote} at character {at} is not closed")]
    OpenQuote {
        /// Which one.
        quote: char,
        /// Where it is, from 1.
        at: usize,
    },
    /// A backslash with nothing behind it.
    #[error("the text ends with a backslash")]
    LastBackslash,
}

/// The words of a text.
pub(super) fn split(text: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars().enumerate();
    while let Some((index, character)) = rest.next() {
        match character {
            quote @ ('\'' | '"') => {
                let word = word.get_or_insert_default();
                let open = || SplitError::OpenQuote { quote, at: index + 1 };
                loop {
                    let (_, inside) = rest.next().ok_or_else(open)?;
                    match inside {
                        end if end == quote => break,
                        '\\' if quote == '"' => {
                            let (_, next) = rest.next().ok_or_else(open)?;
                            if !matches!(next, '"' | '\\' | '$' | '`') {
                                word.push('\\');
                            }
                            word.push(next);
                        }
                        inside => word.push(inside),
                    }
                }
            }
            '\\' => {
                let (_, next) = rest.next().ok_or(SplitError::LastBackslash)?;
                word.get_or_insert_default().push(next);
            }
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        split(text).unwrap()
    }

    #[test]
    fn words_are_as_a_shell_makes_them() {
        assert_eq!(words("  a \t b\nc "), ["a", "b", "c"]);
        assert_eq!(words("'a  b' \"c 'd'\" e'f'\"g\""), ["a  b", "c 'd'", "efg"]);
        assert_eq!(words(r#"\'a\ b "q\"\\\n" '\'"#), ["'a b", r#"q"\\n"#, r"\"]);
        assert_eq!(words("'' \"\""), ["", ""]);
        assert_eq!(words("$HOME * ~ # `x` a=b;|&"), ["$HOME", "*", "~", "#", "`x`", "a=b;|&"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn what_a_shell_would_wait_for_is_refused() {
        assert_eq!(split("a 'b"), Err(SplitError::OpenQuote { quote: '\'', at: 3 }));
        assert_eq!(split("a \"b\\\""), Err(SplitError::OpenQuote { quote: '"', at: 3 }));
        assert_eq!(split("a\\"), Err(SplitError::LastBackslash));
        assert_eq!(split("\"\\"), Err(SplitError::OpenQuote { quote: '"', at: 1 }));
    }
}
