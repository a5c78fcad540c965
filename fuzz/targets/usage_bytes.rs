//! Bytes of a table of usage, any of them changed and the checksum made to fit: an error, or a
//! table that can be used.
#![no_main]

use _native::usage::UsageTable;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const HEADER_BYTES: usize = 22;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    learned_h: u8,
    raw: Option<&'a [u8]>,
    changes: Vec<(u16, Number)>,
}

#[derive(Arbitrary, Debug)]
enum Number {
    Any(f64),
    Small(i16),
    Byte(u8, u8),
}

fuzz_target!(|input: Input| {
    if let Some(raw) = input.raw {
        let _ = UsageTable::from_bytes(raw);
    }
    let mut table = UsageTable::new();
    let hours: Vec<(f64, usize)> = (0..400_usize)
        .map(|hour| (1.7e9 + hour as f64 * 3600.0, hour % 168))
        .collect();
    let rows: Vec<u8> = (0..usize::from(input.learned_h))
        .flat_map(|hour| {
            [
                hours[hour].0,
                3600.0,
                (hour % 3) as f64 / 2.0,
                (hour % 2) as f64,
            ]
        })
        .flat_map(f64::to_le_bytes)
        .collect();
    table.learn(&hours, &rows).expect("rows that can be");
    let mut data = table.to_bytes();
    for (place, number) in &input.changes {
        let numbers = (data.len() - HEADER_BYTES) / 8;
        // Most numbers are sums alike; what is not stands in front.
        let place = usize::from(*place) % if place % 2 == 0 { 150 } else { numbers };
        let cell = &mut data[HEADER_BYTES + 8 * place..][..8];
        match *number {
            Number::Any(number) => cell.copy_from_slice(&number.to_le_bytes()),
            Number::Small(number) => cell.copy_from_slice(&f64::from(number).to_le_bytes()),
            Number::Byte(place, byte) => cell[usize::from(place) % 8] = byte,
        }
    }
    let sum = crc32(&data[HEADER_BYTES..]);
    data[18..22].copy_from_slice(&sum.to_le_bytes());
    let _ = table.merge(&data);
    let Ok(mut table) = UsageTable::from_bytes(&data) else {
        return;
    };
    for row in table.forecast(&hours[..30]).expect("hours that can be") {
        let figures = [row.0, row.1, row.2];
        assert!(
            figures.iter().all(|share| (0.0..=1.0).contains(share)),
            "{row:?}"
        );
    }
    let _ = table.outlook(1.7e9 + 1.0, 600.0, &hours[..30]);
    let _ = table.learn(&hours, &rows);
    table.restart();
    let _ = table.evidence();
    let _ = UsageTable::new().merge(&table.to_bytes());
});

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 1 {
                sum >> 1 ^ 0xEDB8_8320
            } else {
                sum >> 1
            }
        })
    })
}
