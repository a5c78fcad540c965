//! Words of a text, and the class that keywords among them give a task.

use std::collections::HashMap;

/// Beyond ASCII a character is part of a word unless it lies in one of these ranges of
/// punctuation, symbols, pictures and unassigned uses. A list of our own: what is called a letter
/// differs between Rust and Python, and from one version of Unicode to the next.
const SEPARATORS: [(u32, u32); 20] = [
    (0x0080, 0x00A9),
    (0x00AB, 0x00B4),
    (0x00B6, 0x00B9),
    (0x00BB, 0x00BF),
    (0x00D7, 0x00D7),
    (0x00F7, 0x00F7),
    (0x2000, 0x206F),
    (0x20A0, 0x20CF),
    (0x2190, 0x2BFF),
    (0x2E00, 0x2E7F),
    (0x3000, 0x3004),
    (0x3008, 0x3020),
    (0xD800, 0xF8FF),
    (0xFE00, 0xFE6F),
    (0xFF00, 0xFF0F),
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF65),
    (0xFFE0, 0xFFFF),
    (0x1F000, 0x1FAFF),
];

/// How many fillers may stand between a negator and what it negates.
const REACH: u8 = 3;

const FROM_TYPE_MAP: u8 = 1;
const FROM_DESCRIPTION: u8 = 2;
const FROM_TYPE: u8 = 3;

/// Class, where it was found, place in the list; as `Matcher.classify` of the contract has them.
pub type Answer = (u8, u8, i64);

const DEFAULT: Answer = (3, 0, -1);

/// The words of a text in small letters, in each reading; empty where a clause ends.
#[must_use]
pub fn words(text: &str) -> Vec<Vec<String>> {
    readings(text)
        .map(|reading| {
            (0..reading.spans.len())
                .map(|at| reading.word(at).to_owned())
                .collect()
        })
        .collect()
}

/// A keyword or a type, and its class.
pub type Phrase = (String, u8);

/// Finds the class of a task by its type and the keywords in its text.
#[derive(Debug)]
pub struct Matcher {
    entries: HashMap<String, Entry>,
    types: HashMap<String, (u8, i64)>,
}

/// What begins with a word, and what the word itself does to a negation.
#[derive(Debug, Default)]
struct Entry {
    phrases: Vec<Compiled>,
    negator: bool,
    filler: bool,
    conjunction: bool,
}

#[derive(Debug)]
struct Compiled {
    words: Vec<String>,
    class: u8,
    index: i64,
}

impl Matcher {
    /// Takes in the keywords, the types, and what negates: negators, fillers, conjunctions.
    #[must_use]
    pub fn new(phrases: &[Phrase], types: &[Phrase], negation: [&[String]; 3]) -> Self {
        let mut entries: HashMap<String, Entry> = HashMap::new();
        for ((text, class), index) in phrases.iter().zip(0..) {
            for mut words in words(text) {
                words.retain(|word| !word.is_empty());
                if let Some(first) = words.first() {
                    let entry = entries.entry(first.clone()).or_default();
                    entry.phrases.push(Compiled {
                        words,
                        class: *class,
                        index,
                    });
                }
            }
        }
        for entry in entries.values_mut() {
            // The longest first; of one phrase given twice, the class that defers less.
            entry.phrases.sort_by_key(|phrase| {
                (
                    std::cmp::Reverse(phrase.words.len()),
                    phrase.class,
                    phrase.index,
                )
            });
        }
        let [negators, fillers, conjunctions] = negation;
        for word in single_words(negators) {
            entries.entry(word).or_default().negator = true;
        }
        for word in single_words(fillers) {
            entries.entry(word).or_default().filler = true;
        }
        for word in single_words(conjunctions) {
            entries.entry(word).or_default().conjunction = true;
        }
        let mut known: HashMap<String, (u8, i64)> = HashMap::new();
        for ((text, class), index) in types.iter().zip(0..) {
            for reading in readings(text).filter(|reading| !reading.letters.is_empty()) {
                let at = known.entry(reading.letters).or_insert((*class, index));
                if *class < at.0 {
                    *at = (*class, index);
                }
            }
        }
        Self {
            entries,
            types: known,
        }
    }

    /// The class, and what gave it.
    #[must_use]
    pub fn classify(&self, task_type: &str, description: &str) -> Answer {
        let mut best = None;
        for reading in readings(task_type) {
            if let Some(&(class, index)) = self.types.get(&reading.letters) {
                keep_lower(&mut best, (class, FROM_TYPE_MAP, index));
            }
        }
        let mapped = best.is_some();
        for reading in readings(description) {
            self.search(&reading, FROM_DESCRIPTION, &mut best);
        }
        if !mapped {
            for reading in readings(task_type) {
                self.search(&reading, FROM_TYPE, &mut best);
            }
        }
        best.unwrap_or(DEFAULT)
    }

    /// Finds the phrase that decides: the one that defers least, of these the first.
    fn search(&self, reading: &Reading, source: u8, best: &mut Option<Answer>) {
        let mut covered = 0; // where the furthest reaching phrase so far ends
        let mut reach = 0; // above 0: what comes next is negated
        let mut negated_until = None; // where a negated phrase ends: "or" carries the negation on
        for at in 0..reading.spans.len() {
            let Some(entry) = self.entries.get(reading.word(at)) else {
                reach = 0;
                continue;
            };
            if let Some(phrase) = entry
                .phrases
                .iter()
                .find(|phrase| reading.has(&phrase.words, at))
            {
                let end = at + phrase.words.len();
                if reach > 0 {
                    negated_until = Some(end);
                } else if end > covered {
                    covered = end;
                    keep_lower(best, (phrase.class, source, phrase.index));
                }
            }
            if entry.negator || (entry.conjunction && negated_until == Some(at)) {
                reach = REACH + 1;
            } else if entry.filler && reach > 0 {
                reach -= 1;
            } else {
                reach = 0;
            }
        }
    }
}

fn keep_lower(best: &mut Option<Answer>, found: Answer) {
    if best.is_none_or(|known| found.0 < known.0) {
        *best = Some(found);
    }
}

fn single_words(texts: &[String]) -> impl Iterator<Item = String> {
    texts.iter().filter_map(|text| {
        let whole = Reading::of(text, false);
        (whole.spans.len() == 1).then_some(whole.letters)
    })
}

/// The reading with camel case taken apart, and, only where it differs, the one without.
fn readings(text: &str) -> impl Iterator<Item = Reading> {
    let parted = Reading::of(text, true);
    let whole = parted.camel.then(|| Reading::of(text, false));
    std::iter::once(parted).chain(whole)
}

/// The words of a text.
struct Reading {
    /// In small letters, with a space between.
    letters: String,
    /// Where each word begins and ends in `letters`; nothing where a clause ends.
    spans: Vec<(usize, usize)>,
    /// Whether a word was taken apart.
    camel: bool,
}

impl Reading {
    fn of(text: &str, part_camel: bool) -> Self {
        let mut reading = Self {
            letters: String::with_capacity(text.len() + text.len() / 4),
            spans: Vec::with_capacity(text.len() / 4 + 1),
            camel: false,
        };
        let mut rest = text.trim_start_matches(is_gap);
        while !rest.is_empty() {
            let (word, after) = rest.split_at(word_length(rest));
            reading.push_word(word, part_camel);
            rest = after.trim_start_matches(is_gap);
            let mut gap = after[..after.len() - rest.len()].chars();
            if gap.clone().nth(1).is_some() && gap.any(ends_clause) {
                reading.spans.push((0, 0));
            }
        }
        reading
    }

    fn word(&self, at: usize) -> &str {
        let (start, end) = self.spans[at];
        &self.letters[start..end]
    }

    fn has(&self, words: &[String], at: usize) -> bool {
        at + words.len() <= self.spans.len()
            && words
                .iter()
                .zip(at..)
                .all(|(word, at)| self.word(at) == word)
    }

    fn push_word(&mut self, word: &str, part_camel: bool) {
        let mut start = self.begin_word();
        if let Some((&first, rest)) = word.as_bytes().split_first()
            && first.is_ascii()
            && rest
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        {
            // What most words look like has a short way.
            self.letters.push(first.to_ascii_lowercase().into());
            self.letters.push_str(&word[1..]);
            self.spans.push((start, self.letters.len()));
            return;
        }
        let mut after_capital = None;
        let mut letters = word
            .chars()
            .filter(|&letter| !is_apostrophe(letter))
            .peekable();
        while let Some(letter) = letters.next() {
            let small = small(letter);
            let capital = small != letter;
            if part_camel && capital {
                // A capital after anything else ("userAction"), or the last of several before a
                // small letter ("UIResponse").
                let cut = match after_capital {
                    None => false,
                    Some(false) => true,
                    Some(true) => letters.peek().is_some_and(|&next| is_small(next)),
                };
                if cut {
                    self.spans.push((start, self.letters.len()));
                    self.camel = true;
                    start = self.begin_word();
                }
            }
            self.letters.push(if small == 'ς' { 'σ' } else { small });
            after_capital = Some(capital);
        }
        self.spans.push((start, self.letters.len()));
    }

    fn begin_word(&mut self) -> usize {
        if !self.letters.is_empty() {
            self.letters.push(' ');
        }
        self.letters.len()
    }
}

/// Bytes of the word that a text begins with: letters, and apostrophes between two of them.
fn word_length(text: &str) -> usize {
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let inside = !is_gap(character)
            || (is_apostrophe(character)
                && characters.peek().is_some_and(|&(_, next)| !is_gap(next)));
        if !inside {
            return at;
        }
    }
    text.len()
}

fn is_gap(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_alphanumeric();
    }
    let code = u32::from(character);
    SEPARATORS
        .iter()
        .any(|&(first, last)| (first..=last).contains(&code))
}

fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '’')
}

fn ends_clause(character: char) -> bool {
    matches!(character, '.' | ',' | ';' | ':' | '!' | '?')
}

fn is_small(letter: char) -> bool {
    small(letter) == letter && !letter.is_ascii_digit()
}

/// The small letter of a capital; anything else as it is.
fn small(letter: char) -> char {
    match letter {
        '\0'..='\x7f' => letter.to_ascii_lowercase(),
        // Latin, Greek, Cyrillic and Armenian: blocks whose pairs of capital and small letter are
        // settled. The dotted capital I alone has two characters as its small letter: a letter
        // and a dot.
        '\u{c0}'..'\u{590}' | '\u{1e00}'..'\u{2000}' => {
            letter.to_lowercase().next().unwrap_or(letter)
        }
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn matcher(phrases: &[(&str, u8)], types: &[(&str, u8)]) -> Matcher {
        let own = |rows: &[(&str, u8)]| -> Vec<Phrase> {
            rows.iter()
                .map(|&(text, class)| (text.to_owned(), class))
                .collect()
        };
        let (not, fillers, or) = (
            owned(&["not", "non"]),
            owned(&["a", "that"]),
            owned(&["or"]),
        );
        Matcher::new(&own(phrases), &own(types), [&not, &fillers, &or])
    }

    #[test]
    fn words_are_whole_folded_and_parted() {
        assert_eq!(words("re-INDEX"), [owned(&["re", "index"])]);
        assert_eq!(words("asynchronous"), [owned(&["asynchronous"])]);
        assert_eq!(
            words("isn't UIResponse, now"),
            [
                owned(&["isnt", "ui", "response", "", "now"]),
                owned(&["isnt", "uiresponse", "", "now"])
            ]
        );
    }

    #[test]
    fn the_longest_phrase_counts_unless_negated() {
        let matcher = matcher(&[("backup", 2), ("full backup", 1)], &[]);
        assert_eq!(
            matcher.classify("", "a full backup"),
            (1, FROM_DESCRIPTION, 1)
        );
        assert_eq!(
            matcher.classify("", "not that full backup"),
            (2, FROM_DESCRIPTION, 0)
        );
        assert_eq!(matcher.classify("", "no backups"), DEFAULT);
    }

    #[test]
    fn a_known_type_is_not_searched_for_phrases() {
        let matcher = matcher(&[("cache", 2)], &[("cache lookup", 3)]);
        assert_eq!(matcher.classify("cacheLookup", ""), (3, FROM_TYPE_MAP, 0));
        assert_eq!(matcher.classify("page_cache", ""), (2, FROM_TYPE, 0));
    }
}
