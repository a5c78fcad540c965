//! What can go wrong. The `py` room turns these into the classes of `deferpower.errors`.

use std::fmt;

/// An error that a caller is told of; an absent or failing sensor is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A value that the caller gave cannot be used.
    Config(String),
    /// A text is not what its sensor should say.
    Sensor(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(message) | Self::Sensor(message) => formatter.write_str(message),
        }
    }
}

impl std::error::Error for Error {}
