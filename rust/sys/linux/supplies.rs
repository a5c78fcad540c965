//! The power supplies of `/sys/class/power_supply`, and the USB-C ports that feed them.
//!
//! Supplies come and go, so their directory is listed at every read. Which attributes a supply has
//! the kernel settles when it registers the device, but it lists the device a little before: an
//! absent one is looked for again until a read after the one that first found the type. Below a
//! root that is a copy, absent attributes are looked for at every read.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use rustix::fs::CWD;

use super::held::{Fault, Ground, HeldDir, HeldFile, Shape};
use crate::parse::aggregate_power;
use crate::parse::number::is_digits;
use crate::parse::power::{Attribute, Role, Supply};
use crate::reading::Power;

/// All supplies of a machine.
#[derive(Debug)]
pub(super) struct Supplies {
    class: HeldDir,
    class_ports: Ports,
    ground: Ground,
    supplies: Vec<Entry<HeldSupply>>,
    fault: Option<Fault>,
}

impl Supplies {
    /// Supplies that will be found at the first read.
    pub(super) fn new(class: CString, typec: CString, ground: Ground) -> Self {
        let class_ports = Ports {
            dir: HeldDir::new(typec),
            ports: Vec::new(),
        };
        Self {
            class: HeldDir::new(class),
            class_ports,
            ground,
            supplies: Vec::new(),
            fault: None,
        }
    }

    /// All supplies as they are now, taken together.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> Power {
        self.fault = self.read_each(buffer).err();
        aggregate_power(self.supplies.iter().map(|entry| &entry.item.supply))
    }

    /// Why the supplies could not be listed.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Name of each supply, and what it is, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&CStr, &HeldSupply)> + Clone {
        let is_supply = |entry: &&Entry<HeldSupply>| entry.item.fault != Some(Fault::Absent);
        self.supplies
            .iter()
            .filter(is_supply)
            .map(|entry| (entry.name.as_c_str(), &entry.item))
    }

    fn read_each(&mut self, buffer: &mut Vec<u8>) -> Result<(), Fault> {
        let ground = self.ground;
        update(
            &mut self.supplies,
            &mut self.class,
            CWD,
            ground,
            buffer,
            |name| Some(HeldSupply::new(name)),
        )?;
        let class = self.class.open(CWD, ground)?;
        for Entry { item: supply, .. } in &mut self.supplies {
            supply.fault = supply
                .read(class, ground, &mut self.class_ports, buffer)
                .err();
        }
        Ok(())
    }
}

/// One supply, its attributes held open.
#[derive(Debug)]
pub(super) struct HeldSupply {
    dir: HeldDir,
    attributes: [HeldFile; Attribute::ALL.len()],
    ports: Ports,
    /// Which port is its own, where its name tells.
    port_number: Option<u8>,
    supply: Supply,
    /// How many reads that find its type still look for what was absent.
    looks: u8,
    /// A bit for every attribute that failed at the last read.
    unread: u16,
    /// Why its directory cannot be opened; `Absent` if it is none.
    fault: Option<Fault>,
}

impl HeldSupply {
    fn new(name: &CStr) -> Self {
        let port_number = match name.to_bytes().strip_prefix(b"ucsi-source-psy-") {
            Some([.., last @ b'1'..=b'9']) => Some(last - b'1'),
            _ => None,
        };
        Self {
            dir: HeldDir::new(name.to_owned()),
            attributes: Attribute::ALL
                .map(|attribute| HeldFile::new(attribute.name(), Shape::Whole)),
            ports: Ports {
                dir: HeldDir::new(c"device/typec"),
                ports: Vec::new(),
            },
            port_number,
            supply: Supply::default(),
            looks: 2,
            unread: 0,
            fault: None,
        }
    }

    /// What its attributes said at the last read, or why it could not be opened.
    pub(super) fn state(&self) -> Result<&Supply, Fault> {
        self.fault.map_or(Ok(&self.supply), Err)
    }

    /// The attributes that the last read asked for, and that are there but could not be read.
    pub(super) fn unread(&self) -> impl Iterator<Item = Attribute> {
        let is_unread = |attribute: &Attribute| self.unread & 1 << *attribute as u8 != 0;
        Attribute::ALL.into_iter().filter(is_unread)
    }

    fn read(
        &mut self,
        class: BorrowedFd<'_>,
        ground: Ground,
        class_ports: &mut Ports,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.supply = Supply::default();
        self.unread = 0;
        let dir = self.dir.open(class, ground)?;
        let looks_again = ground == Ground::Ordinary || self.looks > 0;
        let supply = &mut self.supply;
        let mut take = |supply: &mut Supply, attribute: Attribute| {
            let file = &mut self.attributes[attribute as usize];
            if looks_again {
                file.look_again();
            }
            match file.read(dir, ground, buffer) {
                Ok(text) => supply.set(attribute, text),
                Err(Fault::Failing(_)) => self.unread |= 1 << attribute as u8,
                Err(Fault::Absent) => {}
            }
        };
        take(supply, Attribute::Type);
        take(supply, Attribute::Scope);
        for &attribute in supply.attributes_beside() {
            take(supply, attribute);
            if supply.role() == Role::EmptyBay {
                break;
            }
        }
        if self.attributes[Attribute::Type as usize].fault().is_none() {
            self.looks = self.looks.saturating_sub(1);
        }
        if supply.may_have_port()
            && supply.role() == Role::Adapter
            && supply.says_online() == Some(true)
        {
            let mut judge = |role: &[u8]| supply.set(Attribute::PowerRole, role);
            if self
                .ports
                .roles(dir, ground, buffer, self.port_number, &mut judge)
                == Err(Fault::Absent)
            {
                // A fault here leaves the port unknown, as where there is no USB-C at all.
                let _ = class_ports.roles(CWD, ground, buffer, self.port_number, &mut judge);
            }
        }
        Ok(())
    }
}

/// The USB-C ports of one directory.
#[derive(Debug)]
struct Ports {
    dir: HeldDir,
    ports: Vec<Entry<HeldFile>>,
}

impl Ports {
    /// Calls `each` with the `power_role` of the port of this number, or of all if it is not there.
    fn roles(
        &mut self,
        parent: BorrowedFd<'_>,
        ground: Ground,
        buffer: &mut Vec<u8>,
        number: Option<u8>,
        each: &mut impl FnMut(&[u8]),
    ) -> Result<(), Fault> {
        update(
            &mut self.ports,
            &mut self.dir,
            parent,
            ground,
            buffer,
            power_role_of,
        )?;
        let dir = self.dir.open(parent, ground)?;
        let is_wanted = |port: &CStr| match port.to_bytes().strip_prefix(b"port") {
            Some([digit]) => Some(digit.wrapping_sub(b'0')) == number,
            _ => false,
        };
        let only_wanted = self.ports.iter().any(|port| is_wanted(&port.name));
        for port in &mut self.ports {
            if !only_wanted || is_wanted(&port.name) {
                port.item.look_again();
                port.item
                    .read(dir, ground, buffer)
                    .into_iter()
                    .for_each(&mut *each);
            }
        }
        Ok(())
    }
}

fn power_role_of(port: &CStr) -> Option<HeldFile> {
    let name = port.to_bytes();
    let path = CString::new([name, b"/power_role"].concat()).ok()?;
    name.strip_prefix(b"port")
        .is_some_and(is_digits)
        .then(|| HeldFile::new(path, Shape::Whole))
}

/// Something that stands in a directory.
#[derive(Debug)]
struct Entry<T> {
    name: CString,
    inode: u64,
    is_listed: bool,
    item: T,
}

/// Brings `entries`, in the order of their names, up to what the directory lists now. What keeps
/// its name and inode is kept; `new` makes what is new, unless its name is of no interest.
fn update<T>(
    entries: &mut Vec<Entry<T>>,
    dir: &mut HeldDir,
    parent: BorrowedFd<'_>,
    ground: Ground,
    buffer: &mut Vec<u8>,
    new: impl Fn(&CStr) -> Option<T>,
) -> Result<(), Fault> {
    entries.iter_mut().for_each(|entry| entry.is_listed = false);
    let listed = dir.list(parent, ground, buffer, |name, inode| {
        let place = entries.binary_search_by(|entry| entry.name.as_c_str().cmp(name));
        match place {
            Ok(place) if entries[place].inode == inode => entries[place].is_listed = true,
            _ => {
                let entry = new(name).map(|item| Entry {
                    name: name.to_owned(),
                    inode,
                    is_listed: true,
                    item,
                });
                match (place, entry) {
                    (Ok(place), Some(entry)) => entries[place] = entry,
                    (Err(place), Some(entry)) => entries.insert(place, entry),
                    (_, None) => {}
                }
            }
        }
    });
    // After a fault nothing is known to be there.
    entries.retain(|entry| entry.is_listed && listed.is_ok());
    listed
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::*;

    fn named(path: &Path) -> CString {
        CString::new(path.as_os_str().as_bytes()).unwrap()
    }

    fn pack(class: &Path, name: &str, capacity: &str) {
        fs::create_dir_all(class.join(name)).unwrap();
        fs::write(class.join(name).join("type"), "Battery\n").unwrap();
        fs::write(class.join(name).join("capacity"), capacity).unwrap();
    }

    /// The kernel links a device into its class before it adds the attributes, one by one.
    #[test]
    fn a_supply_that_is_being_registered_is_looked_into_again() {
        let root = tempfile::tempdir().unwrap();
        let class = root.path().join("power_supply");
        let typec = named(&root.path().join("typec"));
        let mut supplies = Supplies::new(named(&class), typec, Ground::Kernel);
        let mut buffer = Vec::new();
        let mut power = || supplies.read(&mut buffer);
        fs::create_dir_all(class.join("BAT0")).unwrap();
        assert!(!power().present);
        assert!(!power().present);
        pack(&class, "BAT0", "50");
        assert_eq!(power().percent, Some(50.0));
        fs::write(class.join("BAT0/scope"), "Device\n").unwrap();
        assert!(!power().present, "it turns out to be a mouse's");
    }

    /// In sysfs nothing but the listing is asked whether a supply is still the same.
    #[test]
    fn a_supply_of_the_kernel_is_known_by_its_inode() {
        let root = tempfile::tempdir().unwrap();
        let class = root.path().join("power_supply");
        let typec = named(&root.path().join("typec"));
        let mut supplies = Supplies::new(named(&class), typec, Ground::Kernel);
        let mut buffer = Vec::new();
        let mut percent = || supplies.read(&mut buffer).percent;
        assert_eq!(percent(), None);
        pack(&class, "BAT0", "50");
        assert_eq!(percent(), Some(50.0));
        assert_eq!(percent(), Some(50.0));
        fs::write(class.join("BAT0/energy_now"), "9").unwrap();
        fs::write(class.join("BAT0/energy_full"), "10").unwrap();
        assert_eq!(
            percent(),
            Some(50.0),
            "what was absent is not looked for again"
        );
        // The old directory is kept, so that the new one cannot get its inode.
        fs::rename(class.join("BAT0"), root.path().join("pulled out")).unwrap();
        assert_eq!(percent(), None);
        pack(&class, "BAT0", "70");
        assert_eq!(percent(), Some(70.0));
        fs::rename(class.join("BAT0"), root.path().join("pulled out as well")).unwrap();
        pack(&class, "BAT0", "30");
        assert_eq!(percent(), Some(30.0), "exchanged between two reads");
    }
}
