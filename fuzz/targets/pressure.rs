//! `/proc/pressure/*`: a percentage, or nothing.
#![no_main]

use _native::parse::parse_pressure;
use deferpower_fuzz::{assert_percent, lines, words};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let percent = parse_pressure(data);
    assert_percent(percent);
    assert_eq!(percent, expected(data));
});

fn expected(data: &[u8]) -> Option<f64> {
    let lines = lines(data);
    let some = lines
        .iter()
        .find(|line| words(line).first() == Some(&&b"some"[..]))?;
    let text = words(some)[1..]
        .iter()
        .find_map(|word| word.strip_prefix(b"avg10="))?;
    let parts: Vec<&[u8]> = text.split(|&byte| byte == b'.').collect();
    let fits = parts.len() <= 2
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    let percent: f64 = fits.then(|| String::from_utf8_lossy(text).parse().ok())??;
    (percent <= 100.0).then_some(percent)
}
