//! The sensors as Python sees them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyMapping, PyString, PyTuple};

use crate::error::Error;
use crate::idle::IdleRules;
use crate::parse::devices::Devices;
use crate::parse::power::{Attribute, Supply};
use crate::reading::{
    Cpu, Disk, Memory, MemoryBytes, Network, Power, PowerState, ProcessTicks, Sample, Status,
    Storage, Ticks,
};
use crate::{parse, sampler};

type PowerRow<'py> = (
    bool,
    Option<f64>,
    Option<bool>,
    Bound<'py, PyString>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    usize,
);

type SourceRow = (&'static str, OsString, &'static str, String);

type DeviceRow<'py> = (Bound<'py, PyBytes>, u64, u64);

/// The sensors of one machine, held open.
#[pyclass(frozen, module = "deferpower._native")]
pub struct Sampler(pub(super) Arc<Mutex<sampler::Sampler>>);

#[pymethods]
impl Sampler {
    #[new]
    #[pyo3(signature = (root, storage_paths, idle_rules, /))]
    fn new(
        py: Python<'_>,
        root: PathBuf,
        storage_paths: Vec<PathBuf>,
        idle_rules: (f64, f64, f64, f64),
    ) -> Result<Self, Error> {
        let (cpu_percent, disk_bytes_per_s, network_bytes_per_s, dwell_s) = idle_rules;
        if [cpu_percent, disk_bytes_per_s, network_bytes_per_s, dwell_s]
            .iter()
            .any(|rule| rule.is_nan())
        {
            return Err(Error::Config(
                "idle_rules: not a number; give four numbers".into(),
            ));
        }
        let rules = IdleRules {
            cpu_percent,
            disk_bytes_per_s,
            network_bytes_per_s,
            dwell_s,
        };
        py.detach(|| sampler::Sampler::new(&root, &storage_paths, rules))
            .map(|sampler| Self(Arc::new(Mutex::new(sampler))))
    }

    #[pyo3(signature = (monotonic_s, slow_max_age_s, /))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        monotonic_s: f64,
        slow_max_age_s: f64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        if !monotonic_s.is_finite() {
            let message = "monotonic_s is not a finite number; give seconds on one time line";
            return Err(Error::Config(message.into()).into());
        }
        if slow_max_age_s.is_nan() {
            return Err(Error::Config(
                "slow_max_age_s is not a number; give seconds, 0 reads now".into(),
            )
            .into());
        }
        // Locked while the row is made, too: it is made of what the sampler holds.
        let mut sampler = self.lock(py);
        let sampler = &mut *sampler;
        let sample = py.detach(|| sampler.sample(monotonic_s, slow_max_age_s));
        sample_row(py, sample)
    }

    #[pyo3(signature = (pids, /))]
    fn set_own_work(&self, py: Python<'_>, pids: Option<Vec<u32>>) {
        self.lock(py).set_own_work(pids);
    }

    fn sources(&self, py: Python<'_>) -> Vec<SourceRow> {
        let mut sampler = self.lock(py);
        let sampler = &mut *sampler;
        let sources = py.detach(|| sampler.sources());
        let row = |source: crate::reading::Source| {
            let status = match source.status {
                Status::Ok => "ok",
                Status::Absent => "absent",
                Status::Failing => "failing",
            };
            (
                source.sensor,
                source.location.into_os_string(),
                status,
                source.detail,
            )
        };
        sources.into_iter().map(row).collect()
    }
}

impl Sampler {
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, sampler::Sampler> {
        // What a panic left behind is at worst a missing base for rates.
        self.0
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn sample_row<'py>(py: Python<'py>, sample: &Sample) -> PyResult<Bound<'py, PyTuple>> {
    let cpu = sample.cpu.map(
        |Cpu {
             busy_percent,
             count,
             pressure_percent,
             own_percent,
         }| { (busy_percent, count, pressure_percent, own_percent) },
    );
    let memory = sample.memory.map(
        |Memory {
             total_bytes,
             available_bytes,
             used_percent,
         }| { (total_bytes, available_bytes, used_percent) },
    );
    let disk = sample.disk.map(
        |Disk {
             read_bytes_per_s,
             write_bytes_per_s,
         }| (read_bytes_per_s, write_bytes_per_s),
    );
    let network = sample.network.map(
        |Network {
             rx_bytes_per_s,
             tx_bytes_per_s,
         }| (rx_bytes_per_s, tx_bytes_per_s),
    );
    let storage = sample.storage.iter().map(|entry| {
        entry.map(
            |Storage {
                 used_percent,
                 free_bytes,
             }| (used_percent, free_bytes),
        )
    });
    (
        sample.power.map(|power| power_row(py, power)),
        cpu,
        memory,
        disk,
        network,
        PyTuple::new(py, storage)?,
        sample.idle_since_s,
        sample.quiet_since_s,
    )
        .into_pyobject(py)
}

fn power_row(py: Python<'_>, power: Power) -> PowerRow<'_> {
    let state = match power.state {
        PowerState::Charging => intern!(py, "charging"),
        PowerState::Discharging => intern!(py, "discharging"),
        PowerState::NotCharging => intern!(py, "not_charging"),
        PowerState::Full => intern!(py, "full"),
        PowerState::Unknown => intern!(py, "unknown"),
        PowerState::None => intern!(py, "none"),
    };
    (
        power.present,
        power.percent,
        power.plugged,
        state.clone(),
        power.battery_watts,
        power.energy_wh,
        power.energy_full_wh,
        power.time_to_empty_s,
        power.battery_count,
    )
}

/// Python's function `parse_stat`.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn parse_stat(data: &[u8]) -> Result<(u64, u64, u64), Error> {
    parse::parse_stat(data).map(|Ticks { busy, idle, count }| (busy, idle, count))
}

/// Python's function `parse_meminfo`.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn parse_meminfo(data: &[u8]) -> (Option<u64>, Option<u64>) {
    let MemoryBytes { total, available } = parse::parse_meminfo(data);
    (total, available)
}

/// Python's function `parse_diskstats`.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn parse_diskstats<'py>(py: Python<'py>, data: &[u8]) -> Vec<DeviceRow<'py>> {
    device_rows(py, data, parse::parse_diskstats)
}

/// Python's function `parse_netdev`.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn parse_netdev<'py>(py: Python<'py>, data: &[u8]) -> Vec<DeviceRow<'py>> {
    device_rows(py, data, parse::parse_netdev)
}

fn device_rows<'py>(
    py: Python<'py>,
    data: &[u8],
    parse: fn(&[u8], &mut Devices),
) -> Vec<DeviceRow<'py>> {
    let mut devices = Devices::default();
    parse(data, &mut devices);
    let rows = devices.traffic().iter();
    rows.map(|(name, bytes_in, bytes_out)| (PyBytes::new(py, name), bytes_in, bytes_out))
        .collect()
}

/// Python's function `parse_pressure`.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn parse_pressure(data: &[u8]) -> Option<f64> {
    parse::parse_pressure(data)
}

/// Python's function `parse_process_stat`.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn parse_process_stat(data: &[u8]) -> Result<(u64, u64, u64), Error> {
    parse::parse_process_stat(data).map(|ProcessTicks { pid, parent, ticks }| (pid, parent, ticks))
}

/// Python's function `aggregate_power`.
#[pyfunction]
#[pyo3(signature = (supplies, /))]
pub fn aggregate_power<'py>(
    py: Python<'py>,
    supplies: Vec<Bound<'py, PyMapping>>,
) -> PyResult<PowerRow<'py>> {
    let supplies = supplies.iter().map(supply).collect::<PyResult<Vec<_>>>()?;
    Ok(power_row(py, parse::aggregate_power(supplies.iter())))
}

fn supply(attributes: &Bound<'_, PyMapping>) -> PyResult<Supply> {
    let mut supply = Supply::default();
    for item in attributes.items()?.iter() {
        let (name, text): (Bound<'_, PyString>, Bound<'_, PyBytes>) = item.extract()?;
        let name = name.to_string_lossy();
        if let Some(attribute) = Attribute::ALL
            .into_iter()
            .find(|attribute| attribute.name().to_bytes() == name.as_bytes())
        {
            supply.set(attribute, text.as_bytes());
        }
    }
    Ok(supply)
}
