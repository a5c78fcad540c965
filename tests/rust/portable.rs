//! The readers for other systems, on Linux: beside the fast path on this very machine, and with
//! batteries laid over `/sys/class/power_supply` in a mount namespace of their own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use _native::error::Error;
use _native::reading::{Power, PowerState, Status, Traffic};
use _native::sys::Machine;
use _native::sys::linux::Linux;
use _native::sys::portable::Portable;

const SUPPLIES: &str = "/sys/class/power_supply";

fn open<M: Machine>(storage_paths: &[&str]) -> M {
    let storage_paths: Vec<PathBuf> = storage_paths.iter().map(PathBuf::from).collect();
    let mut machine = M::open(Path::new("/"), &storage_paths).unwrap();
    machine.begin(true);
    machine
}

fn disks<M: Machine>(machine: &mut M) -> Traffic {
    let mut disks = Traffic::default();
    machine.begin(false);
    machine.disk(&mut disks);
    disks
}

fn interfaces<M: Machine>(machine: &mut M) -> Traffic {
    let mut interfaces = Traffic::default();
    machine.begin(false);
    machine.network(&mut interfaces);
    interfaces
}

fn sums(traffic: &Traffic) -> (u64, u64) {
    traffic
        .iter()
        .fold((0, 0), |(all_in, all_out), (_, bytes_in, bytes_out)| {
            (all_in + bytes_in, all_out + bytes_out)
        })
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{what}: not within 20 s"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process that runs until it is dropped.
struct Running(Child);

impl Running {
    fn start(script: &str) -> Self {
        Self(Command::new("sh").args(["-c", script]).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

const BUSY: &str = "while :; do :; done";

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn memory_and_processors_are_those_of_the_fast_path() {
    let (mut fast, mut portable): (Linux, Portable) = (open(&[]), open(&[]));
    let (there, here) = (fast.memory(), portable.memory());
    assert_eq!(here.total, there.total);
    let (there, here) = (
        there.available.unwrap() as f64,
        here.available.unwrap() as f64,
    );
    assert!((here / there - 1.0).abs() < 0.2, "{here} beside {there}");
    assert_eq!(portable.cpu().unwrap().count, fast.cpu().unwrap().count);
}

#[test]
fn busy_share_is_that_of_the_fast_path() {
    let _busy = Running::start(BUSY);
    let (mut fast, mut portable): (Linux, Portable) = (open(&[]), open(&[]));
    // Two clocks of 10 ms, read one after the other on a shared machine: now and then they differ.
    wait_for("two shares within 10 points", || {
        let share = |before: _native::reading::Ticks, after: _native::reading::Ticks| {
            let (busy, idle) = (after.busy - before.busy, after.idle - before.idle);
            100.0 * busy as f64 / (busy + idle) as f64
        };
        let before = (portable.cpu().unwrap(), fast.cpu().unwrap());
        std::thread::sleep(Duration::from_millis(400));
        let after = (portable.cpu().unwrap(), fast.cpu().unwrap());
        let (here, there) = (share(before.0, after.0), share(before.1, after.1));
        assert!((0.0..=100.0).contains(&here));
        here > 10.0 && (here - there).abs() < 10.0
    });
}

#[test]
fn no_tick_passes_between_readings_too_close_to_measure() {
    let mut portable: Portable = open(&[]);
    let (first, second) = (portable.cpu().unwrap(), portable.cpu().unwrap());
    assert_eq!((first.busy, first.idle), (0, 0));
    assert_eq!(second, first);
}

#[test]
fn disks_tell_no_more_than_the_fast_path_and_what_is_written_is_seen() {
    let (mut fast, mut portable): (Linux, Portable) = (open(&[]), open(&[]));
    let before = sums(&disks(&mut portable));
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut file = fs::File::create(directory.path().join("data")).unwrap();
    file.write_all(&vec![0x55; 8 << 20]).unwrap();
    file.sync_all().unwrap();
    let here = disks(&mut portable);
    let (read, written) = sums(&here);
    let (most_read, most_written) = sums(&disks(&mut fast));
    assert!(read <= most_read && written <= most_written, "{here:?}");
    // In a container the file system may be of no disk that is listed; then nothing is told.
    let is_on_a_disk = here.iter().next().is_some();
    assert!(
        !is_on_a_disk || written >= before.1 + (8 << 20),
        "{written} after {}",
        before.1
    );
}

#[test]
fn interfaces_are_those_of_the_fast_path_between_two_looks_at_it() {
    let (mut fast, mut portable): (Linux, Portable) = (open(&[]), open(&[]));
    let (before, here, after) = (
        interfaces(&mut fast),
        interfaces(&mut portable),
        interfaces(&mut fast),
    );
    assert!(here.iter().all(|(name, ..)| name != b"lo"));
    let find = |traffic: &Traffic, name: &[u8]| {
        traffic
            .iter()
            .find(|line| line.0 == name)
            .map(|(_, received, sent)| (received, sent))
    };
    for (name, received, sent) in before.iter() {
        let (seen, last) = (find(&here, name).unwrap(), find(&after, name).unwrap());
        assert!(
            (received..=last.0).contains(&seen.0) && (sent..=last.1).contains(&seen.1),
            "{here:?}"
        );
    }
}

#[test]
fn storage_is_told_in_the_order_of_the_paths_and_a_missing_path_costs_itself() {
    let paths = ["/nowhere/at/all", env!("CARGO_MANIFEST_DIR")];
    let (mut fast, mut portable): (Linux, Portable) = (open(&paths), open(&paths));
    let (mut there, mut here) = (Vec::new(), Vec::new());
    fast.storage(&mut there);
    portable.storage(&mut here);
    assert_eq!((here.len(), here[0]), (2, None));
    let (there, here) = (there[1].unwrap(), here[1].unwrap());
    let apart = here.free_bytes.abs_diff(there.free_bytes);
    assert!(apart < 1 << 30, "{here:?} beside {there:?}");
    // Blocks that are kept for the administrator count as used here.
    assert!(
        (0.0..=100.0).contains(&here.used_percent) && here.used_percent > there.used_percent - 1.0
    );
    for source in portable
        .sources()
        .iter()
        .filter(|source| source.sensor == "storage")
    {
        let is_there = source.location == Path::new(paths[1]);
        assert_eq!(source.status == Status::Ok, is_there, "{source:?}");
    }
}

#[test]
fn own_time_covers_this_process_and_the_trees_it_is_told_of() {
    let mut portable: Portable = open(&[]);
    let start = portable.own_s(&[]).unwrap();
    wait_for("own time grows with work", || {
        std::hint::black_box((0..10_000_000_u64).fold(0, u64::wrapping_add));
        portable.own_s(&[]).unwrap() > start
    });
    // The shell of a tree waits; what it started works.
    let tree = Running::start("sh -c 'while kill -0 $PPID 2>/dev/null; do :; done' & wait");
    let other = Running::start("exec sleep 60");
    wait_for("the time of one tree apart from another", || {
        portable.own_s(&[tree.pid()]).unwrap() > portable.own_s(&[other.pid()]).unwrap() + 0.2
    });
}

#[test]
fn batteries_are_as_many_as_on_the_fast_path() {
    let (mut fast, mut portable): (Linux, Portable) = (open(&[]), open(&[]));
    let (there, here) = (fast.power().unwrap(), portable.power().unwrap());
    assert_eq!(
        (here.present, here.battery_count),
        (there.present, there.battery_count)
    );
    if !here.present {
        assert_eq!(here, there);
    }
}

#[test]
fn another_root_is_refused() {
    let refused = Portable::open(Path::new("/tmp"), &[]).unwrap_err();
    assert_eq!(
        refused,
        Error::Config("root: '/tmp' cannot be read on this system; leave it out".to_owned())
    );
}

#[test]
fn sources_are_sorted_and_say_what_was_found() {
    let mut portable: Portable = open(&["/", "/nowhere"]);
    portable.cpu();
    portable.memory();
    let sources = portable.sources();
    let keys: Vec<_> = sources
        .iter()
        .map(|source| (source.sensor, source.location.clone()))
        .collect();
    assert!(keys.is_sorted());
    let status = |sensor: &str| {
        sources
            .iter()
            .find(|source| source.sensor == sensor)
            .unwrap()
            .status
    };
    assert_eq!(
        ["cpu", "memory", "pressure"].map(status),
        [Status::Ok, Status::Ok, Status::Absent]
    );
}

/// Attributes of a pack of 40 Wh, half full, on battery at 8 W.
const PACK: [(&str, &str); 8] = [
    ("type", "Battery"),
    ("status", "Discharging"),
    ("capacity", "50"),
    ("energy_now", "20000000"),
    ("energy_full", "40000000"),
    ("energy_full_design", "50000000"),
    ("power_now", "8000000"),
    ("voltage_now", "12000000"),
];

fn lay_pack(supplies: &Path, name: &str, changes: &[(&str, &str)]) {
    fs::create_dir(supplies.join(name)).unwrap();
    for (attribute, text) in PACK.iter().chain(changes) {
        fs::write(supplies.join(name).join(attribute), text).unwrap();
    }
}

/// What the crates say of batteries, read by a process that sees `supplies` in the kernel's place;
/// `None` where this user may not mount.
fn power_of(supplies: &Path) -> Option<Seen> {
    let mount = format!("mount --bind \"$0\" {SUPPLIES} && exec \"$@\"");
    let in_namespace = |flags: &[&str], command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare
            .args(flags)
            .args(["sh", "-c", &mount])
            .arg(supplies)
            .args(command)
            .stderr(Stdio::null());
        unshare
            .output()
            .ok()
            .filter(|output| output.status.success())
    };
    let flags = [&["-m"][..], &["-r", "-m"]]
        .into_iter()
        .find(|flags| in_namespace(flags, &["true"]).is_some())?;
    let this = std::env::current_exe().unwrap();
    let inner = [
        this.to_str().unwrap(),
        "--exact",
        "told_by_the_inner_process",
        "--ignored",
        "--nocapture",
    ];
    let output = in_namespace(flags, &inner).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Some(Seen(
        text.lines()
            .find_map(|line| Some(line.strip_prefix("power: ")?.to_owned()))
            .unwrap(),
    ))
}

/// The figures as the inner process wrote them.
#[derive(Debug)]
struct Seen(String);

impl Seen {
    fn assert_is(self, expected: &Power) {
        assert_eq!(self.0, format!("{:?}", rounded(expected)));
    }
}

/// To six digits: the crate computes in single precision.
fn rounded(power: &Power) -> Power {
    let round = |figure: Option<f64>| figure.map(|figure| (figure * 1e3).round_ties_even() / 1e3);
    Power {
        percent: round(power.percent),
        battery_watts: round(power.battery_watts),
        energy_wh: round(power.energy_wh),
        energy_full_wh: round(power.energy_full_wh),
        time_to_empty_s: power.time_to_empty_s.map(f64::round_ties_even),
        ..*power
    }
}

#[test]
#[ignore = "the other half of the tests below, which start it in a mount namespace"]
fn told_by_the_inner_process() {
    let mut portable: Portable = open(&[]);
    let power = portable.power().unwrap();
    writeln!(std::io::stdout(), "\npower: {:?}", rounded(&power)).unwrap();
}

#[test]
fn a_pack_is_told_in_the_words_of_the_fast_path() {
    let supplies = tempfile::tempdir().unwrap();
    lay_pack(supplies.path(), "BAT0", &[]);
    let Some(seen) = power_of(supplies.path()) else {
        return;
    };
    seen.assert_is(&Power {
        present: true,
        percent: Some(50.0),
        plugged: Some(false),
        state: PowerState::Discharging,
        battery_watts: Some(-8.0),
        energy_wh: Some(20.0),
        energy_full_wh: Some(40.0),
        time_to_empty_s: Some(9000.0),
        battery_count: 1,
    });
}

#[test]
fn no_flow_into_a_pack_that_charges_is_none_told() {
    let supplies = tempfile::tempdir().unwrap();
    lay_pack(
        supplies.path(),
        "BAT0",
        &[("status", "Charging"), ("power_now", "0")],
    );
    let Some(seen) = power_of(supplies.path()) else {
        return;
    };
    seen.assert_is(&Power {
        present: true,
        percent: Some(50.0),
        plugged: Some(true),
        state: PowerState::Charging,
        battery_watts: None,
        energy_wh: Some(20.0),
        energy_full_wh: Some(40.0),
        time_to_empty_s: None,
        battery_count: 1,
    });
}

#[test]
fn a_pack_that_cannot_be_read_costs_itself_only() {
    let supplies = tempfile::tempdir().unwrap();
    lay_pack(supplies.path(), "BAT0", &[]);
    lay_pack(supplies.path(), "BAT1", &[]);
    fs::remove_file(supplies.path().join("BAT1/status")).unwrap();
    fs::create_dir(supplies.path().join("BAT1/status")).unwrap();
    let Some(seen) = power_of(supplies.path()) else {
        return;
    };
    seen.assert_is(&Power {
        present: true,
        percent: Some(50.0),
        plugged: Some(false),
        state: PowerState::Discharging,
        battery_watts: None,
        energy_wh: None,
        energy_full_wh: None,
        time_to_empty_s: None,
        battery_count: 2,
    });
}

#[test]
fn a_machine_whose_only_pack_cannot_be_read_is_not_taken_for_a_desktop() {
    let supplies = tempfile::tempdir().unwrap();
    lay_pack(supplies.path(), "BAT0", &[]);
    fs::remove_file(supplies.path().join("BAT0/status")).unwrap();
    fs::create_dir(supplies.path().join("BAT0/status")).unwrap();
    let Some(seen) = power_of(supplies.path()) else {
        return;
    };
    seen.assert_is(&Power {
        present: true,
        percent: None,
        plugged: None,
        state: PowerState::Unknown,
        battery_watts: None,
        energy_wh: None,
        energy_full_wh: None,
        time_to_empty_s: None,
        battery_count: 1,
    });
}
