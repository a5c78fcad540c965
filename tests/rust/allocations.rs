//! A sample allocates nothing, once the machine's devices are known.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(unsafe_code, reason = "counting allocations takes an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::Path;

use _native::idle::IdleRules;
use _native::sampler::Sampler;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A laptop with two packs and a charger on a USB-C port.
fn laptop(root: &Path) {
    write(
        root,
        "proc/stat",
        "cpu  100 0 50 900 10 0 5 0 0 0\ncpu0 100 0 50 900 10 0 5 0 0 0\nintr 1\n",
    );
    write(
        root,
        "proc/meminfo",
        "MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 8000000 kB\n",
    );
    write(
        root,
        "proc/diskstats",
        "259 0 nvme0n1 1 2 3 4 5 6 7 8 0 0 0\n259 1 nvme0n1p1 1 2 3 4 5 6 7 8 0 0 0\n7 0 loop0 1 2 3 4 5 6 7 8\n",
    );
    write(
        root,
        "proc/net/dev",
        "  lo: 1 0 0 0 0 0 0 0 1 0\nwlan0: 5 0 0 0 0 0 0 0 6 0\ndocker0: 5 0 0 0 0 0 0 0 6 0\n",
    );
    write(
        root,
        "proc/pressure/cpu",
        "some avg10=1.50 avg60=0.00 avg300=0.00 total=0\n",
    );
    write(
        root,
        "proc/self/stat",
        "1 (self) S 0 1 1 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 0 0 0\n",
    );
    for pack in ["BAT0", "BAT1"] {
        let attributes = [
            ("type", "Battery"),
            ("present", "1"),
            ("status", "Charging"),
            ("capacity", "60"),
            ("energy_now", "30000000"),
            ("energy_full", "50000000"),
            ("voltage_now", "12000000"),
            ("power_now", "9000000"),
        ];
        for (attribute, text) in attributes {
            write(
                root,
                &format!("sys/class/power_supply/{pack}/{attribute}"),
                text,
            );
        }
    }
    write(root, "sys/class/power_supply/ucsi-source-psy-1/type", "USB");
    write(root, "sys/class/power_supply/ucsi-source-psy-1/online", "1");
    write(root, "sys/class/typec/port0/power_role", "source [sink]");
}

fn steady_allocations(root: &Path, slow_max_age_s: f64) -> usize {
    let paths = ["/".into(), "/no/such/path".into()];
    let mut sampler: Sampler = Sampler::new(root, &paths, IdleRules::default()).unwrap();
    let mut sample = |tick: u32| {
        let sample = sampler.sample(f64::from(tick), slow_max_age_s);
        assert!(sample.power.is_some() && sample.cpu.is_some() && sample.memory.is_some());
    };
    (0..3).for_each(&mut sample);
    allocations(|| (3..20).for_each(&mut sample))
}

#[test]
fn allocations_are_seen() {
    assert_ne!(
        allocations(|| drop(std::hint::black_box(vec![0_u8; 10]))),
        0
    );
}

#[test]
fn a_sample_of_this_machine_allocates_nothing() {
    assert_eq!(
        steady_allocations(Path::new("/"), 1e9),
        0,
        "power and storage remembered"
    );
    assert_eq!(
        steady_allocations(Path::new("/"), 0.0),
        0,
        "everything read"
    );
}

#[test]
fn a_sample_of_a_laptop_allocates_nothing() {
    let root = tempfile::tempdir().unwrap();
    laptop(root.path());
    assert_eq!(
        steady_allocations(root.path(), 1e9),
        0,
        "power and storage remembered"
    );
    assert_eq!(steady_allocations(root.path(), 0.0), 0, "everything read");
}
