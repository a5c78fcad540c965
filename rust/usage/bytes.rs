//! A table of usage as bytes, with a version and a checksum.

use super::estimates::{CELLS, EVENTS, HORIZONS, LEVELS, later_bucket};
use super::{ERA_H, LATEST_S, OpenHour, Present, Run, UsageTable};
use crate::error::Error;

const MAGIC: &[u8; 16] = b"deferpower usage";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 22;
const RUN_NUMBERS: usize = 6;
const HOUR_NUMBERS: usize = 9;
const PRESENT: usize = HOUR_NUMBERS + RUN_NUMBERS * EVENTS + HORIZONS * EVENTS + 1;
const UNKNOWN: f64 = -1.0;

impl UsageTable {
    /// All of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(8 * (PRESENT + CELLS));
        let numbers = self.present_numbers();
        for number in numbers.iter().chain(&self.estimates.cells) {
            body.extend(number.to_le_bytes());
        }
        let mut data = MAGIC.to_vec();
        data.extend(VERSION.to_le_bytes());
        data.extend(crc32(&body).to_le_bytes());
        data.extend(body);
        data
    }

    /// The table that bytes were made from.
    ///
    /// # Errors
    ///
    /// They are damaged, of another version, or no such bytes.
    pub fn from_bytes(data: &[u8]) -> Result<Self, Error> {
        let wrong = |message: &str| Err(Error::Config(format!("history: {message}")));
        let Some((header, body)) = data.split_at_checked(HEADER_BYTES) else {
            return wrong("these bytes are no table of usage");
        };
        if !header.starts_with(MAGIC) {
            return wrong("these bytes are no table of usage");
        }
        let version = u16::from_le_bytes([header[16], header[17]]);
        if version != VERSION {
            return wrong(&format!(
                "version {version} is not known here, only {VERSION}; \
                 it was written by another version of deferpower"
            ));
        }
        let checksum = u32::from_le_bytes([header[18], header[19], header[20], header[21]]);
        if body.len() != 8 * (PRESENT + CELLS) || crc32(body) != checksum {
            return wrong("damaged, its checksum does not match");
        }
        let (numbers, _) = body.as_chunks::<8>();
        let numbers: Vec<f64> = numbers
            .iter()
            .map(|&eight| f64::from_le_bytes(eight))
            .collect();
        let (now, cells) = numbers.split_at(PRESENT);
        let mut table = Self::new();
        if is_present(now) {
            table.present = present(now);
            table.estimates.cells = cells.to_vec();
            if table.present.hour.start_s >= 0.0 {
                table.enter_era();
            }
            if table.estimates.are_sums() {
                return Ok(table);
            }
        }
        wrong("damaged, it holds a number that cannot be")
    }

    fn present_numbers(&self) -> Vec<f64> {
        let now = &self.present;
        let hour = &now.hour;
        let mut numbers = vec![
            now.end_s,
            now.era,
            hour.start_s,
            hour.end_s,
            hour.hour_of_week as f64,
            hour.activity_s,
            hour.active_s,
            hour.power_s,
            hour.plugged_s,
        ];
        for run in &now.runs {
            let state = run.state.map_or(UNKNOWN, |held| f64::from(u8::from(held)));
            let share = run.share.unwrap_or(UNKNOWN);
            numbers.extend([run.known_s, run.held_s, state]);
            numbers.extend([run.age_s, share, run.level as f64]);
        }
        for horizon in 0..HORIZONS {
            numbers.extend(now.surprises.map(|surprises| surprises[horizon]));
        }
        numbers.push(hour.seen_s);
        numbers
    }
}

/// Whether these are numbers of a present: a checksum is no proof that a table was written.
fn is_present(numbers: &[f64]) -> bool {
    let is_amount = |number: &f64| (0.0..=LATEST_S).contains(number);
    let is_amount_or_unknown = |number: f64| number == UNKNOWN || is_amount(&number);
    let is_share = |share: f64| share == UNKNOWN || (0.0..=1.0).contains(&share);
    let is_below = |number: f64, end: f64| (0.0..end).contains(&number) && number.fract() == 0.0;
    let (start_s, end_s) = (numbers[2], numbers[3]);
    let hour_is_one = start_s == UNKNOWN && end_s == UNKNOWN
        || is_amount(&start_s) && is_amount(&end_s) && start_s < end_s;
    let (runs, surprises) = numbers[HOUR_NUMBERS..PRESENT - 1].split_at(RUN_NUMBERS * EVENTS);
    let is_run = |run: &[f64]| {
        is_amount(&run[0])
            && is_amount(&run[1])
            && matches!(run[2], UNKNOWN | 0.0 | 1.0)
            && (run[2] == UNKNOWN || run[0] > 0.0)
            && is_amount(&run[3])
            && is_share(run[4])
            && is_below(run[5], LEVELS as f64)
    };
    is_amount_or_unknown(numbers[0])
        && is_below(numbers[1], LATEST_S / (3600 * ERA_H) as f64)
        && hour_is_one
        && is_below(numbers[4], 168.0)
        && numbers[5..HOUR_NUMBERS].iter().all(is_amount)
        && is_amount(&numbers[PRESENT - 1])
        && runs.chunks_exact(RUN_NUMBERS).all(is_run)
        && surprises
            .iter()
            .all(|surprise| surprise.is_nan() || surprise.abs() <= 2.0)
}

fn present(numbers: &[f64]) -> Present {
    let surprises = &numbers[HOUR_NUMBERS + RUN_NUMBERS * EVENTS..];
    Present {
        end_s: numbers[0],
        era: numbers[1],
        hour: OpenHour {
            start_s: numbers[2],
            end_s: numbers[3],
            hour_of_week: numbers[4] as usize,
            activity_s: numbers[5],
            active_s: numbers[6],
            power_s: numbers[7],
            plugged_s: numbers[8],
            seen_s: numbers[PRESENT - 1],
        },
        runs: std::array::from_fn(|event| {
            let run = &numbers[HOUR_NUMBERS + RUN_NUMBERS * event..][..RUN_NUMBERS];
            Run {
                known_s: run[0],
                held_s: run[1],
                state: (run[2] >= 0.0).then_some(run[2] > 0.0),
                age_s: run[3],
                place: later_bucket(0, run[3]),
                share: (run[4] >= 0.0).then_some(run[4]),
                level: run[5] as usize,
            }
        }),
        surprises: std::array::from_fn(|event| {
            std::array::from_fn(|horizon| surprises[EVENTS * horizon + event])
        }),
    }
}

/// CRC-32 as zlib and PNG have it.
fn crc32(data: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for &byte in data {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            let carry = sum & 1;
            sum >>= 1;
            if carry == 1 {
                sum ^= 0xEDB8_8320;
            }
        }
    }
    !sum
}
