//! `/proc/PID/stat`: whose child a process is, and what it used.

use memchr::{memchr, memrchr};

use super::number::{trim, whole, words};
use crate::error::Error;
use crate::reading::ProcessTicks;

/// Pid, parent's pid, and processor ticks with those of reaped children.
///
/// # Errors
///
/// [`Error::Sensor`]: the text is no such line.
pub fn parse_process_stat(data: &[u8]) -> Result<ProcessTicks, Error> {
    parsed(data).ok_or_else(|| {
        Error::Sensor("proc/PID/stat: the text is no line of proc_pid_stat(5)".into())
    })
}

fn parsed(data: &[u8]) -> Option<ProcessTicks> {
    let text = trim(data);
    // The name in brackets is the program's own choice: it may hold blanks and brackets.
    let name_start = memchr(b'(', text)?;
    let name_end = memrchr(b')', text).filter(|&end| end > name_start)?;
    // After the name: state, parent, ten more, then utime, stime, cutime, cstime.
    let mut words = words(&text[name_end + 1..]);
    let pid = unsigned(trim(&text[..name_start]))?;
    let parent = unsigned(words.nth(1)?)?;
    let mut ticks = 0_u64;
    let mut times = words.skip(9);
    for _ in 0..4 {
        ticks = ticks.checked_add(unsigned(times.next()?)?)?;
    }
    i64::try_from(ticks).ok()?;
    Some(ProcessTicks { pid, parent, ticks })
}

fn unsigned(word: &[u8]) -> Option<u64> {
    whole(word)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, times: &str) -> String {
        format!("42 ({name}) S 7 42 42 0 -1 4194304 100 200 0 0 {times} 20 0 1 0 12345 1000 10\n")
    }

    #[test]
    fn reaped_children_count() {
        let parsed = parse_process_stat(line("tar", "1 20 300 4000").as_bytes());
        assert_eq!(
            parsed,
            Ok(ProcessTicks {
                pid: 42,
                parent: 7,
                ticks: 4321
            })
        );
    }

    #[test]
    fn a_name_may_hold_anything() {
        for name in ["", "a b", "x) R 1 (y", "\n", "((", "))", "\u{e9}"] {
            let parsed = parse_process_stat(line(name, "1 1 1 1").as_bytes());
            assert_eq!(
                parsed,
                Ok(ProcessTicks {
                    pid: 42,
                    parent: 7,
                    ticks: 4
                }),
                "{name:?}"
            );
        }
    }

    #[test]
    fn other_text_is_an_error() {
        let texts = [
            String::new(),
            "42".into(),
            "42 (tar".into(),
            "42 tar) S 7".into(),
            ")(".into(),
            "42 (tar) S 7 1 1 1 1 1 1 1 1 1 5 5 5".into(),
            line("tar", "1 2 3 x"),
            line("tar", "1 2 -3 4"),
            line("tar", "9223372036854775807 1 0 0"),
            line("tar", "1 1 1 1").replacen("42", "-42", 1),
        ];
        for text in texts {
            assert!(
                matches!(parse_process_stat(text.as_bytes()), Err(Error::Sensor(_))),
                "{text:?}"
            );
        }
    }
}
