//! One power supply: its attributes, and what it is by them.

use memchr::memmem;

use crate::parse::number::{trim, whole};
use crate::reading::PowerState;

/// An attribute of a power supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(
    missing_docs,
    reason = "the names are the kernel's, and documented there"
)]
pub enum Attribute {
    Type,
    Scope,
    Present,
    Status,
    Capacity,
    EnergyNow,
    EnergyFull,
    ChargeNow,
    ChargeFull,
    VoltageMinDesign,
    VoltageNow,
    PowerNow,
    CurrentNow,
    TimeToEmptyNow,
    Online,
    /// Of the USB-C port that feeds the supply, not of the supply itself.
    PowerRole,
}

impl Attribute {
    /// Every attribute, each at its own number.
    pub const ALL: [Self; 16] = [
        Self::Type,
        Self::Scope,
        Self::Present,
        Self::Status,
        Self::Capacity,
        Self::EnergyNow,
        Self::EnergyFull,
        Self::ChargeNow,
        Self::ChargeFull,
        Self::VoltageMinDesign,
        Self::VoltageNow,
        Self::PowerNow,
        Self::CurrentNow,
        Self::TimeToEmptyNow,
        Self::Online,
        Self::PowerRole,
    ];

    /// The name of its file.
    pub const fn name(self) -> &'static std::ffi::CStr {
        match self {
            Self::Type => c"type",
            Self::Scope => c"scope",
            Self::Present => c"present",
            Self::Status => c"status",
            Self::Capacity => c"capacity",
            Self::EnergyNow => c"energy_now",
            Self::EnergyFull => c"energy_full",
            Self::ChargeNow => c"charge_now",
            Self::ChargeFull => c"charge_full",
            Self::VoltageMinDesign => c"voltage_min_design",
            Self::VoltageNow => c"voltage_now",
            Self::PowerNow => c"power_now",
            Self::CurrentNow => c"current_now",
            Self::TimeToEmptyNow => c"time_to_empty_now",
            Self::Online => c"online",
            Self::PowerRole => c"power_role",
        }
    }
}

/// What `type` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Type {
    #[default]
    Unsaid,
    Battery,
    Ups,
    Adapter,
    Usb,
    Other,
}

/// What a supply is, and whether it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A battery of the machine.
    Pack,
    /// An uninterruptible power supply: its battery is all that matters.
    Ups,
    /// Mains, USB, wireless.
    Adapter,
    /// The battery of a mouse, a headset, a pen: does not count.
    Peripheral,
    /// The place of a pack or UPS that is out; its figures are stale.
    EmptyBay,
    /// Anything else.
    Other,
}

/// One power supply, made of its attributes by [`Supply::set`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Supply {
    kind: Type,
    is_peripheral: bool,
    state: PowerState,
    /// Whether one of its USB-C ports is a source, and whether one is a sink.
    ports: (bool, bool),
    /// A bit for every attribute that could be read.
    listed: u16,
    numbers: [Option<i64>; Attribute::ALL.len()],
}

impl Supply {
    /// Takes in the content of an attribute that could be read; `PowerRole` of one port after the other.
    pub fn set(&mut self, attribute: Attribute, text: &[u8]) {
        self.listed |= 1 << attribute as u8;
        match attribute {
            Attribute::Type => self.kind = kind(trim(text)),
            Attribute::Scope => self.is_peripheral = trim(text).eq_ignore_ascii_case(b"device"),
            Attribute::Status => self.state = state(trim(text)),
            Attribute::PowerRole => {
                let holds = |role: &[u8]| memmem::find(text, role).is_some();
                self.ports = (
                    self.ports.0 || holds(b"[source]"),
                    self.ports.1 || holds(b"[sink]"),
                );
            }
            _ => self.numbers[attribute as usize] = whole(trim(text)),
        }
    }

    /// Which attributes to read once `Type` and `Scope` are known.
    ///
    /// No more than these: a controller may be slow, a peripheral's radio slower.
    pub fn attributes_beside(&self) -> &'static [Attribute] {
        const ADAPTER: [Attribute; 1] = [Attribute::Online];
        const USB: [Attribute; 2] = [Attribute::Online, Attribute::Status];
        let [_, _, beside @ .., _] = &Attribute::ALL;
        match self.kind {
            _ if self.is_peripheral => &[],
            Type::Battery | Type::Ups => &beside[..beside.len() - 1],
            Type::Adapter => &ADAPTER,
            Type::Usb => &USB,
            Type::Unsaid => beside,
            Type::Other => &[],
        }
    }

    /// What it is, as far as its attributes were taken in.
    pub fn role(&self) -> Role {
        use Attribute::{Capacity, ChargeNow, EnergyNow, Online, Status};
        let role = match self.kind {
            _ if self.is_peripheral => return Role::Peripheral,
            Type::Battery => Role::Pack,
            Type::Ups => Role::Ups,
            Type::Adapter | Type::Usb => Role::Adapter,
            Type::Unsaid
                if [Capacity, EnergyNow, ChargeNow, Status]
                    .iter()
                    .any(|&a| self.lists(a)) =>
            {
                Role::Pack
            }
            Type::Unsaid if self.lists(Online) => Role::Adapter,
            Type::Unsaid | Type::Other => Role::Other,
        };
        match role {
            Role::Pack | Role::Ups if self.number(Attribute::Present) == Some(0) => Role::EmptyBay,
            role => role,
        }
    }

    /// What `online` says, of an adapter; `None` if it is no number.
    pub fn says_online(&self) -> Option<bool> {
        self.number(Attribute::Online).map(|online| online > 0)
    }

    /// Whether it is an adapter that a USB-C port may stand behind.
    pub fn may_have_port(&self) -> bool {
        self.kind == Type::Usb
    }

    /// Whether its USB-C port feeds what hangs on it: a phone, not a charger.
    pub fn port_is_source(&self) -> bool {
        self.may_have_port()
            && (self.ports == (true, false) || self.state == PowerState::Discharging)
    }

    /// What `status` says.
    pub(super) fn state(&self) -> PowerState {
        self.state
    }

    /// What an attribute says, if that is a whole number.
    pub(super) fn number(&self, attribute: Attribute) -> Option<i64> {
        self.numbers[attribute as usize]
    }

    fn lists(&self, attribute: Attribute) -> bool {
        self.listed & 1 << attribute as u8 != 0
    }
}

fn kind(text: &[u8]) -> Type {
    let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
    if text.is_empty() {
        Type::Unsaid
    } else if is("battery") {
        Type::Battery
    } else if is("ups") {
        Type::Ups
    } else if is("mains") || is("wireless") || is("brickid") {
        Type::Adapter
    } else if text
        .get(..3)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"usb"))
    {
        Type::Usb
    } else {
        Type::Other
    }
}

fn state(text: &[u8]) -> PowerState {
    let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
    if is("charging") {
        PowerState::Charging
    } else if is("discharging") {
        PowerState::Discharging
    } else if is("full") {
        PowerState::Full
    } else if is("not charging") {
        PowerState::NotCharging
    } else {
        PowerState::Unknown
    }
}
