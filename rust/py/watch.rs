//! The quiet wait as Python sees it.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::rules::Rules;
use super::sensors::{Sampler, sample_row};
use crate::error::Error;
use crate::facts::Told;
use crate::watch::{self, Wake, Wanted};

type ToldRow = (u32, (Option<bool>, Option<bool>), bool, u64);
type WakeRow<'py> = (u8, Option<Bound<'py, PyTuple>>, f64, f64);

/// Python's class `Watch`.
#[pyclass(frozen, module = "deferpower._native")]
pub struct Watch(watch::Watch);

#[pymethods]
impl Watch {
    #[new]
    #[pyo3(signature = (sampler, rules, /))]
    fn new(sampler: &Bound<'_, Sampler>, rules: &Bound<'_, Rules>) -> Result<Self, Error> {
        let (sampler, rules) = (Arc::clone(&sampler.get().0), Arc::clone(&rules.get().0));
        watch::Watch::new(sampler, rules).map(Self)
    }

    #[pyo3(signature = (path, /))]
    fn follow(&self, path: PathBuf) {
        self.0.follow(path);
    }

    #[pyo3(signature = (waiting, running, stopped, told, until_wall_s, /))]
    fn wait<'py>(
        &self,
        py: Python<'py>,
        waiting: Vec<u32>,
        running: Vec<u32>,
        stopped: Vec<u32>,
        told: ToldRow,
        until_wall_s: Option<f64>,
    ) -> PyResult<WakeRow<'py>> {
        if until_wall_s.is_some_and(f64::is_nan) {
            let message = "until_wall_s is not a number; give seconds since the epoch";
            return Err(Error::Config(message.into()).into());
        }
        let (minute, (connected, metered), user_present, custom) = told;
        // Asked of Python, since samples of the same sampler are taken by its clock.
        let now_s = py.import(intern!(py, "time"))?;
        let now_s = now_s.call_method0(intern!(py, "monotonic"))?.extract()?;
        let mut wait = self.0.begin(Wanted {
            waiting,
            running,
            stopped,
            told: Told {
                minute,
                connected,
                metered,
                user_present,
                custom,
            },
            until_wall_s: until_wall_s.filter(|until_s| *until_s < f64::INFINITY),
            now_s,
        })?;
        loop {
            // Dropped in there, too: with the last wait of a watch that was closed go its files.
            let ended = py.detach(move || match wait.go_on() {
                Ok(None) => ControlFlow::Continue(wait),
                Ok(Some(wake)) => ControlFlow::Break(Ok(wake)),
                Err(error) => ControlFlow::Break(Err(error)),
            });
            match ended {
                ControlFlow::Break(wake) => return wake_row(py, &wake?),
                ControlFlow::Continue(interrupted) => wait = interrupted,
            }
            py.check_signals()?;
        }
    }

    fn wake(&self) {
        self.0.wake();
    }

    fn close(&self, py: Python<'_>) {
        // It takes the kernel 20 ms to let go of files that it announced changes of.
        py.detach(|| self.0.close());
    }
}

fn wake_row<'py>(py: Python<'py>, wake: &Wake) -> PyResult<WakeRow<'py>> {
    let sample = wake.sample.as_ref().map(|sample| sample_row(py, sample));
    Ok((
        wake.why as u8,
        sample.transpose()?,
        wake.monotonic_s,
        wake.wall_s,
    ))
}
