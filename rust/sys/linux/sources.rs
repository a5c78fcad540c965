//! Where each sensor is read, in words for `deferpower doctor`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use super::held::{Fault, HeldFile};
use super::supplies::HeldSupply;
use super::{Linux, StoragePath};
use crate::parse::power::{Role, Supply};
use crate::reading::{MemoryBytes, Source, Status, Traffic};

type Finding = (Status, String);

/// One row per sensor, power supply and storage path, sorted.
pub(super) fn of(machine: &Linux) -> Vec<Source> {
    let row = |sensor, path: &str, (status, detail)| Source {
        sensor,
        location: machine.root.join(path),
        status,
        detail,
    };
    let mut rows = vec![
        row("cpu", "proc/stat", cpu(machine)),
        row(
            "disk",
            "proc/diskstats",
            devices(
                &machine.diskstats,
                machine.disks.traffic(),
                "no disk that counts",
            ),
        ),
        row("memory", "proc/meminfo", memory(machine)),
        row(
            "network",
            "proc/net/dev",
            devices(
                &machine.netdev,
                machine.interfaces.traffic(),
                "no interface that counts",
            ),
        ),
        row("power", "sys/class/power_supply", supplies(machine)),
        row("pressure", "proc/pressure/cpu", pressure(machine)),
    ];
    let on_ups = machine.supplies.iter().any(|(_, supply)| {
        supply
            .state()
            .is_ok_and(|supply| supply.role() == Role::Ups)
    });
    rows.extend(machine.supplies.iter().map(|(name, held)| {
        let mut row = row("power", "sys/class/power_supply", supply(held, on_ups));
        row.location.push(OsStr::from_bytes(name.to_bytes()));
        row
    }));
    rows.extend(machine.storage.iter().map(|path| {
        let (status, detail) = storage(path);
        Source {
            sensor: "storage",
            location: path.path.clone(),
            status,
            detail,
        }
    }));
    rows.sort_by(|a, b| {
        (a.sensor, a.location.as_os_str()).cmp(&(b.sensor, b.location.as_os_str()))
    });
    rows
}

fn cpu(machine: &Linux) -> Finding {
    let found = machine.last.cpu.map(|ticks| match ticks.count {
        1 => "1 processor".to_owned(),
        count => format!("{count} processors"),
    });
    found_in(
        &machine.stat,
        found,
        "no such file",
        "no line cpu with four counters",
    )
}

fn pressure(machine: &Linux) -> Finding {
    let found = machine
        .last
        .pressure_percent
        .map(|_| "some avg10".to_owned());
    found_in(
        &machine.pressure,
        found,
        "no such file: this kernel offers no pressure figures",
        "no figure some avg10",
    )
}

fn memory(machine: &Linux) -> Finding {
    let found = match machine.last.memory {
        MemoryBytes {
            total: Some(_),
            available: Some(_),
        } => Some("MemTotal and MemAvailable"),
        MemoryBytes {
            total: Some(_),
            available: None,
        } => Some("MemTotal alone"),
        MemoryBytes {
            total: None,
            available: Some(_),
        } => Some("MemAvailable alone"),
        MemoryBytes {
            total: None,
            available: None,
        } => None,
    };
    found_in(
        &machine.meminfo,
        found.map(str::to_owned),
        "no such file",
        "neither MemTotal nor MemAvailable",
    )
}

fn found_in(file: &HeldFile, found: Option<String>, absent: &str, nonsense: &str) -> Finding {
    match (file.fault(), found) {
        (Some(fault), _) => faulty(fault, absent),
        (None, Some(found)) => (Status::Ok, found),
        (None, None) => (Status::Failing, nonsense.to_owned()),
    }
}

fn devices(file: &HeldFile, traffic: &Traffic, none_counts: &str) -> Finding {
    if let Some(fault) = file.fault() {
        return faulty(fault, "no such file");
    }
    let names: Vec<_> = traffic
        .iter()
        .map(|(name, ..)| String::from_utf8_lossy(name))
        .collect();
    if names.is_empty() {
        return (Status::Absent, none_counts.to_owned());
    }
    (Status::Ok, names.join(", "))
}

fn supplies(machine: &Linux) -> Finding {
    if let Some(fault) = machine.supplies.fault() {
        return faulty(fault, "no such directory: a machine without a battery");
    }
    let found = match machine.supplies.iter().count() {
        0 => "no supply".to_owned(),
        1 => "1 supply".to_owned(),
        count => format!("{count} supplies"),
    };
    (Status::Ok, found)
}

fn supply(held: &HeldSupply, on_ups: bool) -> Finding {
    let found = match held.state() {
        Ok(supply) => role(supply, on_ups),
        Err(fault) => return faulty(fault, "no such directory"),
    };
    let unread: Vec<_> = held
        .unread()
        .map(|attribute| attribute.name().to_string_lossy())
        .collect();
    if unread.is_empty() {
        return (Status::Ok, found.to_owned());
    }
    (
        Status::Failing,
        format!("{found}; cannot be read: {}", unread.join(", ")),
    )
}

fn role(supply: &Supply, on_ups: bool) -> &'static str {
    match supply.role() {
        Role::Pack if on_ups => "pack behind a UPS, not counted",
        Role::Pack => "pack",
        Role::Ups => "UPS",
        Role::Peripheral => "peripheral, not counted",
        Role::EmptyBay => "empty bay",
        Role::Other => "of another kind, not counted",
        Role::Adapter => match supply.says_online() {
            None => "adapter, does not say whether it is online",
            Some(false) => "adapter, offline",
            Some(true) if supply.port_is_source() => "adapter, USB-C port is a source",
            Some(true) => "adapter, online",
        },
    }
}

fn storage(path: &StoragePath) -> Finding {
    match path.last {
        Ok(storage) => (Status::Ok, format!("{} bytes free", storage.free_bytes)),
        Err(error) => match Fault::from(error) {
            Fault::Absent => (Status::Absent, "no such path".to_owned()),
            Fault::Failing(error) => (Status::Failing, format!("cannot be asked: {}", said(error))),
        },
    }
}

fn faulty(fault: Fault, absent: &str) -> Finding {
    match fault {
        Fault::Absent => (Status::Absent, absent.to_owned()),
        Fault::Failing(error) => (Status::Failing, format!("cannot be read: {}", said(error))),
    }
}

/// What the system says of an error, as Python's `os.strerror` gives it.
fn said(error: Errno) -> String {
    let text = std::io::Error::from(error).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
