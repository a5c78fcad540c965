//! What can end a sleep, where the system has nothing better than a condition variable.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::Rung;
use super::followed::Followed;
use crate::error::Error;

/// A signal does not end the wait on a condition variable, so the caller gets to look for one.
const LOOK_FOR_SIGNALS_EVERY: Duration = Duration::from_millis(250);

/// See [`linux::bells::Bells`](super::linux::bells::Bells).
#[derive(Debug, Default)]
pub struct Bells {
    rung: Mutex<bool>,
    bell: Condvar,
    followed: Mutex<Vec<Followed>>,
}

impl Bells {
    /// Bells that nobody has rung.
    pub fn new() -> Result<Self, Error> {
        Ok(Self::default())
    }

    /// Ends the sleep, or the next one.
    pub fn ring(&self) {
        *lock(&self.rung) = true;
        self.bell.notify_all();
    }

    /// Lets writes to a file end a sleep.
    pub fn follow(&self, path: PathBuf) {
        lock(&self.followed).push(Followed::new(path));
    }

    /// Whether it is told of changes of power.
    pub fn hears_power(&self) -> bool {
        false
    }

    /// Sleeps until something rings, the timeout is over or the wall clock has come so far;
    /// `None` when it is time to look for signals.
    pub fn sleep(
        &self,
        until_wall_s: Option<f64>,
        timeout: Option<Duration>,
        _power: bool,
    ) -> Option<Rung> {
        let slice = timeout.map_or(LOOK_FOR_SIGNALS_EVERY, |timeout| {
            timeout.min(LOOK_FOR_SIGNALS_EVERY)
        });
        let still = |rung: &mut bool| !*rung;
        let (mut rung, _) = self
            .bell
            .wait_timeout_while(lock(&self.rung), slice, still)
            .unwrap_or_else(PoisonError::into_inner);
        let woken = std::mem::take(&mut *rung);
        drop(rung);
        let mut file = false;
        for followed in lock(&self.followed).iter_mut() {
            file |= followed.has_changed();
        }
        let rung = Rung {
            woken,
            file,
            power: false,
            timer: until_wall_s.is_some_and(|until_s| now_wall_s() >= until_s),
        };
        let is_over = timeout.is_some_and(|timeout| timeout <= slice);
        (is_over || rung != Rung::default()).then_some(rung)
    }
}

fn now_wall_s() -> f64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_secs_f64()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_sleep_is_not_lost() -> Result<(), Error> {
        let bells = Bells::new()?;
        bells.ring();
        let woken = Rung {
            woken: true,
            ..Rung::default()
        };
        assert_eq!(bells.sleep(None, None, false), Some(woken));
        let nothing = bells.sleep(None, Some(Duration::ZERO), false);
        assert_eq!(nothing, Some(Rung::default()), "rung once");
        Ok(())
    }

    #[test]
    fn it_looks_for_signals_and_at_the_wall_clock() -> Result<(), Error> {
        let bells = Bells::new()?;
        assert_eq!(bells.sleep(None, None, false), None);
        let over = bells.sleep(
            Some(now_wall_s() + 0.1),
            Some(Duration::from_secs(9)),
            false,
        );
        assert!(over.is_some_and(|rung| rung.timer));
        Ok(())
    }

    #[test]
    fn a_written_file_is_seen() -> std::io::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let bells = Bells::default();
        bells.follow(file.path().into());
        std::fs::write(file.path(), "more")?;
        let rung = bells.sleep(None, None, false);
        assert!(rung.is_some_and(|rung| rung.file));
        Ok(())
    }
}
