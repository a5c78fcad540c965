//! Texts of one file, one after the other: each is told as if it were the first, and rightly.
#![no_main]

use _native::parse::devices::Devices;
use _native::parse::parse_diskstats;
use _native::reading::Traffic;
use deferpower_fuzz::{Row, disks, texts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut remembering = Devices::default();
    for text in texts(data, 4) {
        let expected = disks(text);
        for _ in 0..2 {
            parse_diskstats(text, &mut remembering);
            assert_eq!(rows(remembering.traffic()), expected);
        }
    }
});

fn rows(traffic: &Traffic) -> Vec<Row> {
    traffic
        .iter()
        .map(|(name, bytes_in, bytes_out)| (name.to_vec(), bytes_in, bytes_out))
        .collect()
}
