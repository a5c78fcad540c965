//! What can end a sleep: an eventfd, inotify, power events of the kernel, the wall clock.

use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::{Errno, read, write};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use rustix::thread::{current_timer_slack, set_current_timer_slack};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::error::Error;
use crate::sys::Rung;
use crate::sys::followed::{Followed, LOOK_EVERY};

/// How late a timeout may be, so that the kernel can serve several with one wake-up.
const TIMER_SLACK_NS: u64 = 50_000_000;
/// The group of messages that the kernel itself sends; udev sends to another.
const KERNEL_GROUP: u32 = 1;
const POWER_SUPPLY: &[u8] = b"\0SUBSYSTEM=power_supply\0";
/// The kernel's own room for the text of an event is 2048 bytes.
const EVENT_BYTES: usize = 4096;

/// Ends the sleep of one thread. It may be rung from any thread.
#[derive(Debug)]
pub struct Bells {
    doorbell: OwnedFd,
    /// Follows the wall clock, however it is set and whatever the machine sleeps through.
    timer: OwnedFd,
    /// `None` where the kernel has no netlink, or a sandbox forbids it.
    power: Option<OwnedFd>,
    /// `None` where there are none left.
    files: Option<OwnedFd>,
    followed: Mutex<FollowedFiles>,
}

#[derive(Debug, Default)]
struct FollowedFiles {
    announced: Vec<(i32, PathBuf)>,
    polled: Vec<Followed>,
}

impl Bells {
    /// Opens them.
    ///
    /// # Errors
    ///
    /// [`Error::Sensor`]: no file can be opened any more.
    pub fn new() -> Result<Self, Error> {
        let none_left = |errno: Errno| Error::Sensor(format!("watch: cannot be opened: {errno}"));
        let timer_flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let file_flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        Ok(Self {
            doorbell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
                .map_err(none_left)?,
            timer: timerfd_create(TimerfdClockId::Realtime, timer_flags).map_err(none_left)?,
            power: power_events().ok(),
            files: inotify::init(file_flags).ok(),
            followed: Mutex::default(),
        })
    }

    /// Ends the sleep, or the next one.
    pub fn ring(&self) {
        // It fails only while the counter is full: then it rings already.
        let _ = write(&self.doorbell, &1_u64.to_ne_bytes());
    }

    /// Lets writes to a file end a sleep.
    pub fn follow(&self, path: PathBuf) {
        self.add(&mut self.followed(), path);
    }

    /// Whether it is told of changes of power.
    pub fn hears_power(&self) -> bool {
        self.power.is_some()
    }

    /// Sleeps until something rings, the timeout is over or the wall clock has come so far;
    /// `None` when a signal came.
    ///
    /// `power`: whether changes of power ring, too; otherwise they wait until they are asked for.
    pub fn sleep(
        &self,
        until_wall_s: Option<f64>,
        timeout: Option<Duration>,
        power: bool,
    ) -> Option<Rung> {
        let polls_files = !self.followed().polled.is_empty();
        let timeout = if polls_files {
            Some(timeout.map_or(LOOK_EVERY, |timeout| timeout.min(LOOK_EVERY)))
        } else {
            timeout
        };
        let _slack = timeout.map(|_| Slack::grant());
        let power = self.power.as_ref().filter(|_| power);
        let timer = until_wall_s.map(|until_s| {
            arm(&self.timer, until_s);
            &self.timer
        });
        let [woken, file, power, timer] = wait_for(
            [Some(&self.doorbell), self.files.as_ref(), power, timer],
            timeout,
        )?;
        if woken {
            let _ = read(&self.doorbell, &mut [0_u8; 8]);
        }
        Some(Rung {
            woken,
            file: (file && self.was_written()) | (polls_files && self.has_changed()),
            power: power && self.has_power_changed(),
            timer,
        })
    }

    fn followed(&self) -> MutexGuard<'_, FollowedFiles> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, followed: &mut FollowedFiles, path: PathBuf) {
        let flags = WatchFlags::MODIFY | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
        let watched = self
            .files
            .as_ref()
            .map(|files| inotify::add_watch(files, &path, flags));
        match watched {
            Some(Ok(watch)) => followed.announced.push((watch, path)),
            _ => followed.polled.push(Followed::new(path)),
        }
    }

    /// Takes in what inotify has to say. A path that has become another file's is looked up anew.
    fn was_written(&self) -> bool {
        let Some(files) = &self.files else {
            return false;
        };
        let mut followed = self.followed();
        let mut room = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(files, &mut room);
        let mut was_written = false;
        while let Ok(event) = events.next() {
            was_written = true;
            let gone = ReadFlags::MOVE_SELF | ReadFlags::DELETE_SELF;
            if event.events().intersects(gone) {
                let lost = event.wd();
                let _ = inotify::remove_watch(files, lost);
                let is_lost = |(watch, _): &mut (i32, PathBuf)| *watch == lost;
                let paths: Vec<_> = followed.announced.extract_if(.., is_lost).collect();
                for (_, path) in paths {
                    self.add(&mut followed, path);
                }
            }
        }
        was_written
    }

    fn has_changed(&self) -> bool {
        let mut changed = false;
        for file in &mut self.followed().polled {
            changed |= file.has_changed();
        }
        changed
    }

    /// Takes in all events; one that was lost may have been of power.
    fn has_power_changed(&self) -> bool {
        let Some(power) = &self.power else {
            return false;
        };
        let mut event = [0_u8; EVENT_BYTES];
        let mut changed = false;
        loop {
            match recv(power, &mut event, RecvFlags::empty()) {
                Ok((text, _)) => {
                    let text = &event[..text];
                    changed |= memchr::memmem::find(text, POWER_SUPPLY).is_some();
                }
                Err(Errno::NOBUFS) => changed = true,
                Err(Errno::INTR) => {}
                Err(_) => return changed,
            }
        }
    }
}

/// Source: Documentation/driver-api/driver-model, lib/kobject_uevent.c; takes no privilege.
fn power_events() -> Result<OwnedFd, Errno> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        Some(KOBJECT_UEVENT),
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
    Ok(socket)
}

fn arm(timer: &OwnedFd, until_wall_s: f64) {
    // A moment of 0 would disarm it, and one before the epoch is none.
    let until = Duration::try_from_secs_f64(until_wall_s.clamp(1e-9, i32::MAX as f64 * 1e3))
        .unwrap_or(Duration::MAX);
    let new = Itimerspec {
        it_interval: Timespec::default(),
        it_value: timespec(until.max(Duration::from_nanos(1))),
    };
    // Also when somebody sets the clock: what was due by the old time may be late or early by now.
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    let _ = timerfd_settime(timer, flags, &new);
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Which of the files can be read; `None` when a signal came.
fn wait_for(files: [Option<&OwnedFd>; 4], timeout: Option<Duration>) -> Option<[bool; 4]> {
    let mut open: Vec<PollFd<'_>> = files
        .iter()
        .flatten()
        .map(|file| PollFd::new(file, PollFlags::IN))
        .collect();
    let timeout = timeout.map(timespec);
    match poll(&mut open, timeout.as_ref()) {
        Err(Errno::INTR) => return None,
        // A kernel without memory: nothing has rung, as far as can be told.
        Err(_) => return Some([false; 4]),
        Ok(_) => {}
    }
    let mut results = open.iter().map(|file| !file.revents().is_empty());
    Some(files.map(|file| file.is_some() && results.next().unwrap_or(false)))
}

/// Lets the timeouts of this thread be late for a while.
struct Slack {
    before_ns: Option<NonZeroU64>,
}

impl Slack {
    fn grant() -> Self {
        let before_ns = current_timer_slack().ok().and_then(NonZeroU64::new);
        let _ = set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS));
        Self { before_ns }
    }
}

impl Drop for Slack {
    fn drop(&mut self) {
        let _ = set_current_timer_slack(self.before_ns);
    }
}
