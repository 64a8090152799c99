//! Names of new things, and their forms in code.

/// Words that are no name of a method or a field.
const KEYWORDS: &str = "abstract and as assert async await become box break class const continue crate def del do dyn \
    elif else enum except extern false final finally fn for from gen global if impl import in is lambda let loop macro \
    match mod move mut nonlocal not or override pass priv pub raise ref return self static struct super trait true try \
    type typeof union unsafe unsized use virtual where while with yield";

/// The longest part of a name.
const MAX_PART: usize = 32;

/// Splits a name at its last dot. Each part has `a-z`, `0-9` and `_`, and begins with a letter.
pub(crate) fn split<'a>(name: &'a str, expected: &str) -> Result<(&'a str, &'a str), String> {
    let wrong = |why: &str| Err(format!("`{}` is not {expected}: {why}", name.escape_debug()));
    let Some((before, last)) = name.rsplit_once('.') else { return wrong("a dot is missing") };
    for part in name.split('.') {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !part.starts_with(|first: char| first.is_ascii_lowercase()) || !part.bytes().all(is_letter) {
            return wrong("each part begins with a-z and goes on with a-z, 0-9 or _");
        }
        if part.len() > MAX_PART || part.ends_with('_') || part.contains("__") {
            return wrong("a part has at most 32 characters, and no `_` at its end or beside another one");
        }
        if is_keyword(part) {
            return wrong(&format!("`{part}` is a word of Rust or Python"));
        }
    }
    Ok((before, last))
}

/// Whether a part means something else in Rust or Python.
pub(crate) fn is_keyword(part: &str) -> bool {
    KEYWORDS.split_whitespace().any(|keyword| keyword == part)
}

/// `weather_forecast` as `WeatherForecast`.
pub(crate) fn camel(name: &str) -> String {
    let words = name.split(['_', '.']).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

/// `weather.forecast` as `weather_forecast`.
pub(crate) fn snake(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::{camel, snake, split};

    #[test]
    fn names_have_parts() {
        assert_eq!(split("weather.forecast", "x"), Ok(("weather", "forecast")));
        assert_eq!(split("sandbox.process.root_2", "x"), Ok(("sandbox.process", "root_2")));
        assert_eq!(
            (camel("weather.fore_cast"), snake("weather.fore_cast")),
            ("WeatherForeCast".into(), "weather_fore_cast".into())
        );
    }

    #[test]
    fn what_is_no_name_is_told() {
        for (name, why) in [
            ("forecast", "a dot is missing"),
            (".forecast", "begins with a-z"),
            ("weather.", "begins with a-z"),
            ("weather.Forecast", "begins with a-z"),
            ("weather.2day", "begins with a-z"),
            ("weather.a-b", "begins with a-z"),
            ("weather.a\"b", "begins with a-z"),
            ("weather.a__b", "beside another one"),
            ("weather.import", "a word of Rust or Python"),
            ("../../x.y", "begins with a-z"),
        ] {
            let problem = split(name, "a name").expect_err(name);
            assert!(problem.contains(why), "{problem}");
        }
    }
}
