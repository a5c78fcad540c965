use super::*;

/// A supply of `attribute=text` pairs, parted by commas.
fn supply(attributes: &str) -> Supply {
    let mut supply = Supply::default();
    for pair in attributes.split(',') {
        let (name, text) = pair.split_once('=').unwrap();
        let is_named = |attribute: &Attribute| attribute.name().to_str() == Ok(name);
        supply.set(
            Attribute::ALL.into_iter().find(is_named).unwrap(),
            text.as_bytes(),
        );
    }
    supply
}

fn power(supplies: &[&str]) -> Power {
    let supplies: Vec<Supply> = supplies
        .iter()
        .map(|attributes| supply(attributes))
        .collect();
    aggregate_power(supplies.iter())
}

fn pack(attributes: &str) -> Power {
    power(&[&format!("type=Battery,{attributes}")])
}

const PACK: &str = "type=Battery,status=Discharging,capacity=50";

#[test]
fn every_attribute_stands_at_its_own_number() {
    for (place, attribute) in Attribute::ALL.into_iter().enumerate() {
        assert_eq!(attribute as usize, place);
    }
}

#[test]
fn a_machine_without_a_pack_is_plugged() {
    for supplies in [
        &[][..],
        &["type=Mains,online=0"],
        &["type=Battery,scope=Device,capacity=9,status=Discharging"],
    ] {
        let power = power(supplies);
        assert_eq!(
            (power.present, power.plugged, power.state),
            (false, Some(true), PowerState::None)
        );
        assert_eq!(
            (power.percent, power.energy_wh, power.battery_watts),
            (None, None, None)
        );
    }
}

#[test]
fn what_a_supply_is() {
    let cases = [
        ("type=Battery", Role::Pack),
        ("type=battery\n,scope=System", Role::Pack),
        ("type=Battery,scope=device\0", Role::Peripheral),
        ("type=Mains,scope=Device", Role::Peripheral),
        ("type=Battery,present=0", Role::EmptyBay),
        ("type=Battery,present=", Role::Pack),
        ("type=UPS,present=0", Role::EmptyBay),
        ("type=UPS", Role::Ups),
        ("type=Mains", Role::Adapter),
        ("type=USB_PD_DRP", Role::Adapter),
        ("type=usb", Role::Adapter),
        ("type=BrickID", Role::Adapter),
        ("type=Wireless", Role::Adapter),
        ("type=Unknown,capacity=5", Role::Other),
        ("type=US", Role::Other),
        ("type=,capacity=", Role::Pack),
        ("status=Full", Role::Pack),
        ("status=Full,present=0", Role::EmptyBay),
        ("online=1", Role::Adapter),
        ("energy_full=1", Role::Other),
    ];
    for (attributes, role) in cases {
        assert_eq!(supply(attributes).role(), role, "{attributes}");
    }
}

#[test]
fn plugged_by_adapters_and_packs() {
    let charging = "type=Battery,status=Charging";
    let full = "type=Battery,status=Full";
    let held = "type=Battery,status=Not charging";
    let unknown = "type=Battery,status=Unknown";
    let (off, on) = ("type=Mains,online=0", "type=Mains,online=1");
    let cases: [(&[&str], Option<bool>); 19] = [
        (&[PACK, on], Some(true)),
        (&[PACK, "type=Mains,online=2"], Some(true)),
        (&[PACK, off], Some(false)),
        (&[PACK, off, "type=USB,online=1"], Some(true)),
        (
            &[PACK, "type=USB,online=1,power_role=[source] sink"],
            Some(false),
        ),
        (
            &[PACK, "type=USB,online=1,power_role=source [sink]"],
            Some(true),
        ),
        (
            &[
                PACK,
                "type=USB,online=1,power_role=[source] sink,power_role=source [sink]",
            ],
            Some(true),
        ),
        (&[PACK, "type=USB,online=1,status=Discharging"], Some(false)),
        (
            &[
                PACK,
                "type=Mains,online=1,status=Discharging,power_role=[source]",
            ],
            Some(true),
        ),
        (&[PACK, "type=Mains,online=x"], Some(false)),
        (&[charging, off], Some(true)),
        (&[held, off], None),
        (&[full, off], Some(false)),
        (&[unknown, off], Some(false)),
        (&[held], Some(true)),
        (&[full], Some(true)),
        (&[unknown], None),
        (&[unknown, "type=Mains,online="], None),
        (&["type=Battery,status=Discharging,online=1"], Some(false)),
    ];
    for (supplies, plugged) in cases {
        assert_eq!(power(supplies).plugged, plugged, "{supplies:?}");
    }
}

#[test]
fn a_ups_is_all_that_matters() {
    let laptop = "type=Battery,status=Full,capacity=100";
    for (status, plugged) in [
        ("Discharging", false),
        ("Full", true),
        ("Not charging", true),
        ("Charging", true),
    ] {
        let ups = format!("type=UPS,status={status},capacity=40");
        let power = power(&[laptop, &ups, "type=Mains,online=0"]);
        assert_eq!(
            (power.battery_count, power.percent, power.plugged),
            (1, Some(40.0), Some(plugged)),
            "{status}"
        );
    }
    let unsaid = power(&[laptop, "type=UPS,status=Unknown", "type=Mains,online=1"]);
    assert_eq!(unsaid.plugged, Some(true));
}

#[test]
fn ratio_and_capacity_check_each_other() {
    let cases = [
        ("energy_now=30,energy_full=40", Some(75.0)),
        ("capacity=70", Some(70.0)),
        ("capacity=70,energy_now=30,energy_full=40", Some(75.0)),
        ("capacity=70,charge_now=30,charge_full=40", Some(75.0)),
        ("capacity=20,charge_now=300,charge_full=40", Some(20.0)),
        ("capacity=500,charge_now=30,charge_full=40", Some(75.0)),
        ("capacity=90,energy_now=30,energy_full=40", Some(75.0)),
        ("capacity=20,energy_now=30,energy_full=40", Some(20.0)),
        ("capacity=110,energy_now=42,energy_full=40", Some(100.0)),
        ("capacity=-5", Some(0.0)),
        ("energy_now=30,charge_full=40", None),
        ("energy_now=30,charge_full=40,capacity=33", Some(33.0)),
        (
            "energy_now=30,energy_full=0,charge_now=1,charge_full=4",
            Some(25.0),
        ),
        ("energy_now=-1,energy_full=40,capacity=7", Some(7.0)),
        ("capacity=text", None),
        ("capacity=", None),
    ];
    for (attributes, percent) in cases {
        assert_eq!(pack(attributes).percent, percent, "{attributes}");
    }
}

#[test]
fn a_distrusted_ratio_takes_its_energy_along() {
    let power = pack("capacity=20,energy_now=30000000,energy_full=40000000");
    assert_eq!((power.energy_wh, power.energy_full_wh), (None, Some(40.0)));
}

#[test]
fn charge_becomes_energy_by_the_design_voltage() {
    let energies = |attributes: &str| {
        let power = pack(attributes);
        (power.energy_wh, power.energy_full_wh)
    };
    let charge = "charge_now=1000000,charge_full=2000000";
    assert_eq!(
        energies(&format!(
            "{charge},voltage_min_design=11000000,voltage_now=12000000"
        )),
        (Some(11.0), Some(22.0))
    );
    assert_eq!(
        energies(&format!(
            "{charge},voltage_min_design=0,voltage_now=12000000"
        )),
        (Some(12.0), Some(24.0))
    );
    assert_eq!(energies(charge), (None, None));
    assert_eq!(
        energies("energy_now=-1,charge_now=1000000,voltage_now=12000000"),
        (None, None)
    );
    assert_eq!(
        energies("energy_now=x,charge_now=1000000,voltage_now=12000000"),
        (Some(12.0), None)
    );
    assert_eq!(energies("energy_now=0,energy_full=0"), (Some(0.0), None));
}

#[test]
fn a_whole_pair_goes_before_a_lone_figure() {
    let charge = "charge_now=1000000,charge_full=2000000,voltage_now=12000000";
    let stray = pack(&format!("energy_now=7000000,{charge}"));
    assert_eq!(
        (stray.percent, stray.energy_wh, stray.energy_full_wh),
        (Some(50.0), Some(12.0), Some(24.0))
    );
    let both = pack(&format!("energy_now=9000000,energy_full=10000000,{charge}"));
    assert_eq!(
        (both.percent, both.energy_wh, both.energy_full_wh),
        (Some(90.0), Some(9.0), Some(10.0))
    );
}

#[test]
fn watts_have_the_sign_of_the_state() {
    let cases = [
        ("status=Charging,power_now=9000000", Some(9.0)),
        ("status=Charging,power_now=-9000000", Some(9.0)),
        ("status=Discharging,power_now=9000000", Some(-9.0)),
        ("status=Not charging,power_now=-9000000", Some(-9.0)),
        ("status=Full,power_now=9000000", Some(9.0)),
        ("status=Unknown,power_now=0", Some(0.0)),
        ("status=Unknown,power_now=9000000", None),
        ("status=Unknown,power_now=-9000000", Some(-9.0)),
        (
            "status=Discharging,current_now=-2000000,voltage_now=12000000",
            Some(-24.0),
        ),
        ("status=Discharging,current_now=2000000", None),
        (
            "status=Discharging,current_now=2000000,voltage_now=-1",
            None,
        ),
        ("status=Discharging,power_now=1000000001", None),
        ("status=Discharging", None),
    ];
    for (attributes, watts) in cases {
        assert_eq!(pack(attributes).battery_watts, watts, "{attributes}");
    }
}

#[test]
fn several_packs_are_weighed_by_their_energy() {
    let big =
        "type=Battery,status=Not charging,energy_now=60000000,energy_full=60000000,power_now=0";
    let small = "type=Battery,status=Discharging,energy_now=10000000,energy_full=20000000,power_now=5000000";
    let both = power(&[big, small]);
    assert_eq!(both.percent, Some(87.5));
    assert_eq!(
        (both.energy_wh, both.energy_full_wh, both.battery_watts),
        (Some(70.0), Some(80.0), Some(-5.0))
    );
    assert_eq!(
        (both.state, both.battery_count),
        (PowerState::Discharging, 2)
    );
    assert_eq!(both.time_to_empty_s, Some(70.0 / 5.0 * 3600.0));

    let unsized_pack = "type=Battery,status=Full,capacity=30";
    let three = power(&[big, small, unsized_pack]);
    assert_eq!(
        three.percent,
        Some((100.0 * 60.0 + 50.0 * 20.0 + 30.0 * 40.0) / 120.0)
    );
    assert_eq!(
        (three.energy_wh, three.energy_full_wh, three.battery_watts),
        (None, None, None)
    );
    assert_eq!(
        power(&[unsized_pack, "type=Battery,capacity=50"]).percent,
        Some(40.0)
    );
}

#[test]
fn time_to_empty_is_reckoned_or_told() {
    let energy = "status=Discharging,energy_now=10000000,energy_full=50000000";
    let cases = [
        (format!("{energy},power_now=5000000"), Some(7200.0)),
        (
            format!("{energy},power_now=5000000,time_to_empty_now=60"),
            Some(7200.0),
        ),
        (
            format!("{energy},power_now=0,time_to_empty_now=60"),
            Some(60.0),
        ),
        (format!("{energy},power_now=0,time_to_empty_now=0"), None),
        (format!("{energy},power_now=1,time_to_empty_now=60"), None),
        (format!("{energy},time_to_empty_now=864001"), None),
        ("status=Charging,time_to_empty_now=60".to_owned(), None),
    ];
    for (attributes, seconds) in cases {
        assert_eq!(pack(&attributes).time_to_empty_s, seconds, "{attributes}");
    }
    let two = power(&[&format!("{PACK},time_to_empty_now=60"), PACK]);
    assert_eq!(
        two.time_to_empty_s, None,
        "an estimate of one pack is none of two"
    );
}

#[test]
fn a_percent_is_never_above_100() {
    for full in 1..2000 {
        let percent = pack(&format!("energy_now={full},energy_full={full}")).percent;
        assert!(percent.is_some_and(|percent| percent <= 100.0), "{full}");
    }
}

#[test]
fn only_what_is_needed_is_asked_of_a_supply() {
    let names = |attributes: &str| {
        let beside = supply(attributes).attributes_beside();
        beside
            .iter()
            .map(|attribute| attribute.name().to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let pack = "present status capacity energy_now energy_full charge_now charge_full \
                voltage_min_design voltage_now power_now current_now time_to_empty_now";
    assert_eq!(names("type=Battery"), pack);
    assert_eq!(names("type=UPS,scope=System"), pack);
    assert_eq!(names("type=Mains"), "online");
    assert_eq!(names("type=USB_C"), "online status");
    assert_eq!(names("scope=System"), format!("{pack} online"));
    assert_eq!(names("type=Battery,scope=Device"), "");
    assert_eq!(names("type=Unknown"), "");
}
