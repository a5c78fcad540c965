//! Files that come, go, grow, fail and are replaced while they are held open: reading goes on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;

use _native::idle::IdleRules;
use _native::reading::{Cpu, Power, PowerState, Sample, Status};
use _native::sampler::Sampler;
use tempfile::TempDir;

/// A directory that stands for a machine, and the sampler that reads it once a second.
struct Machine {
    root: TempDir,
    sampler: Sampler,
    now_s: f64,
}

impl Machine {
    /// A machine with these files, read once.
    fn with(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            write(root.path(), path, text);
        }
        let sampler = Sampler::new(root.path(), &[], IdleRules::default()).unwrap();
        let mut machine = Self {
            root,
            sampler,
            now_s: 1000.0,
        };
        machine.read();
        machine
    }

    /// Reads everything.
    fn read(&mut self) -> Sample {
        self.read_slow_after(0.0)
    }

    /// Reads power and what is absent only once older than this.
    fn read_slow_after(&mut self, slow_max_age_s: f64) -> Sample {
        self.now_s += 1.0;
        self.sampler.sample(self.now_s, slow_max_age_s).clone()
    }

    fn power(&mut self) -> Power {
        self.read().power.unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        write(self.root.path(), path, text);
    }

    /// Puts a new file in a file's place, as editors do.
    fn replace(&self, path: &str, text: &str) {
        self.write("new", text);
        fs::rename(self.root.path().join("new"), self.root.path().join(path)).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.root.path().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
    }

    /// From here on it can be opened, but not read.
    fn let_fail(&self, path: &str) {
        self.remove(path);
        fs::create_dir(self.root.path().join(path)).unwrap();
    }

    /// Status and detail of a sensor, and what follows the root in its location.
    fn sources(&mut self, sensor: &str) -> Vec<(String, Status, String)> {
        let mut sources = self.sampler.sources();
        assert!(sources.is_sorted_by(|a, b| (a.sensor, &a.location) <= (b.sensor, &b.location)));
        sources.retain(|source| source.sensor == sensor);
        let below = |location: &Path| {
            location
                .strip_prefix(self.root.path())
                .unwrap_or(location)
                .display()
                .to_string()
        };
        sources
            .into_iter()
            .map(|source| (below(&source.location), source.status, source.detail))
            .collect()
    }

    /// Status and detail of a sensor that has one source.
    fn source(&mut self, sensor: &str) -> (Status, String) {
        let sources = self.sources(sensor);
        assert_eq!(sources.len(), 1);
        sources
            .into_iter()
            .next()
            .map(|(_, status, detail)| (status, detail))
            .unwrap()
    }
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

const MEMINFO: &str = "MemTotal: 400 kB\nMemAvailable: 100 kB\n";

fn used(sample: &Sample) -> Option<f64> {
    sample.memory?.used_percent
}

fn stat(processors: usize, busy: usize) -> String {
    let rows: String = (0..processors)
        .map(|cpu| format!("cpu{cpu} 1 2 3 4 5 6 7 8 9 10\n"))
        .collect();
    format!(
        "cpu  {busy} 0 0 1000 0 0 0 0 0 0\n{rows}intr {}\nctxt 1\n",
        "0 ".repeat(50_000)
    )
}

fn cpu(sample: &Sample) -> (u64, Option<f64>) {
    let Cpu {
        count,
        busy_percent,
        ..
    } = sample.cpu.unwrap();
    (count, busy_percent)
}

fn disk(name: &str, sectors: u64) -> String {
    format!("8 0 {name} 1 2 {sectors} 4 5 6 {sectors} 8 9 10 11\n")
}

#[test]
fn a_file_that_is_replaced_is_read_anew() {
    let mut machine = Machine::with(&[("proc/meminfo", MEMINFO)]);
    assert_eq!(used(&machine.read()), Some(75.0));
    machine.write("proc/meminfo", "MemTotal: 400 kB\nMemAvailable: 200 kB\n");
    assert_eq!(
        used(&machine.read_slow_after(1e9)),
        Some(50.0),
        "written in place"
    );
    machine.replace("proc/meminfo", "MemTotal: 400 kB\nMemAvailable: 300 kB\n");
    assert_eq!(
        used(&machine.read_slow_after(1e9)),
        Some(25.0),
        "another file in its place"
    );
}

#[test]
fn an_absent_file_is_looked_for_at_the_next_slow_read() {
    let mut machine = Machine::with(&[("proc/meminfo", MEMINFO)]);
    machine.remove("proc/meminfo");
    assert_eq!(machine.read_slow_after(1e9).memory, None);
    assert_eq!(
        machine.source("memory"),
        (Status::Absent, "no such file".to_owned())
    );
    machine.write("proc/meminfo", MEMINFO);
    assert_eq!(machine.read_slow_after(1e9).memory, None);
    assert_eq!(used(&machine.read()), Some(75.0));
    assert_eq!(
        machine.source("memory"),
        (Status::Ok, "MemTotal and MemAvailable".to_owned())
    );
}

#[test]
fn a_file_that_fails_costs_its_sensor_and_is_tried_again() {
    let files = [
        ("proc/meminfo", MEMINFO),
        ("proc/pressure/cpu", "some avg10=2.50\n"),
        ("proc/stat", "cpu 1 2 3 4\n"),
    ];
    let mut machine = Machine::with(&files);
    machine.let_fail("proc/meminfo");
    let sample = machine.read_slow_after(1e9);
    assert_eq!(sample.memory, None);
    assert_eq!(sample.cpu.unwrap().pressure_percent, Some(2.5));
    assert_eq!(
        machine.source("memory"),
        (Status::Failing, "cannot be read: Is a directory".to_owned())
    );
    machine.remove("proc/meminfo");
    machine.write("proc/meminfo", MEMINFO);
    assert_eq!(
        used(&machine.read_slow_after(1e9)),
        Some(75.0),
        "at the very next sample"
    );
}

#[test]
fn processors_come_and_go_beyond_any_buffer() {
    let mut machine = Machine::with(&[("proc/stat", &stat(1, 1000))]);
    for (processors, busy) in [(2, 2000), (500, 3000), (3, 4000), (4000, 5000)] {
        machine.write("proc/stat", &stat(processors, busy));
        assert_eq!(cpu(&machine.read()), (processors as u64, Some(100.0)));
    }
    assert_eq!(
        machine.source("cpu"),
        (Status::Ok, "4000 processors".to_owned())
    );
}

#[test]
fn disks_are_listed_beyond_any_buffer() {
    let list = |disks: usize, sectors| -> String {
        (0..disks)
            .map(|number| disk(&format!("sd{}", "x".repeat(number)), sectors))
            .collect()
    };
    let mut machine = Machine::with(&[("proc/diskstats", &list(1, 0))]);
    machine.write("proc/diskstats", &list(200, 100));
    let rates = |sample: Sample| sample.disk.unwrap().read_bytes_per_s;
    assert_eq!(rates(machine.read()), None);
    machine.write("proc/diskstats", &list(200, 101));
    assert_eq!(rates(machine.read()), Some(200.0 * 512.0));
    machine.write("proc/diskstats", "");
    assert_eq!(machine.read().disk, None);
    assert_eq!(
        machine.source("disk"),
        (Status::Absent, "no disk that counts".to_owned())
    );
}

type Attributes = &'static [(&'static str, &'static str)];

const PACK: Attributes = &[
    ("type", "Battery"),
    ("status", "Discharging"),
    ("capacity", "50"),
];

fn plug_in(machine: &Machine, name: &str, attributes: &[(&str, &str)]) {
    for (attribute, text) in attributes {
        machine.write(&format!("sys/class/power_supply/{name}/{attribute}"), text);
    }
}

#[test]
fn supplies_come_and_go() {
    let mut machine = Machine::with(&[]);
    assert_eq!(machine.power().battery_count, 0);
    let absent = "no such directory: a machine without a battery";
    assert_eq!(machine.source("power"), (Status::Absent, absent.to_owned()));
    plug_in(&machine, "BAT1", PACK);
    assert_eq!(machine.power().battery_count, 1);
    plug_in(&machine, "BAT0", PACK);
    plug_in(&machine, "AC", &[("type", "Mains"), ("online", "1")]);
    let power = machine.power();
    assert_eq!((power.battery_count, power.plugged), (2, Some(true)));
    machine.remove("sys/class/power_supply/AC");
    machine.remove("sys/class/power_supply/BAT1");
    let power = machine.power();
    assert_eq!((power.battery_count, power.plugged), (1, Some(false)));
    machine.remove("sys/class/power_supply");
    assert_eq!(machine.power().state, PowerState::None);
    plug_in(&machine, "BAT0", PACK);
    assert_eq!(machine.power().state, PowerState::Discharging);
}

#[test]
fn a_supply_is_another_when_its_directory_is() {
    let mut machine = Machine::with(&[]);
    plug_in(&machine, "BAT0", PACK);
    assert_eq!(machine.power().percent, Some(50.0));
    machine.remove("sys/class/power_supply/BAT0");
    plug_in(
        &machine,
        "BAT0",
        &[
            ("type", "Battery"),
            ("energy_now", "9"),
            ("energy_full", "10"),
        ],
    );
    let power = machine.power();
    assert_eq!(
        (power.percent, power.state),
        (Some(90.0), PowerState::Unknown)
    );
}

#[test]
fn one_attribute_that_fails_costs_its_figure() {
    let mut machine = Machine::with(&[]);
    plug_in(&machine, "BAT0", PACK);
    plug_in(&machine, "BAT0", &[("power_now", "5000000")]);
    assert_eq!(machine.power().battery_watts, Some(-5.0));
    machine.let_fail("sys/class/power_supply/BAT0/power_now");
    machine.let_fail("sys/class/power_supply/BAT0/capacity");
    let power = machine.power();
    assert_eq!(
        (power.battery_watts, power.percent, power.state),
        (None, None, PowerState::Discharging)
    );
    let detail = "pack; cannot be read: capacity, power_now".to_owned();
    assert_eq!(
        machine.sources("power")[1],
        (
            "sys/class/power_supply/BAT0".to_owned(),
            Status::Failing,
            detail
        )
    );
    machine.remove("sys/class/power_supply/BAT0/capacity");
    plug_in(
        &machine,
        "BAT0",
        &[("capacity", "40"), ("energy_full", "7000000")],
    );
    let power = machine.power();
    assert_eq!(
        (power.percent, power.energy_full_wh),
        (Some(40.0), Some(7.0))
    );
    plug_in(&machine, "BAT0", &[("type", "Mains"), ("online", "1")]);
    machine.read();
    let (_, status, detail) = machine.sources("power").remove(1);
    assert_eq!(
        (status, detail.as_str()),
        (Status::Ok, "adapter, online"),
        "what is not asked for any more does not fail"
    );
}

#[test]
fn a_port_changes_its_role() {
    let mut machine = Machine::with(&[("sys/class/typec/port0/power_role", "[source] sink\n")]);
    plug_in(&machine, "BAT0", PACK);
    plug_in(
        &machine,
        "ucsi-source-psy-USBC000:001",
        &[("type", "USB"), ("online", "1")],
    );
    assert_eq!(machine.power().plugged, Some(false));
    machine.write("sys/class/typec/port1/power_role", "source [sink]\n");
    assert_eq!(
        machine.power().plugged,
        Some(false),
        "port1 is another supply's"
    );
    machine.write("sys/class/typec/port0/power_role", "source [sink]\n");
    assert_eq!(machine.power().plugged, Some(true));
    let own = "sys/class/power_supply/ucsi-source-psy-USBC000:001/device/typec/port7/power_role";
    machine.write(own, "[source]\n");
    assert_eq!(
        machine.power().plugged,
        Some(false),
        "its own ports go before all"
    );
    machine.remove("sys/class/power_supply/ucsi-source-psy-USBC000:001/device/typec/port7");
    assert_eq!(machine.power().plugged, Some(true), "no port is known");
}

#[test]
fn what_each_supply_is_told() {
    let mut machine = Machine::with(&[("sys/class/typec/port0/power_role", "[source] sink\n")]);
    let supplies: [(&str, Attributes, &str); 9] = [
        (
            "AC",
            &[("type", "Mains"), ("online", "0")],
            "adapter, offline",
        ),
        ("BAT0", PACK, "pack behind a UPS, not counted"),
        (
            "BAT1",
            &[("type", "Battery"), ("present", "0")],
            "empty bay",
        ),
        ("bms", &[("type", "BMS")], "of another kind, not counted"),
        (
            "hid",
            &[("type", "Battery"), ("scope", "Device")],
            "peripheral, not counted",
        ),
        (
            "pd",
            &[("type", "USB_PD"), ("online", "1")],
            "adapter, USB-C port is a source",
        ),
        (
            "ucsi-source-psy-2",
            &[("type", "USB"), ("online", "x")],
            "adapter, does not say whether it is online",
        ),
        ("ups", &[("type", "UPS")], "UPS"),
        (
            "wireless",
            &[("type", "Wireless"), ("online", "1")],
            "adapter, online",
        ),
    ];
    for (name, attributes, _) in supplies {
        plug_in(&machine, name, attributes);
    }
    machine.write("sys/class/power_supply/.keep", "");
    machine.write("sys/class/power_supply/file", "");
    machine.read();
    let row = |name: &str, detail: &str| {
        (
            format!("sys/class/power_supply{name}"),
            Status::Ok,
            detail.to_owned(),
        )
    };
    let mut expected = vec![row("", "9 supplies")];
    expected.extend(supplies.map(|(name, _, detail)| row(&format!("/{name}"), detail)));
    assert_eq!(machine.sources("power"), expected);
    machine.write("sys/class/typec/port0/power_role", "source [sink]\n");
    machine.read();
    assert_eq!(machine.sources("power")[6], row("/pd", "adapter, online"));
}

/// Puts a process into the machine that used so many ticks, 100 of which are a second.
fn run(machine: &Machine, pid: u32, parent: u32, ticks: u32) {
    let line = format!("{pid} (a) b) S {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 0 0 0\n");
    machine.write(&format!("proc/{pid}/stat"), &line);
    if pid == 1 {
        machine.write("proc/self/stat", &line);
    }
}

#[test]
fn process_trees_are_own_work() {
    let mut machine = Machine::with(&[]);
    // 1 is this process; 50 its command, with a child and a grandchild; 60 is a stranger.
    let family = [(1, 0), (50, 1), (51, 50), (49, 51), (60, 2)];
    let mut own_percent = |second: u32, work: Option<&[u32]>| {
        machine.write("proc/stat", &format!("cpu {0} 0 0 0\n", second * 100));
        for (pid, parent) in family {
            run(&machine, pid, parent, second * 10);
        }
        machine.sampler.set_own_work(work.map(<[u32]>::to_vec));
        machine.read().cpu.unwrap().own_percent.map(f64::round)
    };
    assert_eq!(own_percent(1, None), None);
    assert_eq!(own_percent(2, None), Some(10.0), "this process alone");
    own_percent(3, Some(&[50]));
    assert_eq!(
        own_percent(4, Some(&[50])),
        Some(40.0),
        "and its command's three"
    );
    assert_eq!(
        own_percent(5, Some(&[50, 51, 1])),
        Some(40.0),
        "each counts once"
    );
    assert_eq!(own_percent(6, None), None, "what is known of ran backwards");
}

#[test]
fn this_machine_is_read() {
    let paths = ["/".into(), "/no/such/path".into(), "/with\0nul".into()];
    let mut sampler: Sampler = Sampler::new(Path::new("/"), &paths, IdleRules::default()).unwrap();
    let absent = sampler.sources();
    let storage: Vec<_> = absent
        .iter()
        .filter(|source| source.sensor == "storage")
        .map(|source| source.status)
        .collect();
    assert_eq!(
        storage,
        [Status::Ok, Status::Absent, Status::Failing],
        "sources() looks for itself before the first sample"
    );
    let first = sampler.sample(1.0, 0.0).clone();
    assert_eq!(first.cpu.and_then(|cpu| cpu.busy_percent), None);
    assert!(
        first
            .memory
            .unwrap()
            .used_percent
            .is_some_and(|percent| (0.0..=100.0).contains(&percent))
    );
    assert!(first.storage[0].is_some() && first.storage[1..] == [None, None]);
    let started = std::time::Instant::now();
    let own = loop {
        // Work, until the processor's clock has ticked and shows it.
        let own = sampler
            .sample(1.0 + started.elapsed().as_secs_f64(), 1e9)
            .cpu
            .unwrap()
            .own_percent;
        if own.is_some_and(|percent| percent > 0.0) || started.elapsed().as_secs() >= 30 {
            break own;
        }
    };
    assert!(own.is_some_and(|percent| percent > 0.0 && percent <= 100.0));
}
