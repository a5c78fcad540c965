//! What is timed: a full reading by deferpower, a bare `pread` of the same files, and the crates
//! `sysinfo` and `battery` doing the same work.

use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use _native::idle::IdleRules;
use _native::sampler::Sampler;
use battery::{Battery, Manager};
use nix::sys::resource::{UsageWho, getrusage};
use rustix::fs::{RawDir, SeekFrom, seek, statvfs};
use sysinfo::{DiskRefreshKind, Disks, MemoryRefreshKind, Networks, System};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A sampler sleeps between samples; a loop that does not keeps every cache warm and flatters.
pub const COLD_PAUSE: Duration = Duration::from_millis(200);

/// The native sampler on this machine, and the files it holds open.
pub struct Deferpower {
    sampler: Sampler,
    start: Instant,
}

impl Deferpower {
    pub fn open() -> Outcome<(Self, Vec<PathBuf>)> {
        let before = open_files()?;
        let sampler = Sampler::new(Path::new("/"), &[PathBuf::from("/")], IdleRules::default())?;
        let mut opened = Self {
            sampler,
            start: Instant::now(),
        };
        opened.read_all();
        let mut held = open_files()?;
        for path in before {
            held.iter()
                .position(|other| *other == path)
                .map(|place| held.remove(place));
        }
        Ok((opened, held))
    }

    /// Everything, power and storage included.
    pub fn read_all(&mut self) {
        self.sampler.sample(self.start.elapsed().as_secs_f64(), 0.0);
    }

    /// Load only; power and storage are those of the reading before.
    pub fn read_load(&mut self) {
        self.sampler
            .sample(self.start.elapsed().as_secs_f64(), f64::INFINITY);
    }
}

/// The regular files that this process holds open, as often as it holds them.
fn open_files() -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        // The descriptor of this very listing is gone by now.
        let Ok(path) = fs::read_link(entry?.path()) else {
            continue;
        };
        // Entries of /proc/net are made anew at each look, so that open ones are shown as deleted.
        let path = path.to_string_lossy().trim_end_matches(" (deleted)").into();
        if fs::metadata(&path).is_ok_and(|metadata: fs::Metadata| metadata.is_file()) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The system calls of a reading, with nothing done about what they tell.
pub struct Bare {
    files: Vec<(File, usize)>,
    supplies: Option<File>,
    buffer: Vec<u8>,
    entries: Vec<u8>,
}

impl Bare {
    pub fn open(paths: &[PathBuf]) -> Outcome<Self> {
        let files = paths
            .iter()
            .map(|path| Ok((File::open(path)?, room(path)?)));
        Ok(Self {
            files: files.collect::<io::Result<_>>()?,
            supplies: File::open("/sys/class/power_supply").ok(),
            buffer: vec![0; 1 << 16],
            entries: Vec::with_capacity(4096),
        })
    }

    /// One `pread` on each file, into the room that the sampler gives it.
    pub fn read_all(&mut self) {
        for (file, room) in &self.files {
            let _ = black_box(file.read_at(&mut self.buffer[..*room], 0));
        }
    }

    /// The other calls that a full reading is made of, too.
    pub fn call_all(&mut self) {
        self.read_all();
        let _ = black_box(getrusage(UsageWho::RUSAGE_SELF));
        let _ = black_box(getrusage(UsageWho::RUSAGE_CHILDREN));
        let _ = black_box(statvfs(c"/"));
        if let Some(supplies) = &self.supplies {
            let _ = black_box(seek(supplies, SeekFrom::Start(0)));
            let mut entries = RawDir::new(supplies, self.entries.spare_capacity_mut());
            while let Some(entry) = entries.next() {
                let _ = black_box(entry);
            }
        }
    }
}

/// Processor counters stand at the head of their file, lists come a page at a time, and of the
/// rest everything is wanted.
fn room(path: &Path) -> io::Result<usize> {
    Ok(match path.file_name().and_then(|name| name.to_str()) {
        Some("stat") => 1024,
        Some("diskstats" | "dev") => 4096,
        _ => (fs::read(path)?.len() + 1).next_power_of_two().max(512),
    })
}

/// The crates, each asked for what a reading holds and nothing else, their lists kept.
pub struct Crates {
    system: System,
    disks: Disks,
    networks: Networks,
    manager: Manager,
    batteries: Vec<Battery>,
}

impl Crates {
    pub fn open() -> Outcome<Self> {
        let manager = Manager::new()?;
        let batteries = manager.batteries()?.collect::<Result<_, _>>()?;
        let mut opened = Self {
            system: System::new()?,
            disks: Disks::new()?,
            networks: Networks::new()?,
            manager,
            batteries,
        };
        opened.read_all();
        Ok(opened)
    }

    /// Everything. Within 200 ms of the last time, `sysinfo` leaves the processor out.
    pub fn read_all(&mut self) {
        self.system.refresh_cpu_usage();
        self.system
            .refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        self.disks.refresh_specifics(
            true,
            DiskRefreshKind::nothing().with_storage().with_io_usage(),
        );
        self.networks.refresh(true);
        for battery in &mut self.batteries {
            let _ = black_box(self.manager.refresh(battery));
        }
    }
}
