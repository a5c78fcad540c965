//! Reading a machine. The one place that asks which system it runs on.
//!
//! Every system offers the same face, [`Machine`]; [`System`] is the one to use here. `linux` reads
//! held-open files, `portable` asks the crates `battery` and `sysinfo`, `unsupported` knows nothing.
//! The others are compiled on Linux too, for tests and comparison: `portable` with the feature of
//! that name, `unsupported` in tests.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::reading::{MemoryBytes, Power, Source, Storage, Ticks, Traffic};

#[cfg(any(test, not(target_os = "linux")))]
pub mod bells;
mod followed;
#[cfg(target_os = "linux")]
pub mod linux;
#[cfg(any(
    feature = "portable",
    target_os = "macos",
    target_os = "windows",
    target_os = "freebsd"
))]
pub mod portable;
#[cfg(any(
    test,
    not(any(
        target_os = "linux",
        target_os = "macos",
        target_os = "windows",
        target_os = "freebsd"
    ))
))]
pub mod unsupported;

cfg_select! {
    target_os = "linux" => {
        pub use linux::Linux as System;
        pub use linux::bells::Bells;
    }
    any(target_os = "macos", target_os = "windows", target_os = "freebsd") => {
        pub use portable::Portable as System;
        pub use bells::Bells;
    }
    _ => {
        pub use unsupported::Unsupported as System;
        pub use bells::Bells;
    }
}

/// What ended a sleep of [`Bells`]; nothing when only its time was up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rung {
    /// Somebody rang.
    pub woken: bool,
    /// A followed file was written to.
    pub file: bool,
    /// The kernel told of a change of power.
    pub power: bool,
    /// The moment by the wall clock has come.
    pub timer: bool,
}

/// The sensors of one machine, as of now. No method fails: what cannot be read is absent, and
/// [`Machine::sources`] tells why.
///
/// The [`Sampler`](crate::sampler::Sampler) calls [`begin`](Machine::begin) at each sample, then
/// the others, each at most once; `power` and `storage` only when `begin` was told so.
pub trait Machine: Sized + Send {
    /// Opens what is there.
    ///
    /// `root` holds `proc` and `sys`; `storage_paths` are taken as they are, not below root.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: root is no directory, or names one where only `/` can be read.
    fn open(root: &Path, storage_paths: &[PathBuf]) -> Result<Self, Error>;

    /// A sample begins; `slow` says whether power and storage will be read too, which is also the
    /// time to look again for what was absent.
    fn begin(&mut self, slow: bool);

    /// Busy and idle ticks since boot, and processors online. Any unit of time may be the tick:
    /// only the share that is busy is told from it.
    fn cpu(&mut self) -> Option<Ticks>;

    /// Processor seconds of this process and its reaped children, and of the trees under `pids`.
    fn own_s(&mut self, pids: &[u32]) -> Option<f64>;

    /// Replaces `disks` by bytes read and written of each disk that counts; empty if unknown.
    fn disk(&mut self, disks: &mut Traffic);

    /// Replaces `interfaces` by bytes received and sent of each that counts; empty if unknown.
    fn network(&mut self, interfaces: &mut Traffic);

    /// Main memory.
    fn memory(&mut self) -> MemoryBytes;

    /// Share of the last 10 s in which some task waited for a processor.
    fn pressure_percent(&mut self) -> Option<f64>;

    /// External power and batteries.
    fn power(&mut self) -> Option<Power>;

    /// Whether the kernel announces when this power changes.
    fn has_power_events(&self) -> bool {
        false
    }

    /// Replaces `storage` by the file systems of the storage paths, in their order.
    fn storage(&mut self, storage: &mut Vec<Option<Storage>>);

    /// Where each sensor is read, or why it is not, as of the last sample; sorted by sensor and location.
    fn sources(&self) -> Vec<Source>;
}
