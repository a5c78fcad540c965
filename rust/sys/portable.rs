//! Other systems: what the crates `battery` and `sysinfo` say, brought to the meaning of
//! SEMANTICS.md ("Other systems").
//!
//! Both crates answer with a number where they know none; here such a number is `None`.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sysinfo::{
    Disk, DiskRefreshKind, Disks, MINIMUM_CPU_UPDATE_INTERVAL, MemoryRefreshKind, Networks, Pid,
    Process, ProcessRefreshKind, ProcessesToUpdate, System,
};

use self::batteries::{UNREADABLE, pack};
use super::Machine;
use crate::error::Error;
use crate::parse::power::{Pack, plugged_by_packs, together};
use crate::reading::{MemoryBytes, Power, Source, Status, Storage, Ticks, Traffic, percent_of};

mod batteries;

/// How the names of interfaces begin whose traffic also passes through one of hardware.
const CARRIED: [&[u8]; 16] = [
    b"utun", b"tun", b"tap", b"wg", b"ipsec", b"gif", b"gre", b"stf", b"bridge", b"vmnet",
    b"vmenet", b"vlan", b"lagg", b"epair", b"bond", b"veth",
];

/// The sensors of a machine whose system is asked through the two crates.
#[derive(Debug)]
pub struct Portable {
    load: Option<Load>,
    /// Apart from the one in `load`, whose measured interval a look at processes would restart.
    processes: Option<(System, Pid)>,
    disks: Option<Disks>,
    networks: Option<Networks>,
    storage_paths: Vec<PathBuf>,
    /// How many batteries there were at the last look, or why that cannot be told.
    batteries: Result<usize, String>,
}

impl Machine for Portable {
    fn open(root: &Path, storage_paths: &[PathBuf]) -> Result<Self, Error> {
        if root != Path::new("/") {
            let root = root.display();
            return Err(Error::Config(format!(
                "root: '{root}' cannot be read on this system; leave it out"
            )));
        }
        Ok(Self {
            load: System::new().ok().map(Load::new),
            processes: System::new().ok().zip(sysinfo::get_current_pid().ok()),
            disks: Disks::new().ok(),
            networks: Networks::new().ok(),
            storage_paths: storage_paths.to_vec(),
            batteries: Ok(0),
        })
    }

    fn begin(&mut self, slow: bool) {
        let Some(disks) = &mut self.disks else { return };
        let traffic = DiskRefreshKind::nothing().with_io_usage();
        if slow {
            disks.refresh_specifics(true, traffic.with_storage());
        } else {
            for disk in disks.iter_mut() {
                disk.refresh_specifics(traffic);
            }
        }
    }

    fn cpu(&mut self) -> Option<Ticks> {
        self.load.as_mut()?.ticks()
    }

    fn own_s(&mut self, pids: &[u32]) -> Option<f64> {
        let (system, own) = self.processes.as_mut()?;
        let update = if pids.is_empty() {
            ProcessesToUpdate::Some(&[*own])
        } else {
            ProcessesToUpdate::All
        };
        system.refresh_processes_specifics(update, true, ProcessRefreshKind::nothing().with_cpu());
        let processes = system.processes();
        let parent = |pid: &Pid| processes.get(pid)?.parent();
        let is_own = |process: &Process| {
            // Where a parent's id was given away again, the line may run in a circle.
            let mut line = std::iter::successors(Some(process.pid()), parent).take(processes.len());
            process.pid() == *own || line.any(|pid| pids.contains(&pid.as_u32()))
        };
        processes.get(own)?;
        let milliseconds: u64 = processes
            .values()
            .filter(|process| is_own(process))
            .map(Process::accumulated_cpu_time)
            .sum();
        Some(milliseconds as f64 / 1000.0)
    }

    fn disk(&mut self, disks: &mut Traffic) {
        disks.clear();
        self.list_disks(disks);
    }

    fn network(&mut self, interfaces: &mut Traffic) {
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
        }
        interfaces.clear();
        self.list_interfaces(interfaces);
    }

    fn memory(&mut self) -> MemoryBytes {
        let Some(load) = &mut self.load else {
            return MemoryBytes::default();
        };
        load.system
            .refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let total = Some(load.system.total_memory()).filter(|&total| total > 0);
        let available = Some(load.system.available_memory()).filter(|&available| available > 0);
        MemoryBytes {
            total,
            available: available.filter(|&available| total.is_none_or(|total| available <= total)),
        }
    }

    fn pressure_percent(&mut self) -> Option<f64> {
        None
    }

    fn power(&mut self) -> Option<Power> {
        // Asked for anew each time: packs come and go, and on some systems none may change threads.
        let batteries = battery::Manager::new()
            .and_then(|manager| Ok(manager.batteries()?.collect::<Vec<_>>()));
        let batteries = match batteries {
            Ok(batteries) => batteries,
            Err(error) => {
                self.batteries = Err(error.to_string());
                return None;
            }
        };
        let fault = batteries.iter().find_map(|battery| battery.as_ref().err());
        self.batteries = fault.map_or(Ok(batteries.len()), |error| Err(error.to_string()));
        let packs: Vec<Pack> = batteries
            .iter()
            .map(|battery| battery.as_ref().map_or(UNREADABLE, pack))
            .collect();
        let packs = packs.iter().copied();
        Some(together(packs.clone(), plugged_by_packs(packs)))
    }

    fn storage(&mut self, storage: &mut Vec<Option<Storage>>) {
        storage.clear();
        storage.extend(self.storage_paths.iter().map(|path| self.space(path)));
    }

    fn sources(&self) -> Vec<Source> {
        let (mut disks, mut interfaces) = (Traffic::default(), Traffic::default());
        self.list_disks(&mut disks);
        self.list_interfaces(&mut interfaces);
        let system = self.load.as_ref().map(|load| &load.system);
        let processors = match system.map_or(0, |system| system.cpus().len()) {
            0 => (Status::Absent, "not told".to_owned()),
            1 => (Status::Ok, "1 processor".to_owned()),
            count => (Status::Ok, format!("{count} processors")),
        };
        let memory = match system.map_or(0, System::total_memory) {
            0 => (Status::Absent, "not told"),
            _ => (Status::Ok, "total and available"),
        };
        let power = match &self.batteries {
            Ok(0) => (Status::Ok, "no battery".to_owned()),
            Ok(1) => (Status::Ok, "1 battery".to_owned()),
            Ok(count) => (Status::Ok, format!("{count} batteries")),
            Err(error) => (Status::Failing, format!("cannot be read: {error}")),
        };
        let row = |sensor, location: &str, (status, detail): (Status, String)| Source {
            sensor,
            location: PathBuf::from(location),
            status,
            detail,
        };
        let mut rows = vec![
            row("cpu", "sysinfo", processors),
            row("disk", "sysinfo", devices(&disks)),
            row("memory", "sysinfo", (memory.0, memory.1.to_owned())),
            row("network", "sysinfo", devices(&interfaces)),
            row("power", "battery", power),
            row(
                "pressure",
                "sysinfo",
                (Status::Absent, "not told on this system".to_owned()),
            ),
        ];
        rows.extend(self.storage_paths.iter().map(|path| {
            let (status, detail) = match self.space(path) {
                Some(storage) => (Status::Ok, format!("{} bytes free", storage.free_bytes)),
                None if path.exists() => {
                    (Status::Failing, "its file system is not listed".to_owned())
                }
                None => (Status::Absent, "no such path".to_owned()),
            };
            Source {
                sensor: "storage",
                location: path.clone(),
                status,
                detail,
            }
        }));
        rows.sort_by(|a, b| {
            (a.sensor, a.location.as_os_str()).cmp(&(b.sensor, b.location.as_os_str()))
        });
        rows
    }
}

impl Portable {
    /// Adds the disks that count, as they were last refreshed.
    fn list_disks(&self, traffic: &mut Traffic) {
        let mut known = HashSet::new();
        for disk in self.disks.iter().flatten().filter(|disk| counts(disk)) {
            let (device, usage) = (device(disk), disk.usage());
            // Nothing since boot: the system does not count.
            let is_told = usage.total_read_bytes > 0 || usage.total_written_bytes > 0;
            if is_told && !known.contains(&device) {
                traffic.push(&device, usage.total_read_bytes, usage.total_written_bytes);
                known.insert(device);
            }
        }
    }

    /// Adds the interfaces that count, as they were last refreshed.
    fn list_interfaces(&self, traffic: &mut Traffic) {
        let mut listed: Vec<_> = self
            .networks
            .iter()
            .flatten()
            .map(|(name, data)| (name.as_encoded_bytes(), data))
            .filter(|(name, _)| !is_loopback(name))
            .collect();
        if listed.iter().any(|(name, _)| !is_carried(name)) {
            listed.retain(|(name, _)| !is_carried(name));
        }
        listed.sort_unstable_by_key(|(name, _)| *name);
        for (name, data) in listed {
            traffic.push(name, data.total_received(), data.total_transmitted());
        }
    }

    fn space(&self, path: &Path) -> Option<Storage> {
        let disk = file_system(self.disks.as_deref().unwrap_or_default(), path)?;
        let (total, free) = (disk.total_space(), disk.available_space());
        let used = total.checked_sub(free)?;
        let used_percent = if total > 0 {
            percent_of(used as f64, total as f64)
        } else {
            0.0
        };
        Some(Storage {
            used_percent,
            free_bytes: free,
        })
    }
}

/// What was found of disks or interfaces.
fn devices(traffic: &Traffic) -> (Status, String) {
    let names: Vec<_> = traffic
        .iter()
        .map(|(name, ..)| String::from_utf8_lossy(name))
        .collect();
    let status = if names.is_empty() {
        Status::Absent
    } else {
        Status::Ok
    };
    (
        status,
        if names.is_empty() {
            "none that counts".to_owned()
        } else {
            names.join(", ")
        },
    )
}

/// Busy and idle nanoseconds, added up from the percentages that sysinfo tells.
#[derive(Debug)]
struct Load {
    system: System,
    measured_at: Option<Instant>,
    busy_ns: u64,
    idle_ns: u64,
}

impl Load {
    fn new(system: System) -> Self {
        Self {
            system,
            measured_at: None,
            busy_ns: 0,
            idle_ns: 0,
        }
    }

    fn ticks(&mut self) -> Option<Ticks> {
        let is_due = self
            .measured_at
            .is_none_or(|then| then.elapsed() >= MINIMUM_CPU_UPDATE_INTERVAL);
        if is_due {
            self.system.refresh_cpu_usage();
            let now = Instant::now();
            // The first percentage is that of no interval of ours.
            if let Some(then) = self.measured_at.replace(now) {
                self.add(now.duration_since(then).as_nanos() as f64);
            }
        }
        let count = self.system.cpus().len() as u64;
        (count > 0).then_some(Ticks {
            busy: self.busy_ns,
            idle: self.idle_ns,
            count,
        })
    }

    fn add(&mut self, elapsed_ns: f64) {
        let busy_share = f64::from(self.system.global_cpu_usage()) / 100.0;
        if (0.0..=1.0).contains(&busy_share) {
            let all_ns = elapsed_ns * self.system.cpus().len() as f64;
            self.busy_ns += (all_ns * busy_share) as u64;
            self.idle_ns += (all_ns * (1.0 - busy_share)) as u64;
        }
    }
}

/// On macOS every volume tells the traffic of the drive below it, so one volume stands for all.
fn counts(disk: &Disk) -> bool {
    !cfg!(target_os = "macos") || disk.mount_point() == Path::new("/")
}

/// What tells one device from another; a device may be mounted in several places.
fn device(disk: &Disk) -> Vec<u8> {
    match disk.id() {
        // There, the name is the label, which need not be unique.
        Some(id) if cfg!(windows) => id.to_string().into_bytes(),
        _ => disk.name().as_encoded_bytes().to_vec(),
    }
}

fn is_carried(name: &[u8]) -> bool {
    CARRIED.iter().any(|kind| name.starts_with(kind))
}

fn is_loopback(name: &[u8]) -> bool {
    name.strip_prefix(b"lo")
        .is_some_and(|number| number.iter().all(u8::is_ascii_digit))
}

/// The file system that holds a path; `None` if the path does not exist or it is not listed.
fn file_system<'a>(disks: &'a [Disk], path: &Path) -> Option<&'a Disk> {
    let id = device_id(&fs::metadata(path).ok()?);
    let same = disks.iter().find(|disk| id.is_some() && disk.id() == id);
    // Volumes of one APFS container share its space, and not all of them are listed.
    if same.is_some() || !cfg!(any(target_os = "macos", windows)) {
        return same;
    }
    let path = std::path::absolute(path).ok()?;
    let holding = disks
        .iter()
        .filter(|disk| path.starts_with(disk.mount_point()));
    holding.max_by_key(|disk| disk.mount_point().as_os_str().len())
}

#[cfg(unix)]
fn device_id(metadata: &Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::dev(metadata))
}

#[cfg(not(unix))]
fn device_id(_: &Metadata) -> Option<u64> {
    None
}
