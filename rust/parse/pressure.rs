//! `/proc/pressure/*`: pressure stall information (PSI).

use super::number::{is_digits, lines, words};

/// `some avg10`: share of the last ten seconds in which some task waited, in percent.
pub fn parse_pressure(data: &[u8]) -> Option<f64> {
    let some = lines(data).find(|&line| words(line).next() == Some(b"some"))?;
    percent(
        words(some)
            .skip(1)
            .find_map(|word| word.strip_prefix(b"avg10="))?,
    )
}

fn percent(text: &[u8]) -> Option<f64> {
    // Checked by hand, since `f64` also parses "nan", "1e3", "+1" and ".5".
    let fits = match memchr::memchr(b'.', text) {
        Some(point) => is_digits(&text[..point]) && is_digits(&text[point + 1..]),
        None => is_digits(text),
    };
    let text = std::str::from_utf8(text).ok().filter(|_| fits)?;
    text.parse().ok().filter(|&percent: &f64| percent <= 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ten_seconds_are_told() {
        let text = b"some avg10=12.34 avg60=5.00 avg300=1.00 total=1\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(parse_pressure(text), Some(12.34));
        assert_eq!(
            parse_pressure(b"full avg10=99.00\nsome avg60=1 avg10=0\n"),
            Some(0.0)
        );
        assert_eq!(parse_pressure(b"some avg10=100.00"), Some(100.0));
    }

    #[test]
    fn anything_else_is_no_figure() {
        for figure in [
            "",
            "nan",
            "inf",
            "1e1",
            "+1",
            "-1",
            ".5",
            "5.",
            "1.2.3",
            "100.01",
            "1_0",
            "\u{661}",
            &"9".repeat(400),
        ] {
            assert_eq!(
                parse_pressure(format!("some avg10={figure} avg60=1").as_bytes()),
                None,
                "{figure:?}"
            );
        }
        assert_eq!(parse_pressure(b"full avg10=1.00\n"), None);
        assert_eq!(
            parse_pressure(b"some avg60=1.00\nsome avg10=1.00\n"),
            None,
            "the first line counts"
        );
        assert_eq!(parse_pressure(b"\0"), None);
    }
}
