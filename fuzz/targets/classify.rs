//! Words and classes of any text, for any keywords.
#![no_main]

use _native::classify::{Matcher, words};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    phrases: Vec<(&'a str, u8)>,
    types: Vec<(&'a str, u8)>,
    negators: Vec<&'a str>,
    fillers: Vec<&'a str>,
    conjunctions: Vec<&'a str>,
    task_type: &'a str,
    description: &'a str,
}

fuzz_target!(|input: Input| {
    let rows = |rows: &[(&str, u8)]| -> Vec<(String, u8)> {
        rows.iter()
            .map(|&(text, class)| (text.to_owned(), class % 4))
            .collect()
    };
    let owned =
        |texts: &[&str]| -> Vec<String> { texts.iter().map(|&text| text.to_owned()).collect() };
    let (phrases, types) = (rows(&input.phrases), rows(&input.types));
    let (negators, fillers) = (owned(&input.negators), owned(&input.fillers));
    let conjunctions = owned(&input.conjunctions);
    let matcher = Matcher::new(&phrases, &types, [&negators, &fillers, &conjunctions]);
    let answer = matcher.classify(input.task_type, input.description);
    let listed = match answer.1 {
        0 => return assert_eq!(answer, (3, 0, -1)),
        1 => &types,
        2 | 3 => &phrases,
        source => panic!("{source} is no source"),
    };
    let place = usize::try_from(answer.2).expect("a place in the list");
    assert_eq!(
        listed[place].1, answer.0,
        "the class is that of what gave it"
    );
    for text in [input.task_type, input.description] {
        for reading in words(text) {
            // Words are in small letters, and their own words.
            let joined = reading
                .iter()
                .filter(|word| !word.is_empty())
                .cloned()
                .collect::<Vec<_>>();
            assert_eq!(words(&joined.join(" ")).last(), Some(&joined));
        }
    }
});
