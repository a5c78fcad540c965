//! Processor time of whole process trees.

use std::ffi::CString;

use rustix::fs::CWD;

use super::held::{Ground, HeldDir, HeldFile, Shape};
use crate::parse::parse_process_stat;
use crate::reading::ProcessTicks;

/// All processes of a machine; read only while trees are asked for.
#[derive(Debug)]
pub(super) struct Processes {
    dir: HeldDir,
    pids: Vec<u32>,
    /// In the order of their pids.
    processes: Vec<ProcessTicks>,
    is_member: Vec<bool>,
}

impl Processes {
    /// The processes that the directory lists.
    pub(super) fn new(dir: CString) -> Self {
        Self {
            dir: HeldDir::new(dir),
            pids: Vec::new(),
            processes: Vec::new(),
            is_member: Vec::new(),
        }
    }

    /// Ticks of all processes in the trees under `roots`, each once, `own_pid` itself left out.
    pub(super) fn ticks_of_trees(
        &mut self,
        roots: &[u32],
        own_pid: u64,
        ground: Ground,
        buffer: &mut Vec<u8>,
    ) -> u128 {
        if roots.is_empty() {
            return 0;
        }
        self.list(ground, buffer);
        self.is_member.clear();
        self.is_member.resize(self.processes.len(), false);
        while self.adopt(roots) {}
        let members = self.processes.iter().zip(&self.is_member);
        let counted = members.filter(|&(process, &is_member)| is_member && process.pid != own_pid);
        counted.map(|(process, _)| u128::from(process.ticks)).sum()
    }

    /// Makes roots, and children of roots and members, members; tells whether there were new ones.
    fn adopt(&mut self, roots: &[u32]) -> bool {
        let is_root = |pid: u64| roots.iter().any(|&root| u64::from(root) == pid);
        let mut any = false;
        for child in 0..self.processes.len() {
            let ProcessTicks { pid, parent, .. } = self.processes[child];
            let place = self
                .processes
                .binary_search_by_key(&parent, |process| process.pid);
            let is_member =
                is_root(pid) || is_root(parent) || place.is_ok_and(|place| self.is_member[place]);
            any |= is_member && !self.is_member[child];
            self.is_member[child] |= is_member;
        }
        any
    }

    fn list(&mut self, ground: Ground, buffer: &mut Vec<u8>) {
        self.pids.clear();
        self.processes.clear();
        let pids = &mut self.pids;
        let listed = self.dir.list(CWD, ground, buffer, |name, _| {
            pids.extend(
                name.to_str()
                    .ok()
                    .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
                    .and_then(|name| name.parse::<u32>().ok()),
            );
        });
        let (Ok(()), Ok(dir)) = (listed, self.dir.open(CWD, ground)) else {
            return;
        };
        for pid in &self.pids {
            let Ok(name) = CString::new(format!("{pid}/stat")) else {
                continue;
            };
            // Gone meanwhile, or another's that may not be looked into: no part of any tree here.
            if let Ok(text) = HeldFile::new(name, Shape::Whole).read(dir, ground, buffer) {
                self.processes.extend(parse_process_stat(text));
            }
        }
        self.processes.sort_unstable_by_key(|process| process.pid);
        self.processes.dedup_by_key(|process| process.pid);
    }
}
