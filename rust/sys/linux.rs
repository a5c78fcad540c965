//! Linux: files of `/proc` and `/sys`, held open and read again with one `pread` each.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rustix::fs::{CWD, statvfs};
use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;

use self::held::{Ground, HeldFile, Shape};
use self::processes::Processes;
use self::supplies::Supplies;
use super::Machine;
use crate::error::Error;
use crate::parse::devices::Devices;
use crate::parse::stat::cpu_lines;
use crate::parse::{
    parse_diskstats, parse_meminfo, parse_netdev, parse_pressure, parse_process_stat, parse_stat,
};
use crate::reading::{MemoryBytes, Power, Source, Storage, Ticks, Traffic, percent_of};

pub mod bells;
mod held;
mod processes;
mod sources;
mod supplies;

/// Ticks a second in the files of a root that is not this machine's.
const RECORDED_TICKS_PER_S: f64 = 100.0;

/// A machine that runs Linux, or the copy of one's files.
#[derive(Debug)]
pub struct Linux {
    root: PathBuf,
    ground: Ground,
    stat: HeldFile,
    meminfo: HeldFile,
    pressure: HeldFile,
    diskstats: HeldFile,
    netdev: HeldFile,
    disks: Devices,
    interfaces: Devices,
    supplies: Supplies,
    processes: Processes,
    /// What this process used, where the kernel cannot be asked: the root is a copy.
    own_stat: HeldFile,
    storage: Vec<StoragePath>,
    last: Last,
    /// What a file said, until it is parsed.
    buffer: Vec<u8>,
}

/// What the last sample found, for [`Machine::sources`].
#[derive(Debug, Default)]
struct Last {
    cpu: Option<Ticks>,
    memory: MemoryBytes,
    pressure_percent: Option<f64>,
}

#[derive(Debug)]
struct StoragePath {
    path: PathBuf,
    name: Option<CString>,
    last: Result<Storage, Errno>,
}

impl Machine for Linux {
    fn open(root: &Path, storage_paths: &[PathBuf]) -> Result<Self, Error> {
        let ground = if root == Path::new("/") {
            Ground::Kernel
        } else {
            Ground::Ordinary
        };
        let name = |path: &str| {
            CString::new(root.join(path).into_os_string().into_encoded_bytes())
                .map_err(|_| Error::Config(format!("root: '{}' is no path", root.display())))
        };
        let file = |path, shape| Ok(HeldFile::new(name(path)?, shape));
        let storage = |path: &PathBuf| StoragePath {
            path: path.clone(),
            name: CString::new(path.as_os_str().as_bytes()).ok(),
            last: Err(Errno::NOENT),
        };
        Ok(Self {
            root: root.to_owned(),
            ground,
            stat: file("proc/stat", Shape::Head(|text| cpu_lines(text).is_some()))?,
            meminfo: file("proc/meminfo", Shape::Whole)?,
            pressure: file("proc/pressure/cpu", Shape::Whole)?,
            diskstats: file("proc/diskstats", Shape::Records)?,
            netdev: file("proc/net/dev", Shape::Records)?,
            disks: Devices::default(),
            interfaces: Devices::default(),
            supplies: Supplies::new(
                name("sys/class/power_supply")?,
                name("sys/class/typec")?,
                ground,
            ),
            processes: Processes::new(name("proc")?),
            own_stat: file("proc/self/stat", Shape::Whole)?,
            storage: storage_paths.iter().map(storage).collect(),
            last: Last::default(),
            buffer: Vec::new(),
        })
    }

    fn begin(&mut self, slow: bool) {
        if slow {
            let files = [
                &mut self.stat,
                &mut self.meminfo,
                &mut self.pressure,
                &mut self.diskstats,
            ];
            files
                .into_iter()
                .chain([&mut self.netdev, &mut self.own_stat])
                .for_each(HeldFile::look_again);
        }
    }

    fn cpu(&mut self) -> Option<Ticks> {
        let text = self.stat.read(CWD, self.ground, &mut self.buffer);
        self.last.cpu = text
            .ok()
            .and_then(|text| parse_stat(cpu_lines(text).unwrap_or(text)).ok());
        self.last.cpu
    }

    fn own_s(&mut self, pids: &[u32]) -> Option<f64> {
        let ground = self.ground;
        if ground == Ground::Kernel {
            let own_s = used_s()?;
            if pids.is_empty() {
                return Some(own_s);
            }
            let own_pid = u64::from(std::process::id());
            let trees = self
                .processes
                .ticks_of_trees(pids, own_pid, ground, &mut self.buffer);
            return Some(own_s + trees as f64 / clock_ticks_per_second() as f64);
        }
        let text = self.own_stat.read(CWD, ground, &mut self.buffer).ok()?;
        let own = parse_process_stat(text).ok()?;
        let trees = self
            .processes
            .ticks_of_trees(pids, own.pid, ground, &mut self.buffer);
        Some((u128::from(own.ticks) + trees) as f64 / RECORDED_TICKS_PER_S)
    }

    fn disk(&mut self, disks: &mut Traffic) {
        match self.diskstats.read(CWD, self.ground, &mut self.buffer) {
            Ok(text) => parse_diskstats(text, &mut self.disks),
            Err(_) => self.disks.clear(),
        }
        disks.clone_from(self.disks.traffic());
    }

    fn network(&mut self, interfaces: &mut Traffic) {
        match self.netdev.read(CWD, self.ground, &mut self.buffer) {
            Ok(text) => parse_netdev(text, &mut self.interfaces),
            Err(_) => self.interfaces.clear(),
        }
        interfaces.clone_from(self.interfaces.traffic());
    }

    fn memory(&mut self) -> MemoryBytes {
        let text = self.meminfo.read(CWD, self.ground, &mut self.buffer);
        self.last.memory = text.map(parse_meminfo).unwrap_or_default();
        self.last.memory
    }

    fn pressure_percent(&mut self) -> Option<f64> {
        let text = self.pressure.read(CWD, self.ground, &mut self.buffer);
        self.last.pressure_percent = text.ok().and_then(parse_pressure);
        self.last.pressure_percent
    }

    fn power(&mut self) -> Option<Power> {
        Some(self.supplies.read(&mut self.buffer))
    }

    fn has_power_events(&self) -> bool {
        self.ground == Ground::Kernel
    }

    fn storage(&mut self, storage: &mut Vec<Option<Storage>>) {
        storage.clear();
        for path in &mut self.storage {
            path.last = path
                .name
                .as_ref()
                .map_or(Err(Errno::INVAL), |name| file_system(name));
            storage.push(path.last.ok());
        }
    }

    fn sources(&self) -> Vec<Source> {
        sources::of(self)
    }
}

/// Processor seconds of this process and its reaped children.
fn used_s() -> Option<f64> {
    let own = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let children = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    let times = [
        own.user_time(),
        own.system_time(),
        children.user_time(),
        children.system_time(),
    ];
    Some(times.into_iter().map(seconds).sum())
}

fn file_system(path: &std::ffi::CStr) -> Result<Storage, Errno> {
    let blocks = statvfs(path)?;
    let used =
        u128::from(blocks.f_blocks.saturating_sub(blocks.f_bfree)) * u128::from(blocks.f_frsize);
    let free = u128::from(blocks.f_bavail) * u128::from(blocks.f_frsize);
    let used_percent = if used + free == 0 {
        0.0
    } else {
        percent_of(used as f64, (used + free) as f64)
    };
    Ok(Storage {
        used_percent,
        free_bytes: u64::try_from(free).unwrap_or(u64::MAX),
    })
}
