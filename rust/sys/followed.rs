//! Files whose writes nobody announces: looked at once a second.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often to look.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file, as it was when looked at last.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    stamp: Option<Stamp>,
}

type Stamp = (u64, Option<SystemTime>);

impl Followed {
    /// The file as it is now, if it is there.
    pub fn new(path: PathBuf) -> Self {
        let stamp = stamp(&path);
        Self { path, stamp }
    }

    /// Whether size or time of the last change are not what they were; an absent file is none.
    pub fn has_changed(&mut self) -> bool {
        let now = stamp(&self.path);
        std::mem::replace(&mut self.stamp, now) != now
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = path.metadata().ok()?;
    Some((data.len(), data.modified().ok()))
}
