//! From the kernel's text to figures: pure functions of bytes, apart from any reading.
//!
//! They take any bytes, never panic, and those that run at each sample do not allocate.

pub mod devices;
pub mod diskstats;
pub mod meminfo;
pub mod netdev;
pub mod number;
pub mod power;
pub mod pressure;
pub mod process_stat;
pub mod stat;

pub use diskstats::parse_diskstats;
pub use meminfo::parse_meminfo;
pub use netdev::parse_netdev;
pub use power::aggregate_power;
pub use pressure::parse_pressure;
pub use process_stat::parse_process_stat;
pub use stat::parse_stat;
