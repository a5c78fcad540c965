//! Text and whole numbers as the kernel writes them.

use memchr::memchr;

/// White space of ASCII, as C's `isspace` and Python's `bytes.split` have it
/// (`u8::is_ascii_whitespace` lacks the vertical tab).
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The text without white space and NUL at its ends (containers pad files with NUL).
pub fn trim(mut text: &[u8]) -> &[u8] {
    let is_padding = |byte: u8| byte == 0 || is_space(byte);
    while let [first, rest @ ..] = text
        && is_padding(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_padding(*last)
    {
        text = rest;
    }
    text
}

/// The lines of a text that is trimmed first.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = Some(trim(text));
    std::iter::from_fn(move || {
        let text = rest?;
        let (line, after) = match memchr(b'\n', text) {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        rest = after;
        Some(line)
    })
}

/// The words of a line, which white space parts.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = line;
    std::iter::from_fn(move || {
        let (word, after) = split_word(rest)?;
        rest = after;
        Some(word)
    })
}

/// The first word of a text, and what follows it.
pub fn split_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = text.iter().position(|&byte| !is_space(byte))?;
    let text = &text[start..];
    let end = text
        .iter()
        .position(|&byte| is_space(byte))
        .unwrap_or(text.len());
    Some(text.split_at(end))
}

/// Whether the text is one ASCII digit or more, and nothing else.
pub fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// A whole number of 64 bits without a sign; `None` if the text is anything else.
pub fn counter(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9)
            .then(|| value.checked_mul(10)?.checked_add(u64::from(digit)))
            .flatten()
    })
}

/// A whole number of 64 bits signed; `None` if the text is anything else.
pub fn whole(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => 0_i64.checked_sub_unsigned(counter(digits)?),
        None => counter(text)?.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_their_type_ends() {
        assert_eq!(counter(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(counter(b"18446744073709551616"), None);
        assert_eq!(whole(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(whole(b"9223372036854775808"), None);
        assert_eq!(whole(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(whole(b"-9223372036854775809"), None);
    }

    #[test]
    fn only_digits_make_a_number() {
        for text in [
            "", "-", "+1", "1_0", " 1", "1 ", "1.0", "0x1", "--1", "1\0", "nan", "\u{661}",
        ] {
            assert_eq!(whole(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(counter(b"-1"), None);
        assert_eq!(whole(b"-0"), Some(0));
        assert_eq!(whole(b"0000000000000000000000000000042"), Some(42));
    }

    #[test]
    fn padding_is_trimmed_at_the_ends_alone() {
        assert_eq!(trim(b"\0\0 \x0b57\n\0"), b"57");
        assert_eq!(trim(b"5\x007"), b"5\x007");
        assert_eq!(trim(b"\0 \n"), b"");
    }

    #[test]
    fn lines_and_words_are_those_of_the_kernel() {
        let split: Vec<Vec<&[u8]>> = lines(b"\0 a b\x0bc \r\n\n\td\0\n")
            .map(|line| words(line).collect())
            .collect();
        let expected: [&[&[u8]]; 3] = [&[b"a", b"b", b"c"], &[], &[b"d"]];
        assert_eq!(split, expected);
    }
}
