//! The sensors of one machine over time: rates between samples, slow sensors less often, own work.

use std::path::{Path, PathBuf};

use crate::cadence::Sensed;
use crate::error::Error;
use crate::idle::{IdleRules, IdleTracker};
use crate::reading::{
    Counters, Cpu, Disk, Load, Memory, MemoryBytes, Network, Sample, Source, Traffic, busy_percent,
    no_tick_between, own_percent, percent_of, rates,
};
use crate::sys::{Machine, System};

/// Samples a machine; what each call means stands in `_contract.py`, `Sampler`.
#[derive(Debug)]
pub struct Sampler<M: Machine = System> {
    machine: M,
    idle: IdleTracker,
    own_pids: Option<Vec<u32>>,
    work_ended: bool,
    last: Counters,
    now: Counters,
    is_sampled: bool,
    /// Where `busy_percent` is measured from: while no tick passed, older than the last sample.
    load_base: Option<Load>,
    slow_read_s: Option<f64>,
    sample: Sample,
}

impl<M: Machine> Sampler<M> {
    /// Opens what is there below `root`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: root is no directory, or names one where only `/` can be read.
    pub fn new(
        root: &Path,
        storage_paths: &[PathBuf],
        idle_rules: IdleRules,
    ) -> Result<Self, Error> {
        if !root.is_dir() {
            let root = root.display();
            return Err(Error::Config(format!(
                "root: '{root}' is no directory; name one that holds proc and sys"
            )));
        }
        Ok(Self {
            machine: M::open(root, storage_paths)?,
            idle: IdleTracker::new(idle_rules),
            own_pids: None,
            work_ended: false,
            last: Counters::default(),
            now: Counters::default(),
            is_sampled: false,
            load_base: None,
            slow_read_s: None,
            sample: Sample::default(),
        })
    }

    /// Reads the machine at `monotonic_s`, power and storage only once older than `slow_max_age_s`.
    pub fn sample(&mut self, monotonic_s: f64, slow_max_age_s: f64) -> &Sample {
        let slow = self
            .slow_read_s
            .is_none_or(|read_s| !(read_s <= monotonic_s && monotonic_s < read_s + slow_max_age_s));
        self.machine.begin(slow);
        std::mem::swap(&mut self.last, &mut self.now);
        self.read_counters(monotonic_s);
        let passed_s = self.now.load.at_s - self.last.load.at_s;
        if !self.is_sampled || passed_s <= 0.0 {
            self.load_base = None;
            self.last.disk.clear();
            self.last.network.clear();
        }
        self.is_sampled = true;
        self.sample.cpu = self.cpu();
        self.sample.disk = traffic(&self.last.disk, &self.now.disk, passed_s).map(
            |(read_bytes_per_s, write_bytes_per_s)| Disk {
                read_bytes_per_s,
                write_bytes_per_s,
            },
        );
        self.sample.network = traffic(&self.last.network, &self.now.network, passed_s).map(
            |(rx_bytes_per_s, tx_bytes_per_s)| Network {
                rx_bytes_per_s,
                tx_bytes_per_s,
            },
        );
        self.sample.memory = memory(self.machine.memory());
        if slow {
            self.sample.power = self.machine.power();
            self.machine.storage(&mut self.sample.storage);
            self.slow_read_s = Some(monotonic_s);
        }
        let working = self.own_pids.is_some() || std::mem::take(&mut self.work_ended);
        self.sample.idle_since_s = self.idle.update(&self.now, working);
        self.sample.quiet_since_s = self.idle.quiet_since_s();
        &self.sample
    }

    /// Says what runs by deferpower's own doing: processes, or `None` when nothing does.
    pub fn set_own_work(&mut self, pids: Option<Vec<u32>>) {
        self.work_ended |= pids.is_none() && self.own_pids.is_some();
        self.own_pids = pids;
    }

    /// What the cadence of samples depends on.
    pub fn sensed(&self) -> Sensed {
        Sensed {
            slow_read_s: self.slow_read_s,
            quiet_since_s: self.idle.quiet_since_s(),
            idle_dwell_s: self.idle.dwell_s(),
            has_power_events: self.machine.has_power_events(),
        }
    }

    /// Where each sensor is read, or why it is not, as of the last sample.
    pub fn sources(&mut self) -> Vec<Source> {
        if !self.is_sampled {
            let mut unused = Counters::default();
            self.machine.begin(true);
            self.machine.cpu();
            self.machine.disk(&mut unused.disk);
            self.machine.network(&mut unused.network);
            self.machine.memory();
            self.machine.pressure_percent();
            self.machine.power();
            self.machine.storage(&mut self.sample.storage);
        }
        self.machine.sources()
    }

    fn read_counters(&mut self, at_s: f64) {
        let cpu = self.machine.cpu();
        let own_s = self
            .machine
            .own_s(self.own_pids.as_deref().unwrap_or_default());
        self.now.load = Load { at_s, cpu, own_s };
        self.machine.disk(&mut self.now.disk);
        self.machine.network(&mut self.now.network);
    }

    fn cpu(&mut self) -> Option<Cpu> {
        let now = self.now.load;
        let base = self.load_base;
        // While no tick passed the older reading stays, or a fast caller never got a rate.
        if !base.is_some_and(|base| no_tick_between(&base, &now)) {
            self.load_base = Some(now);
        }
        let pressure_percent = self.machine.pressure_percent();
        let busy_percent = base.and_then(|base| busy_percent(&base, &now));
        let own_percent = base
            .zip(busy_percent)
            .and_then(|(base, busy)| own_percent(&base, &now, busy));
        Some(Cpu {
            busy_percent,
            count: now.cpu?.count,
            pressure_percent,
            own_percent,
        })
    }
}

/// Two rates, each `None` where none can be told; `None` altogether where no device counts now.
fn traffic(before: &Traffic, after: &Traffic, seconds: f64) -> Option<(Option<f64>, Option<f64>)> {
    (!after.totals.is_empty()).then(|| rates(before, after, seconds).unzip())
}

fn memory(MemoryBytes { total, available }: MemoryBytes) -> Option<Memory> {
    let used_percent = total
        .zip(available)
        .map(|(total, available)| percent_of((total - available) as f64, total as f64));
    (total.is_some() || available.is_some()).then_some(Memory {
        total_bytes: total,
        available_bytes: available,
        used_percent,
    })
}

#[cfg(test)]
mod tests;
