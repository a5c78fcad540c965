//! The table of usage as Python sees it.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::Error;
use crate::usage::{self, EVENTS, HourRow, LocalHour, OutlookRow};

type Three = (f64, f64, f64);
type Outlook = (Three, Three, Vec<OutlookRow>);

/// Python's class `UsageTable`.
#[pyclass(module = "deferpower._native")]
pub struct UsageTable(usage::UsageTable);

#[pymethods]
impl UsageTable {
    #[new]
    fn new() -> Self {
        Self(usage::UsageTable::new())
    }

    #[getter]
    fn end_s(&self) -> Option<f64> {
        self.0.end_s()
    }

    fn evidence(&self) -> Three {
        triple(self.0.evidence())
    }

    #[pyo3(signature = (hours, rows, /))]
    fn learn(&mut self, hours: Vec<LocalHour>, rows: &[u8]) -> Result<(f64, f64), Error> {
        self.0.learn(&hours, rows)
    }

    #[pyo3(signature = (hours, /))]
    fn forecast(&self, hours: Vec<LocalHour>) -> Result<Vec<HourRow>, Error> {
        self.0.forecast(&hours)
    }

    #[pyo3(signature = (now_s, duration_s, hours, /))]
    fn outlook(
        &self,
        now_s: f64,
        duration_s: f64,
        hours: Vec<LocalHour>,
    ) -> Result<Outlook, Error> {
        let (live, ages_s, rows) = self.0.outlook(now_s, duration_s, &hours)?;
        Ok((triple(live), triple(ages_s), rows))
    }

    fn restart(&mut self) {
        self.0.restart();
    }

    #[pyo3(signature = (data, /))]
    fn merge(&mut self, data: &[u8]) -> Result<(), Error> {
        self.0.merge(data)
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.to_bytes())
    }

    #[staticmethod]
    #[pyo3(signature = (data, /))]
    fn from_bytes(data: &[u8]) -> Result<Self, Error> {
        usage::UsageTable::from_bytes(data).map(Self)
    }
}

/// As a tuple: an array would become a list.
fn triple([idle, plugged, good]: [f64; EVENTS]) -> Three {
    (idle, plugged, good)
}
