use super::{LocalHour, UsageTable};

fn hours(count: usize) -> Vec<LocalHour> {
    (0..count)
        .map(|hour| (hour as f64 * 3600.0, (hour + 72) % 168))
        .collect()
}

/// Plugged and idle from midnight to eight, in use and unplugged for the rest of the day.
fn nights(days: usize) -> Vec<u8> {
    let mut rows = Vec::new();
    for slot in 0..days * 288 {
        let is_night = (slot / 12) % 24 < 8;
        let (activity, plugged) = if is_night { (0.0, 1.0) } else { (0.5, 0.0) };
        for number in [slot as f64 * 300.0, 300.0, activity, plugged] {
            rows.extend(number.to_le_bytes());
        }
    }
    rows
}

#[test]
fn nights_are_foreseen() -> Result<(), crate::error::Error> {
    let mut table = UsageTable::new();
    let counted = table.learn(&hours(24 * 14 + 1), &nights(14))?;
    assert_eq!(counted, (14.0 * 86400.0, 0.0));
    let rows = table.forecast(&hours(24 * 15)[24 * 14..])?;
    for (hour, row) in rows.iter().enumerate() {
        assert_eq!(row.2 > 0.5, hour < 8, "hour {hour}: {row:?}");
    }
    Ok(())
}

#[test]
fn bytes_are_the_table() -> Result<(), crate::error::Error> {
    let mut table = UsageTable::new();
    table.learn(&hours(49), &nights(2)[..32 * 300])?;
    let data = table.to_bytes();
    assert_eq!(UsageTable::from_bytes(&data)?.to_bytes(), data);
    for place in [0, 17, 20, 30, data.len() - 1] {
        let mut damaged = data.clone();
        damaged[place] ^= 1;
        assert!(UsageTable::from_bytes(&damaged).is_err(), "byte {place}");
    }
    Ok(())
}
