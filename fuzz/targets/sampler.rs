//! Two samples of a machine whose files hold anything: the figures of a reading can be.
#![no_main]

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use _native::idle::IdleRules;
use _native::reading::Sample;
use _native::sampler::Sampler;
use deferpower_fuzz::{BETWEEN_ATTRIBUTES, assert_amount, assert_percent, texts};
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 8] = [
    "proc/stat",
    "proc/meminfo",
    "proc/diskstats",
    "proc/net/dev",
    "proc/pressure/cpu",
    "proc/self/stat",
    "sys/class/power_supply/BAT0",
    "sys/class/power_supply/AC",
];

thread_local! {
    static ROOT: OnceCell<PathBuf> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    ROOT.with(|root| {
        let root = root.get_or_init(made);
        let texts: Vec<&[u8]> = texts(data, 2 * FILES.len()).collect();
        let (first, later) = texts.split_at(texts.len().min(FILES.len()));
        write(root, first);
        let rules = IdleRules {
            dwell_s: 1.0,
            ..IdleRules::default()
        };
        let mut sampler: Sampler = Sampler::new(root, &[root.clone()], rules).expect("a directory");
        check(sampler.sample(1000.0, 0.0));
        write(root, later);
        for step in 1_u32..4 {
            check(sampler.sample(1000.0 + f64::from(step), 0.0));
        }
        let _ = sampler.sources();
    });
});

/// An empty machine, in memory where that can be.
fn made() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let base = if shared.is_dir() {
        shared.to_owned()
    } else {
        std::env::temp_dir()
    };
    let root = base.join(format!("deferpower-fuzz-{}", std::process::id()));
    for directory in ["proc/net", "proc/pressure", "proc/self", FILES[6], FILES[7]] {
        fs::create_dir_all(root.join(directory)).expect("room for a directory");
    }
    root
}

/// Fills the files; of a supply, each attribute is one.
fn write(root: &Path, texts: &[&[u8]]) {
    for (name, text) in FILES.iter().zip(texts) {
        let path = root.join(name);
        if !path.is_dir() {
            fs::write(path, text).expect("room for a file");
            continue;
        }
        for line in text.split(|&byte| byte == BETWEEN_ATTRIBUTES) {
            let Some(at) = line.iter().position(|&byte| byte == b'=') else {
                continue;
            };
            let named = std::str::from_utf8(&line[..at]).unwrap_or_default();
            if !named.is_empty()
                && named
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_lowercase())
                && named.len() < 30
            {
                fs::write(path.join(named), &line[at + 1..]).expect("room for a file");
            }
        }
    }
}

fn check(sample: &Sample) {
    if let Some(power) = sample.power {
        assert_eq!(power.present, power.battery_count > 0);
        assert_percent(power.percent);
        assert_amount(power.energy_wh);
        assert_amount(power.time_to_empty_s);
    }
    if let Some(cpu) = sample.cpu {
        assert!(cpu.count >= 1);
        for percent in [cpu.busy_percent, cpu.own_percent, cpu.pressure_percent] {
            assert_percent(percent);
        }
    }
    if let Some(memory) = sample.memory {
        assert_percent(memory.used_percent);
    }
    if let Some(disk) = sample.disk {
        assert_amount(disk.read_bytes_per_s);
        assert_amount(disk.write_bytes_per_s);
        assert_eq!(
            disk.read_bytes_per_s.is_some(),
            disk.write_bytes_per_s.is_some()
        );
    }
    if let Some(network) = sample.network {
        assert_amount(network.rx_bytes_per_s);
        assert_amount(network.tx_bytes_per_s);
    }
    for storage in sample.storage.iter().flatten() {
        assert_percent(Some(storage.used_percent));
    }
}
