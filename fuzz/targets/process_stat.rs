//! `/proc/PID/stat`: the program's own name in it, whatever it holds, changes nothing else.
#![no_main]

use _native::parse::parse_process_stat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parsed = parse_process_stat(data);
    let Ok(process) = parsed else {
        return;
    };
    assert!(i64::try_from(process.ticks).is_ok());
    assert!(i64::try_from(process.pid).is_ok() && i64::try_from(process.parent).is_ok());
    // Another name in the same place gives the same figures.
    let start = data.iter().position(|&byte| byte == b'(').expect("a name");
    let end = data.iter().rposition(|&byte| byte == b')').expect("a name");
    for name in [&b""[..], b") S 1 (", b"\0 \n"] {
        let renamed = [&data[..=start], name, &data[end..]].concat();
        assert_eq!(parse_process_stat(&renamed), parsed);
    }
});
