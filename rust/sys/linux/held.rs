//! Files and directories that are held open and read again.

use std::borrow::Cow;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, fstat, openat, seek, statat};
use rustix::io::{Errno, pread, retry_on_intr};

/// What the files lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// procfs and sysfs: an open file stays what its path names, or fails.
    Kernel,
    /// A copy of them: files may be replaced or removed behind an open one, so that is looked after.
    Ordinary,
}

/// Why there is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no such file.
    Absent,
    /// It is there, but cannot be read.
    Failing(Errno),
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::Absent,
            error => Self::Failing(error),
        }
    }
}

/// How a file ends, seen from `pread`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// A short read ends it.
    Whole,
    /// It comes by whole records, never more than a page at once.
    Records,
    /// No more is wanted once this holds of what was read.
    Head(fn(&[u8]) -> bool),
}

/// No record of the kernel's lists is longer, so a read that leaves this much of a page was the last.
const RECORD_MOST: usize = 512;
/// Where every page ends at the earliest.
const PAGE_LEAST: usize = 4096;
/// Beyond it, a file is no sensor.
const FILE_MOST: usize = 1 << 24;

#[derive(Debug)]
struct Opened {
    fd: OwnedFd,
    /// Device and inode, where they are looked after.
    identity: Option<(u64, u64)>,
}

impl Opened {
    fn open(
        dir: BorrowedFd<'_>,
        name: &CStr,
        flags: OFlags,
        ground: Ground,
    ) -> Result<Self, Errno> {
        // Not to wait where a pipe lies in a file's place.
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = retry_on_intr(|| openat(dir, name, flags, Mode::empty()))?;
        let identity = match ground {
            Ground::Kernel => None,
            Ground::Ordinary => fstat(&fd).ok().map(|stat| (stat.st_dev, stat.st_ino)),
        };
        Ok(Self { fd, identity })
    }

    /// Whether the name still names what was opened.
    fn is_named(&self, dir: BorrowedFd<'_>, name: &CStr) -> bool {
        self.identity.is_none_or(|identity| {
            statat(dir, name, AtFlags::empty())
                .is_ok_and(|stat| (stat.st_dev, stat.st_ino) == identity)
        })
    }
}

/// A file that is held open.
#[derive(Debug)]
pub(super) struct HeldFile {
    name: Cow<'static, CStr>,
    shape: Shape,
    /// How much is asked for at once; more than the file holds, once that is known.
    room: usize,
    opened: Option<Opened>,
    fault: Option<Fault>,
}

impl HeldFile {
    /// A file that will be opened when it is first read.
    pub(super) fn new(name: impl Into<Cow<'static, CStr>>, shape: Shape) -> Self {
        let room = match shape {
            Shape::Whole => 512,
            Shape::Head(_) => 1024,
            Shape::Records => PAGE_LEAST,
        };
        Self {
            name: name.into(),
            shape,
            room,
            opened: None,
            fault: None,
        }
    }

    /// Why the last read gave nothing.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// An absent file may be there by now.
    pub(super) fn look_again(&mut self) {
        self.fault = None;
    }

    /// What the file says now. `dir` is where a relative name begins.
    pub(super) fn read<'b>(
        &mut self,
        dir: BorrowedFd<'_>,
        ground: Ground,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], Fault> {
        if self.fault == Some(Fault::Absent) {
            return Err(Fault::Absent);
        }
        match self.try_read(dir, ground, buffer) {
            Ok(length) => {
                self.fault = None;
                Ok(&buffer[..length])
            }
            Err(error) => {
                // Opened anew at the next read: what failed may have been replaced.
                self.opened = None;
                self.fault = Some(error.into());
                Err(error.into())
            }
        }
    }

    fn try_read(
        &mut self,
        dir: BorrowedFd<'_>,
        ground: Ground,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, Errno> {
        let opened = match self.opened.take() {
            Some(opened) if opened.is_named(dir, &self.name) => opened,
            _ => Opened::open(dir, &self.name, OFlags::RDONLY, ground)?,
        };
        let fd = self.opened.insert(opened).fd.as_fd();
        let mut length = 0;
        loop {
            if buffer.len() < self.room {
                buffer.resize(self.room, 0);
            }
            let read = retry_on_intr(|| pread(fd, &mut buffer[length..self.room], length as u64))?;
            length += read;
            let is_short = length < self.room;
            let is_end = match self.shape {
                _ if read == 0 => true,
                Shape::Whole => is_short,
                Shape::Records => is_short && read < PAGE_LEAST - RECORD_MOST,
                Shape::Head(suffices) => is_short || suffices(&buffer[..length]),
            };
            if is_end || self.room >= FILE_MOST {
                return Ok(length);
            }
            if !is_short {
                self.room *= 2;
            }
        }
    }
}

/// A directory that is held open.
#[derive(Debug)]
pub(super) struct HeldDir {
    name: Cow<'static, CStr>,
    opened: Option<Opened>,
}

impl HeldDir {
    /// A directory that will be opened when it is first used.
    pub(super) fn new(name: impl Into<Cow<'static, CStr>>) -> Self {
        Self {
            name: name.into(),
            opened: None,
        }
    }

    /// The open directory. `dir` is where a relative name begins.
    pub(super) fn open(
        &mut self,
        dir: BorrowedFd<'_>,
        ground: Ground,
    ) -> Result<BorrowedFd<'_>, Fault> {
        let opened = match self.opened.take() {
            Some(opened) if opened.is_named(dir, &self.name) => opened,
            _ => Opened::open(dir, &self.name, OFlags::RDONLY | OFlags::DIRECTORY, ground)?,
        };
        Ok(self.opened.insert(opened).fd.as_fd())
    }

    /// Calls `each` with name and inode of every entry, those that begin with a dot left out.
    pub(super) fn list(
        &mut self,
        dir: BorrowedFd<'_>,
        ground: Ground,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(&CStr, u64),
    ) -> Result<(), Fault> {
        let fd = self.open(dir, ground)?;
        let mut list = || {
            seek(fd, SeekFrom::Start(0))?;
            // The room of a vector, not its content, is what the entries are read into.
            buffer.clear();
            buffer.reserve(PAGE_LEAST);
            let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
            while let Some(entry) = entries.next() {
                let entry = entry?;
                let is_candidate = matches!(
                    entry.file_type(),
                    FileType::Directory | FileType::Symlink | FileType::Unknown
                );
                if is_candidate && !entry.file_name().to_bytes().starts_with(b".") {
                    each(entry.file_name(), entry.ino());
                }
            }
            Ok(())
        };
        let listed = list();
        if listed.is_err() {
            self.opened = None;
        }
        listed.map_err(|error: Errno| error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::fs::CWD;

    use super::*;

    fn named(path: &Path) -> CString {
        CString::new(path.as_os_str().as_bytes()).unwrap()
    }

    fn text(file: &mut HeldFile, ground: Ground) -> Result<String, Fault> {
        let mut buffer = Vec::new();
        let text = file.read(CWD, ground, &mut buffer)?;
        Ok(String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn a_list_of_records_is_read_to_its_end() {
        for path in ["/proc/crypto", "/proc/self/mountinfo"] {
            let mut file = HeldFile::new(named(Path::new(path)), Shape::Records);
            for _ in 0..2 {
                let whole = fs::read_to_string(path).map_err(|_| Fault::Absent);
                assert!(text(&mut file, Ground::Kernel) == whole, "{path}");
            }
        }
    }

    #[test]
    fn only_the_head_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "x".repeat(100_000)).unwrap();
        let mut file = HeldFile::new(named(&path), Shape::Head(|text| text.len() >= 3000));
        assert_eq!(text(&mut file, Ground::Kernel).unwrap().len(), 4096);
        fs::write(&path, "short").unwrap();
        assert_eq!(text(&mut file, Ground::Kernel).unwrap(), "short");
    }

    #[test]
    fn the_kernels_files_are_never_opened_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "held").unwrap();
        let mut held = HeldFile::new(named(&path), Shape::Whole);
        let mut looked_after = HeldFile::new(named(&path), Shape::Whole);
        assert_eq!(text(&mut held, Ground::Kernel).unwrap(), "held");
        assert_eq!(text(&mut looked_after, Ground::Ordinary).unwrap(), "held");
        fs::write(dir.path().join("other"), "other").unwrap();
        fs::rename(dir.path().join("other"), &path).unwrap();
        assert_eq!(text(&mut held, Ground::Kernel).unwrap(), "held");
        assert_eq!(text(&mut looked_after, Ground::Ordinary).unwrap(), "other");
    }

    #[test]
    fn a_pipe_in_a_files_place_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let mut file = HeldFile::new(named(&path), Shape::Whole);
        let fault = text(&mut file, Ground::Kernel).unwrap_err();
        assert_eq!(fault, Fault::Failing(Errno::SPIPE));
    }
}
