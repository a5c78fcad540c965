//! A system that nothing is known of: every sensor is absent.

use std::path::{Path, PathBuf};

use super::Machine;
use crate::error::Error;
use crate::reading::{MemoryBytes, Power, Source, Status, Storage, Ticks, Traffic};

/// A machine without sensors.
#[derive(Debug)]
pub struct Unsupported {
    storage_paths: Vec<PathBuf>,
}

impl Machine for Unsupported {
    fn open(root: &Path, storage_paths: &[PathBuf]) -> Result<Self, Error> {
        if root != Path::new("/") {
            let root = root.display();
            return Err(Error::Config(format!(
                "root: '{root}' cannot be read on this system; leave it out"
            )));
        }
        Ok(Self {
            storage_paths: storage_paths.to_vec(),
        })
    }

    fn begin(&mut self, _slow: bool) {}

    fn cpu(&mut self) -> Option<Ticks> {
        None
    }

    fn own_s(&mut self, _pids: &[u32]) -> Option<f64> {
        None
    }

    fn disk(&mut self, disks: &mut Traffic) {
        disks.clear();
    }

    fn network(&mut self, interfaces: &mut Traffic) {
        interfaces.clear();
    }

    fn memory(&mut self) -> MemoryBytes {
        MemoryBytes::default()
    }

    fn pressure_percent(&mut self) -> Option<f64> {
        None
    }

    fn power(&mut self) -> Option<Power> {
        None
    }

    fn storage(&mut self, storage: &mut Vec<Option<Storage>>) {
        storage.clear();
        storage.resize(self.storage_paths.len(), None);
    }

    fn sources(&self) -> Vec<Source> {
        let sensors = ["cpu", "disk", "memory", "network", "power", "pressure"]
            .map(|sensor| (sensor, PathBuf::new()));
        let storage = self
            .storage_paths
            .iter()
            .map(|path| ("storage", path.clone()));
        let absent = |(sensor, location)| Source {
            sensor,
            location,
            status: Status::Absent,
            detail: "this system is not supported".to_owned(),
        };
        sensors.into_iter().chain(storage).map(absent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idle::IdleRules;
    use crate::sampler::Sampler;

    #[test]
    fn everything_is_absent() {
        let paths = [PathBuf::from("/")];
        let mut sampler =
            Sampler::<Unsupported>::new(Path::new("/"), &paths, IdleRules::default()).unwrap();
        let sample = sampler.sample(1.0, 0.0);
        assert_eq!(
            (sample.power, sample.cpu, sample.memory),
            (None, None, None)
        );
        assert_eq!((sample.disk, sample.network), (None, None));
        assert_eq!(
            (&sample.storage[..], sample.idle_since_s),
            (&[None][..], None)
        );
        let sources = sampler.sources();
        assert_eq!(sources.len(), 7);
        assert!(sources.is_sorted_by_key(|source| (source.sensor, source.location.clone())));
        assert!(sources.iter().all(|source| source.status == Status::Absent));
    }

    #[test]
    fn only_this_machine_can_be_read() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(
            Unsupported::open(root.path(), &[]),
            Err(Error::Config(_))
        ));
    }
}
