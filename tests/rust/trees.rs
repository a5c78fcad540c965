//! Every recorded device tree reads as its `expected.json` says.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use _native::idle::IdleRules;
use _native::reading::{PowerState, Sample};
use _native::sampler::Sampler;
use serde_json::{Value, json};

#[test]
fn every_tree_reads_as_expected() {
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/linux");
    let mut paths: Vec<PathBuf> = fs::read_dir(trees)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    paths.sort();
    assert!(
        paths.len() >= 40,
        "where have the trees gone? {} left",
        paths.len()
    );
    let differences: Vec<String> = paths.iter().flat_map(|tree| differences(tree)).collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

fn differences(tree: &Path) -> Vec<String> {
    let text = fs::read_to_string(tree.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let root = tempfile::tempdir().unwrap();
    lay_over(tree, root.path());
    let mut sampler: Sampler = Sampler::new(root.path(), &[], IdleRules::default()).unwrap();
    let mut found = Vec::new();
    let mut check = |step: &str, expected: &Value, sample: &Sample| {
        let path = format!("{}, {step}", tree.file_name().unwrap().display());
        compare(&path, expected, &as_json(sample), &mut found);
    };
    check("first", &expected["expected"], sampler.sample(1000.0, 0.0));
    if let Some(later) = expected.get("later") {
        for removed in later
            .get("removed")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            remove(&root.path().join(removed.as_str().unwrap()));
        }
        lay_over(&tree.join("later"), root.path());
        let after_s = later["after_s"].as_f64().unwrap();
        check(
            "later",
            &later["expected"],
            sampler.sample(1000.0 + after_s, 0.0),
        );
    }
    found
}

/// Copies what is in one directory into another, links as links.
fn lay_over(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).into_iter().flatten() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            fs::create_dir_all(&target).unwrap();
            lay_over(&source, &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(source).unwrap(), target).unwrap();
        } else {
            fs::copy(source, target).unwrap();
        }
    }
}

fn remove(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Everything that is expected must be there; a key that is left out is not checked.
fn compare(path: &str, expected: &Value, seen: &Value, differences: &mut Vec<String>) {
    if let (Value::Object(expected), Value::Object(seen)) = (expected, seen) {
        for (key, value) in expected {
            let path = format!("{path}, {key}");
            match seen.get(key) {
                Some(seen) => compare(&path, value, seen, differences),
                None => differences.push(format!("{path}: no such figure")),
            }
        }
        return;
    }
    let is_equal = match (expected.as_f64(), seen.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9_f64.max(1e-9 * a.abs().max(b.abs())),
        _ => expected == seen,
    };
    if !is_equal {
        differences.push(format!("{path}: expected {expected}, seen {seen}"));
    }
}

fn as_json(sample: &Sample) -> Value {
    json!({
        "power": sample.power.map(|power| json!({
            "present": power.present,
            "percent": power.percent,
            "plugged": power.plugged,
            "state": match power.state {
                PowerState::Charging => "charging",
                PowerState::Discharging => "discharging",
                PowerState::NotCharging => "not_charging",
                PowerState::Full => "full",
                PowerState::Unknown => "unknown",
                PowerState::None => "none",
            },
            "battery_watts": power.battery_watts,
            "energy_wh": power.energy_wh,
            "energy_full_wh": power.energy_full_wh,
            "time_to_empty_s": power.time_to_empty_s,
            "battery_count": power.battery_count,
        })),
        "cpu": sample.cpu.map(|cpu| json!({
            "busy_percent": cpu.busy_percent,
            "count": cpu.count,
            "pressure_percent": cpu.pressure_percent,
            "own_percent": cpu.own_percent,
        })),
        "memory": sample.memory.map(|memory| json!({
            "total_bytes": memory.total_bytes,
            "available_bytes": memory.available_bytes,
            "used_percent": memory.used_percent,
        })),
        "disk": sample.disk.map(|disk| json!({
            "read_bytes_per_s": disk.read_bytes_per_s,
            "write_bytes_per_s": disk.write_bytes_per_s,
        })),
        "network": sample.network.map(|network| json!({
            "rx_bytes_per_s": network.rx_bytes_per_s,
            "tx_bytes_per_s": network.tx_bytes_per_s,
        })),
        "idle_since_s": sample.idle_since_s,
        "quiet_since_s": sample.quiet_since_s,
    })
}
