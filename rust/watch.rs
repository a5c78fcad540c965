//! Waits, without a busy loop, until there is something to do.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::cadence::Dues;
use crate::error::Error;
use crate::facts::{Told, facts};
use crate::reading::Sample;
use crate::rules::{Need, Rules, Verdict};
use crate::sampler::Sampler;
use crate::sys::{Bells, Machine, System};

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The moment that was asked for has come.
    Timer,
    /// Somebody woke it.
    Woken,
    /// A followed file was written to.
    File,
    /// The verdict of a watched requirement is another one than was acted upon.
    Verdict,
}

/// The end of a wait.
#[derive(Debug, Clone)]
pub struct Wake {
    /// Why.
    pub why: Why,
    /// The last sample, if any was taken.
    pub sample: Option<Sample>,
    /// When it was taken; without one, when the wait ended.
    pub monotonic_s: f64,
    /// The same, since the epoch.
    pub wall_s: f64,
}

/// What a wait is for; see `_contract.py`, `Watch.wait`.
#[derive(Debug)]
pub struct Wanted {
    /// Requirements found to keep tasks waiting.
    pub waiting: Vec<u32>,
    /// Requirements of tasks that run, found to let them.
    pub running: Vec<u32>,
    /// Requirements of tasks that run, found not to let them.
    pub stopped: Vec<u32>,
    /// What only the program can tell.
    pub told: Told,
    /// When to return at the latest, since the epoch.
    pub until_wall_s: Option<f64>,
    /// Now, on the time line of samples.
    pub now_s: f64,
}

/// A thread's way to sleep until sensors, clock, files or another thread call.
#[derive(Debug)]
pub struct Watch<M: Machine = System> {
    sampler: Arc<Mutex<Sampler<M>>>,
    rules: Arc<Mutex<Rules>>,
    /// `None` once closed. A wait holds its own reference: nothing closes under it.
    bells: Mutex<Option<Arc<Bells>>>,
    power_event_s: Mutex<Option<f64>>,
    is_waiting: AtomicBool,
}

impl<M: Machine> Watch<M> {
    /// Opens what can end a wait.
    ///
    /// # Errors
    ///
    /// [`Error::Sensor`]: no file can be opened any more.
    pub fn new(sampler: Arc<Mutex<Sampler<M>>>, rules: Arc<Mutex<Rules>>) -> Result<Self, Error> {
        Ok(Self {
            sampler,
            rules,
            bells: Mutex::new(Some(Arc::new(Bells::new()?))),
            power_event_s: Mutex::new(None),
            is_waiting: AtomicBool::new(false),
        })
    }

    /// Lets writes to a file end a wait.
    pub fn follow(&self, path: PathBuf) {
        if let Some(bells) = &*lock(&self.bells) {
            bells.follow(path);
        }
    }

    /// Ends the wait, or the next one.
    pub fn wake(&self) {
        if let Some(bells) = &*lock(&self.bells) {
            bells.ring();
        }
    }

    /// Ends the wait, and makes each later one end at once.
    pub fn close(&self) {
        if let Some(bells) = lock(&self.bells).take() {
            bells.ring();
        }
    }

    /// Begins to wait.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: another thread waits.
    pub fn begin(&self, wanted: Wanted) -> Result<Wait<'_, M>, Error> {
        let bells = lock(&self.bells).clone();
        if self.is_waiting.swap(true, Ordering::Acquire) {
            let message = "watch: another thread waits here; give each thread a watch of its own";
            return Err(Error::Config(message.into()));
        }
        Ok(Wait {
            watch: self,
            bells,
            started: Instant::now(),
            wanted,
            last: None,
        })
    }
}

/// How a requirement was found by whoever waits.
#[derive(Debug, Clone, Copy)]
enum Found {
    Waiting,
    Running,
    Stopped,
}

impl Found {
    /// Whether that is still so.
    fn agrees(self, verdict: Verdict) -> bool {
        match self {
            Self::Waiting => !matches!(verdict, Verdict::ExecuteNow | Verdict::Expire),
            Self::Running => verdict == Verdict::ExecuteNow,
            Self::Stopped => verdict != Verdict::ExecuteNow,
        }
    }
}

/// A wait that has begun. It lasts over the signals that interrupt it.
#[derive(Debug)]
pub struct Wait<'w, M: Machine> {
    watch: &'w Watch<M>,
    bells: Option<Arc<Bells>>,
    started: Instant,
    wanted: Wanted,
    last: Option<(Sample, f64, f64)>,
}

impl<M: Machine> Wait<'_, M> {
    /// Sleeps until there is something to do; `None` when a signal came: go on after a look at it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: nothing was observed yet, an unknown requirement, a sample that the rules
    /// refuse.
    pub fn go_on(&mut self) -> Result<Option<Wake>, Error> {
        let Some(bells) = self.bells.clone() else {
            return Ok(Some(self.wake(Why::Woken)));
        };
        loop {
            let Some((need, dues)) = self.need(&bells)? else {
                return Ok(Some(self.wake(Why::Verdict)));
            };
            let is_timed = need.due_s.is_finite() || need.due_s < 0.0;
            let timeout = is_timed.then(|| {
                let left_s = (need.due_s - self.now_s()).max(0.0);
                Duration::try_from_secs_f64(left_s).unwrap_or(Duration::MAX)
            });
            let Some(rung) = bells.sleep(self.wanted.until_wall_s, timeout, need.power) else {
                return Ok(None);
            };
            if rung.power {
                *lock(&self.watch.power_event_s) = Some(self.now_s());
            }
            let why = match rung {
                _ if rung.woken => Why::Woken,
                _ if rung.file => Why::File,
                _ if rung.timer => Why::Timer,
                _ => {
                    if need.due_s <= self.now_s() {
                        self.sample(&need, &dues)?;
                    }
                    continue;
                }
            };
            return Ok(Some(self.wake(why)));
        }
    }

    /// What all that is watched needs together; `None` if a verdict is another one than was found.
    fn need(&self, bells: &Bells) -> Result<Option<(Need, Dues)>, Error> {
        let mut sensed = lock(&self.watch.sampler).sensed();
        sensed.has_power_events &= bells.hears_power();
        let event_s = *lock(&self.watch.power_event_s);
        let rules = lock(&self.watch.rules);
        let present = self.wanted.told.user_present;
        let dues = Dues::new(&rules.seen(), &sensed, event_s, present);
        let mut all = Need::NOTHING;
        for (set_ids, found) in [
            (&self.wanted.waiting, Found::Waiting),
            (&self.wanted.running, Found::Running),
            (&self.wanted.stopped, Found::Stopped),
        ] {
            let running = !matches!(found, Found::Waiting);
            for &set_id in set_ids {
                let (verdict, need) = rules.need(set_id, running, &dues)?;
                if !found.agrees(verdict) {
                    return Ok(None);
                }
                all = all.or(need);
            }
        }
        Ok(Some((all, dues)))
    }

    /// Looks at the machine, and lets the rules judge.
    fn sample(&mut self, need: &Need, dues: &Dues) -> Result<(), Error> {
        let now_s = self.now_s();
        let slow_max_age_s = if dues.is_slow_due(now_s, need.power) {
            0.0
        } else {
            f64::INFINITY
        };
        let sample = lock(&self.watch.sampler)
            .sample(now_s, slow_max_age_s)
            .clone();
        let wall_s = wall_s();
        let seen = facts(&sample, now_s, wall_s, &self.wanted.told);
        self.last = Some((sample, now_s, wall_s));
        lock(&self.watch.rules).observe(&seen)
    }

    fn wake(&mut self, why: Why) -> Wake {
        let (sample, monotonic_s, wall_s) = match self.last.take() {
            Some((sample, monotonic_s, wall_s)) => (Some(sample), monotonic_s, wall_s),
            None => (None, self.now_s(), wall_s()),
        };
        Wake {
            why,
            sample,
            monotonic_s,
            wall_s,
        }
    }

    fn now_s(&self) -> f64 {
        self.wanted.now_s + self.started.elapsed().as_secs_f64()
    }
}

impl<M: Machine> Drop for Wait<'_, M> {
    fn drop(&mut self) {
        self.watch.is_waiting.store(false, Ordering::Release);
    }
}

fn wall_s() -> f64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_secs_f64()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
