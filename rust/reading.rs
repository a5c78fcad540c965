//! What is read at one moment, and what two moments tell together.
//!
//! The parts of a [`Sample`] have the names, units and order of `deferpower.types`; SEMANTICS.md
//! holds source and formula of every figure.

/// What the kernel says of the batteries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PowerState {
    /// Energy goes in.
    Charging,
    /// Energy goes out.
    Discharging,
    /// Held, below full: a charge limit, or too warm.
    NotCharging,
    /// Full.
    Full,
    /// It does not say.
    #[default]
    Unknown,
    /// There is no battery.
    None,
}

/// External power and the machine's own batteries, all packs taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    /// Whether the machine has a battery of its own.
    pub present: bool,
    /// Charge, 0-100.
    pub percent: Option<f64>,
    /// On external power.
    pub plugged: Option<bool>,
    /// What the kernel says of the packs.
    pub state: PowerState,
    /// Power into the battery; negative while it drains.
    pub battery_watts: Option<f64>,
    /// Energy in the packs now.
    pub energy_wh: Option<f64>,
    /// Energy in the packs when full.
    pub energy_full_wh: Option<f64>,
    /// Seconds until empty at the present drain.
    pub time_to_empty_s: Option<f64>,
    /// Packs that are in and counted.
    pub battery_count: usize,
}

/// Processor load since the previous sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpu {
    /// Share of all processors' time that was not idle, 0-100.
    pub busy_percent: Option<f64>,
    /// Logical processors that are online.
    pub count: u64,
    /// Share of the last 10 s in which some task waited for a processor.
    pub pressure_percent: Option<f64>,
    /// The part of `busy_percent` that this process and its work used.
    pub own_percent: Option<f64>,
}

/// Main memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// Memory that the kernel manages.
    pub total_bytes: Option<u64>,
    /// Memory that programs could still get without swapping.
    pub available_bytes: Option<u64>,
    /// Share that is in use, 0-100.
    pub used_percent: Option<f64>,
}

/// Traffic of whole disks since the previous sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disk {
    /// Read from all disks.
    pub read_bytes_per_s: Option<f64>,
    /// Written to all disks.
    pub write_bytes_per_s: Option<f64>,
}

/// Traffic of network interfaces since the previous sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Received by all interfaces.
    pub rx_bytes_per_s: Option<f64>,
    /// Sent by all interfaces.
    pub tx_bytes_per_s: Option<f64>,
}

/// The file system under one path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Storage {
    /// Used share of what an unprivileged user can use, 0-100.
    pub used_percent: f64,
    /// Bytes that an unprivileged user can still write.
    pub free_bytes: u64,
}

/// The machine at one moment. A part is `None` when the machine has no such sensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// External power and batteries.
    pub power: Option<Power>,
    /// Processors.
    pub cpu: Option<Cpu>,
    /// Main memory.
    pub memory: Option<Memory>,
    /// Disks.
    pub disk: Option<Disk>,
    /// Network interfaces.
    pub network: Option<Network>,
    /// File systems, as their paths were given.
    pub storage: Vec<Option<Storage>>,
    /// Since when the machine has been idle.
    pub idle_since_s: Option<f64>,
    /// Since when it has been quiet, the dwell not yet counted.
    pub quiet_since_s: Option<f64>,
}

/// Whether a sensor can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It was read.
    Ok,
    /// This machine has none.
    Absent,
    /// It is there, but cannot be read.
    Failing,
}

/// Where one sensor is read, or why it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `power`, `cpu`, `pressure`, `memory`, `disk`, `network` or `storage`.
    pub sensor: &'static str,
    /// The file, directory or system interface.
    pub location: std::path::PathBuf,
    /// Whether it can be read.
    pub status: Status,
    /// What was found, or why not.
    pub detail: String,
}

/// Processor time since boot, all processors together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// Ticks of work.
    pub busy: u64,
    /// Ticks without work.
    pub idle: u64,
    /// Processors that are online.
    pub count: u64,
}

/// Main memory as its file tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryBytes {
    /// Memory that the kernel manages.
    pub total: Option<u64>,
    /// Memory that programs could still get.
    pub available: Option<u64>,
}

/// One process, and the processor time that it and its reaped children used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessTicks {
    /// Its id.
    pub pid: u64,
    /// Its parent's id.
    pub parent: u64,
    /// User and system time, reaped children's included.
    pub ticks: u64,
}

/// Two byte counters of each device that counts, in the order of their file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The names, each ended by a line feed, which no name holds.
    names: Vec<u8>,
    /// Bytes in (read, received) and out (written, sent).
    pub(crate) totals: Vec<(u64, u64)>,
}

impl Traffic {
    /// Adds a device.
    pub fn push(&mut self, name: &[u8], bytes_in: u64, bytes_out: u64) {
        self.names.extend_from_slice(name);
        self.names.push(b'\n');
        self.totals.push((bytes_in, bytes_out));
    }

    /// Forgets all devices.
    pub fn clear(&mut self) {
        self.names.clear();
        self.totals.clear();
    }

    /// Name, bytes in and bytes out of each device.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64, u64)> {
        let names = self.names.split(|&byte| byte == b'\n');
        names
            .zip(&self.totals)
            .map(|(name, &(bytes_in, bytes_out))| (name, bytes_in, bytes_out))
    }
}

impl Clone for Traffic {
    fn clone(&self) -> Self {
        Self {
            names: self.names.clone(),
            totals: self.totals.clone(),
        }
    }

    // Derived, this would allocate at each copy.
    fn clone_from(&mut self, source: &Self) {
        self.names.clone_from(&source.names);
        self.totals.clone_from(&source.totals);
    }
}

/// The processor at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// The moment, in seconds.
    pub at_s: f64,
    /// Processor time since boot; `None` where it cannot be read.
    pub cpu: Option<Ticks>,
    /// Processor seconds of this process and its work; `None` where they cannot be read.
    pub own_s: Option<f64>,
}

/// Everything that only ever grows, at one moment.
#[derive(Debug, Default)]
pub struct Counters {
    /// The moment and the processor.
    pub load: Load,
    /// Disks; empty where they cannot be read.
    pub disk: Traffic,
    /// Network interfaces; empty where they cannot be read.
    pub network: Traffic,
}

impl Counters {
    /// Becomes a copy of the other, without allocating once the devices are known.
    pub fn copy_from(&mut self, other: &Self) {
        self.load = other.load;
        self.disk.clone_from(&other.disk);
        self.network.clone_from(&other.network);
    }
}

/// Whether both know the processor, and its clock has not moved.
pub fn no_tick_between(before: &Load, after: &Load) -> bool {
    match (before.cpu, after.cpu) {
        (Some(before), Some(after)) => before.busy == after.busy && before.idle == after.idle,
        _ => false,
    }
}

/// A part of a whole, 0-100: rounding takes large ones above.
pub fn percent_of(part: f64, whole: f64) -> f64 {
    (100.0 * part / whole).min(100.0)
}

/// Share of all processors' time that was not idle, 0-100.
pub fn busy_percent(before: &Load, after: &Load) -> Option<f64> {
    let (before, after) = (before.cpu?, after.cpu?);
    let busy = after.busy.checked_sub(before.busy)?;
    let passed = u128::from(busy) + u128::from(after.idle.checked_sub(before.idle)?);
    (passed > 0).then(|| percent_of(busy as f64, passed as f64))
}

/// The part of `busy_percent` that this process and its work used.
pub fn own_percent(before: &Load, after: &Load, busy_percent: f64) -> Option<f64> {
    let own_s = after.own_s? - before.own_s?;
    let seconds = after.at_s - before.at_s;
    let count = after.cpu?.count as f64;
    let is_told = own_s >= 0.0 && seconds > 0.0;
    is_told.then(|| (100.0 * own_s / (seconds * count)).min(busy_percent))
}

/// Beyond it no counter moved, one was replaced.
const RATE_MOST_BYTES_PER_S: f64 = 1e12;

/// Bytes per second in and out over all devices; `None` if no device counts, those that do are not
/// the same as before, a counter ran backwards or a rate is absurd.
pub fn rates(before: &Traffic, after: &Traffic, seconds: f64) -> Option<(f64, f64)> {
    if after.names.is_empty() || before.names != after.names || seconds <= 0.0 {
        return None;
    }
    let (mut total_in, mut total_out) = (0_u128, 0_u128);
    for (then, now) in before.totals.iter().zip(&after.totals) {
        total_in += u128::from(now.0.checked_sub(then.0)?);
        total_out += u128::from(now.1.checked_sub(then.1)?);
    }
    let (rate_in, rate_out) = (total_in as f64 / seconds, total_out as f64 / seconds);
    (rate_in <= RATE_MOST_BYTES_PER_S && rate_out <= RATE_MOST_BYTES_PER_S)
        .then_some((rate_in, rate_out))
}
