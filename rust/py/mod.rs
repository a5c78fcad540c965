//! The Python module `deferpower._native`, as `_contract.py` describes it. The only room that
//! names pyo3.

use pyo3::prelude::*;

use crate::error::Error;

mod classify;
mod rules;
mod sensors;
mod usage;
mod watch;

mod errors {
    pyo3::import_exception!(deferpower.errors, ConfigError);
    pyo3::import_exception!(deferpower.errors, SensorError);
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Config(message) => errors::ConfigError::new_err(message),
            Error::Sensor(message) => errors::SensorError::new_err(message),
        }
    }
}

/// The native backend.
#[pymodule(name = "_native", gil_used = false)]
mod native {
    #[pymodule_export]
    use super::rules::Rules;

    #[pymodule_export]
    use super::classify::{Matcher, words};
    #[pymodule_export]
    use super::sensors::{
        Sampler, aggregate_power, parse_diskstats, parse_meminfo, parse_netdev, parse_pressure,
        parse_process_stat, parse_stat,
    };

    #[pymodule_export]
    use super::usage::UsageTable;

    #[pymodule_export]
    use super::watch::Watch;

    #[pymodule_export]
    const NAME: &str = "native";
}
