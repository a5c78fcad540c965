//! Whole numbers: what fits is told exactly, anything else not at all.
#![no_main]

use _native::parse::number;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let counted = number::counter(text);
    assert_eq!(counted, deferpower_fuzz::counter(text));
    let expected = match text.strip_prefix(b"-") {
        Some(digits) => deferpower_fuzz::counter(digits).map(|size| -i128::from(size)),
        None => counted.map(i128::from),
    };
    assert_eq!(
        number::whole(text),
        expected.and_then(|whole| whole.try_into().ok())
    );
    assert_eq!(
        number::lines(text).collect::<Vec<_>>(),
        deferpower_fuzz::lines(text)
    );
    assert_eq!(
        number::words(text).collect::<Vec<_>>(),
        deferpower_fuzz::words(text)
    );
});
