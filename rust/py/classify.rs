//! The classifier as Python sees it.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::classify::{self, Answer, Phrase};

/// Python's class `Matcher`.
#[pyclass(frozen, module = "deferpower._native")]
pub struct Matcher(classify::Matcher);

#[pymethods]
impl Matcher {
    #[new]
    #[pyo3(signature = (phrases, types, negation, /))]
    fn new(
        phrases: Phrases<'_>,
        types: Phrases<'_>,
        negation: [Vec<Bound<'_, PyString>>; 3],
    ) -> Self {
        let negation = negation.map(|words| words.iter().map(text).collect::<Vec<_>>());
        Self(classify::Matcher::new(
            &owned(&phrases),
            &owned(&types),
            negation.each_ref().map(Vec::as_slice),
        ))
    }

    #[pyo3(signature = (task_type, description, /))]
    fn classify(
        &self,
        task_type: &Bound<'_, PyString>,
        description: &Bound<'_, PyString>,
    ) -> Answer {
        // Half of a surrogate pair, as in the name of a file that is no UTF-8, is no letter.
        self.0
            .classify(&task_type.to_string_lossy(), &description.to_string_lossy())
    }
}

type Phrases<'py> = Vec<(Bound<'py, PyString>, u8)>;

fn owned(phrases: &Phrases<'_>) -> Vec<Phrase> {
    phrases
        .iter()
        .map(|(string, class)| (text(string), *class))
        .collect()
}

/// Half a surrogate pair, as in the name of a file that is no UTF-8, becomes what is no letter.
fn text(string: &Bound<'_, PyString>) -> String {
    string.to_string_lossy().into_owned()
}

/// Python's function `words`.
#[pyfunction]
#[pyo3(signature = (text, /))]
pub fn words(text: &Bound<'_, PyString>) -> Vec<Vec<String>> {
    classify::words(&text.to_string_lossy())
}
