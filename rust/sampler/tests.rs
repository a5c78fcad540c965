use super::*;
use crate::reading::{Power, Storage, Ticks};

/// A machine that says what the test tells it to.
#[derive(Debug, Default)]
struct Told {
    cpu: Option<Ticks>,
    own_s: Option<f64>,
    disks: Vec<(&'static str, u64, u64)>,
    memory: MemoryBytes,
    pids: Vec<u32>,
    slow_reads: usize,
}

impl Machine for Told {
    fn open(_root: &Path, _storage_paths: &[PathBuf]) -> Result<Self, Error> {
        Ok(Self {
            cpu: Some(ticks(0, 0)),
            own_s: Some(0.0),
            ..Self::default()
        })
    }
    fn begin(&mut self, _slow: bool) {}
    fn cpu(&mut self) -> Option<Ticks> {
        self.cpu
    }
    fn own_s(&mut self, pids: &[u32]) -> Option<f64> {
        self.pids = pids.to_vec();
        self.own_s
    }
    fn disk(&mut self, disks: &mut Traffic) {
        disks.clear();
        for (name, read, written) in &self.disks {
            disks.push(name.as_bytes(), *read, *written);
        }
    }
    fn network(&mut self, interfaces: &mut Traffic) {
        interfaces.clear();
    }
    fn memory(&mut self) -> MemoryBytes {
        self.memory
    }
    fn pressure_percent(&mut self) -> Option<f64> {
        Some(1.5)
    }
    fn power(&mut self) -> Option<Power> {
        self.slow_reads += 1;
        None
    }
    fn storage(&mut self, storage: &mut Vec<Option<Storage>>) {
        storage.clear();
    }
    fn sources(&self) -> Vec<Source> {
        Vec::new()
    }
}

fn ticks(busy: u64, idle: u64) -> Ticks {
    Ticks {
        busy,
        idle,
        count: 2,
    }
}

fn sampler() -> Sampler<Told> {
    Sampler::new(Path::new("/"), &[], IdleRules::default()).unwrap()
}

impl Sampler<Told> {
    /// Busy and own percent at a moment with these ticks and own seconds.
    fn load(
        &mut self,
        at_s: f64,
        cpu: Option<Ticks>,
        own_s: f64,
    ) -> Option<(Option<f64>, Option<f64>)> {
        self.machine.cpu = cpu;
        self.machine.own_s = Some(own_s);
        self.sample(at_s, 1e9)
            .cpu
            .map(|cpu| (cpu.busy_percent, cpu.own_percent))
    }

    /// Disk rates at a moment with these disks.
    fn disk(
        &mut self,
        at_s: f64,
        disks: &[(&'static str, u64, u64)],
    ) -> Option<(Option<f64>, Option<f64>)> {
        self.machine.disks = disks.to_vec();
        self.sample(at_s, 1e9)
            .disk
            .map(|disk| (disk.read_bytes_per_s, disk.write_bytes_per_s))
    }
}

const UNTOLD: Option<(Option<f64>, Option<f64>)> = Some((None, None));

#[test]
fn load_is_told_between_two_samples() {
    let mut sampler = sampler();
    assert_eq!(sampler.load(10.0, Some(ticks(100, 900)), 5.0), UNTOLD);
    assert_eq!(
        sampler.load(12.0, Some(ticks(150, 1050)), 5.5),
        Some((Some(25.0), Some(12.5)))
    );
    assert_eq!(
        sampler.load(14.0, Some(ticks(150, 1250)), 5.5),
        Some((Some(0.0), Some(0.0)))
    );
}

#[test]
fn own_load_is_at_most_the_busy_one() {
    let mut sampler = sampler();
    sampler.load(10.0, Some(ticks(0, 0)), 0.0);
    assert_eq!(
        sampler.load(12.0, Some(ticks(50, 150)), 4.0),
        Some((Some(25.0), Some(25.0)))
    );
}

#[test]
fn while_no_tick_passes_the_older_sample_stays_the_base() {
    let mut sampler = sampler();
    sampler.load(10.0, Some(ticks(100, 900)), 5.0);
    assert_eq!(sampler.load(11.0, Some(ticks(100, 900)), 5.2), UNTOLD);
    assert_eq!(
        sampler.load(12.0, Some(ticks(150, 1050)), 5.5),
        Some((Some(25.0), Some(12.5)))
    );
}

#[test]
fn what_runs_backwards_is_not_told_and_starts_anew() {
    let mut sampler = sampler();
    sampler.load(10.0, Some(ticks(100, 900)), 5.0);
    assert_eq!(sampler.load(12.0, Some(ticks(200, 800)), 5.0), UNTOLD);
    assert_eq!(sampler.load(14.0, Some(ticks(150, 1000)), 5.0), UNTOLD);
    assert_eq!(sampler.load(16.0, None, 5.0), None);
    assert_eq!(sampler.load(18.0, Some(ticks(150, 1000)), 5.0), UNTOLD);
    assert_eq!(
        sampler.load(20.0, Some(ticks(200, 1050)), 4.0),
        Some((Some(50.0), None))
    );
}

#[test]
fn rates_cover_the_time_since_the_sample_before() {
    let mut sampler = sampler();
    assert_eq!(sampler.disk(10.0, &[]), None);
    assert_eq!(sampler.disk(11.0, &[("a", 100, 100), ("b", 0, 0)]), UNTOLD);
    assert_eq!(
        sampler.disk(13.0, &[("a", 300, 500), ("b", 50, 0)]),
        Some((Some(125.0), Some(200.0)))
    );
    assert_eq!(
        sampler.disk(13.5, &[("a", 300, 500), ("b", 50, 1)]),
        Some((Some(0.0), Some(2.0)))
    );
}

#[test]
fn no_rate_over_a_list_or_a_counter_that_changed() {
    let mut sampler = sampler();
    sampler.disk(10.0, &[("a", 100, 100), ("b", 0, 0)]);
    assert_eq!(
        sampler.disk(11.0, &[("a", 200, 200)]),
        UNTOLD,
        "one was pulled out"
    );
    assert_eq!(
        sampler.disk(12.0, &[("c", 300, 300)]),
        UNTOLD,
        "another came in its place"
    );
    assert_eq!(
        sampler.disk(13.0, &[("c", 200, 400)]),
        UNTOLD,
        "a counter ran backwards"
    );
    assert_eq!(
        sampler.disk(14.0, &[("c", 300, 500)]),
        Some((Some(100.0), Some(100.0)))
    );
    assert_eq!(
        sampler.disk(15.0, &[("c", 300, 2_000_000_000_000)]),
        UNTOLD,
        "a counter was replaced"
    );
    assert_eq!(sampler.disk(16.0, &[]), None);
}

#[test]
fn time_that_stands_still_or_runs_backwards_gives_no_rates() {
    let mut sampler = sampler();
    sampler.machine.disks = vec![("a", 0, 0)];
    sampler.load(10.0, Some(ticks(0, 0)), 0.0);
    for at_s in [10.0, 5.0] {
        assert_eq!(sampler.load(at_s, Some(ticks(50, 150)), 0.0), UNTOLD);
        assert_eq!(sampler.disk(at_s, &[("a", 10, 10)]), UNTOLD);
    }
    assert_eq!(
        sampler.disk(6.0, &[("a", 20, 30)]),
        Some((Some(10.0), Some(20.0)))
    );
}

#[test]
fn slow_sensors_are_read_once_they_are_old() {
    let mut sampler = sampler();
    let mut reads = |at_s: f64, slow_max_age_s: f64| {
        sampler.sample(at_s, slow_max_age_s);
        std::mem::take(&mut sampler.machine.slow_reads)
    };
    assert_eq!(reads(100.0, 30.0), 1);
    assert_eq!(reads(129.9, 30.0), 0);
    assert_eq!(reads(130.0, 30.0), 1);
    assert_eq!(reads(130.0, 0.0), 1);
    assert_eq!(reads(131.0, f64::INFINITY), 0);
    assert_eq!(reads(120.0, 30.0), 1, "read later than now");
}

#[test]
fn memory_is_told_as_far_as_it_is_known() {
    let mut sampler = sampler();
    let mut used = |total, available| {
        sampler.machine.memory = MemoryBytes { total, available };
        sampler
            .sample(0.0, 0.0)
            .memory
            .map(|memory| memory.used_percent)
    };
    assert_eq!(used(Some(4096), Some(1024)), Some(Some(75.0)));
    assert_eq!(used(Some(4096), None), Some(None));
    assert_eq!(used(None, Some(1024)), Some(None));
    assert_eq!(used(None, None), None);
}

#[test]
fn the_pids_of_own_work_are_asked_for() {
    let mut sampler = sampler();
    sampler.set_own_work(Some(vec![4, 2]));
    sampler.sample(1.0, 0.0);
    assert_eq!(sampler.machine.pids, [4, 2]);
    sampler.set_own_work(None);
    sampler.sample(2.0, 0.0);
    assert!(sampler.machine.pids.is_empty());
}

/// Samples every two seconds; `disk_bytes` are written in each.
fn quiet_since(
    sampler: &mut Sampler<Told>,
    seconds: std::ops::Range<u32>,
    disk_bytes: u64,
) -> Option<f64> {
    for at_s in seconds.step_by(2) {
        let written = sampler.machine.disks.first().map_or(0, |disk| disk.2);
        sampler.machine.cpu = Some(ticks(0, u64::from(at_s)));
        sampler.disk(f64::from(at_s), &[("a", 0, written + disk_bytes)]);
    }
    sampler.sample.quiet_since_s
}

#[test]
fn own_traffic_does_not_end_quiet_until_it_is_written_back() {
    let mut sampler = sampler();
    assert_eq!(quiet_since(&mut sampler, 0..100, 0), Some(0.0));
    sampler.set_own_work(Some(Vec::new()));
    assert_eq!(quiet_since(&mut sampler, 100..200, 1_000_000), Some(0.0));
    sampler.set_own_work(None);
    // Work was last seen at 200: traffic is judged in windows that start from 235 on.
    assert_eq!(quiet_since(&mut sampler, 200..238, 1_000_000), Some(0.0));
    assert_eq!(quiet_since(&mut sampler, 238..240, 1_000_000), None);
    assert_eq!(quiet_since(&mut sampler, 240..250, 0), Some(238.0));
}

#[test]
fn a_root_must_be_a_directory() {
    let error = Sampler::<Told>::new(Path::new("/dev/null"), &[], IdleRules::default()).err();
    let message = "root: '/dev/null' is no directory; name one that holds proc and sys";
    assert_eq!(error, Some(Error::Config(message.to_owned())));
}
