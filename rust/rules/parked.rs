//! Tasks that wait. Finds those that may start without looking at each of them.
//!
//! Tasks that require the same and have been relaxed as far share one outcome, so they lie in one
//! bucket, the next to start on top. A tick costs one outcome for each bucket, and one move for
//! each task whose preferences time has just relaxed, however many wait.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::marker::PhantomData;

use super::relaxation::DEADLINE;
use super::{Class, Life, Rules, Verdict};
use crate::error::Error;

/// Steps of relaxation, and so buckets for each requirement.
const STEPS: usize = DEADLINE as usize + 1;
/// The place of a task that time changes nothing about.
const NOWHERE: u32 = u32::MAX;

/// A task to be parked.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// The caller's name for it.
    pub id: i64,
    /// What it requires, from [`Rules::compile`].
    pub set_id: u32,
    /// Higher starts first.
    pub priority: i32,
    /// Its age; among equals the older starts first.
    pub life: Life,
}

/// Tasks that [`Rules::take`] took out of the parking lot.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Those that may start, the most urgent first.
    pub start: Vec<i64>,
    /// Those whose deadline has passed and that give up then.
    pub expired: Vec<i64>,
}

#[derive(Debug)]
struct Slot {
    id: i64,
    created_s: f64,
    /// NaN without a deadline: an `Option` would take twice the room.
    life_s: f64,
    /// When its bucket changes.
    next_s: f64,
    bucket: u32,
    priority: i32,
    place_in_bucket: u32,
    place_on_clock: u32,
}

impl Slot {
    fn life(&self) -> Life {
        Life {
            created_s: self.created_s,
            life_s: (!self.life_s.is_nan()).then_some(self.life_s),
        }
    }

    fn set(&self) -> usize {
        self.bucket as usize / STEPS
    }

    /// What it starts by: the smallest first.
    fn rank(&self) -> Rank {
        (Reverse(self.priority), ordered(self.created_s), self.id)
    }
}

type Rank = (Reverse<i32>, i64, i64);

/// A whole number that is ordered as the float is.
fn ordered(float: f64) -> i64 {
    let bits = float.to_bits().cast_signed();
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// The parking lot.
#[derive(Debug)]
pub(super) struct Parked {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_id: HashMap<i64, u32>,
    /// By requirement and step of relaxation.
    buckets: Vec<Heap<ByRank>>,
    clock: Heap<ByMoment>,
    /// The moment for which all buckets are right.
    as_of_s: f64,
}

impl Parked {
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            buckets: Vec::new(),
            clock: Heap::new(),
            as_of_s: f64::NEG_INFINITY,
        }
    }

    fn insert(&mut self, slot: Slot) {
        let id = slot.id;
        let place = if let Some(place) = self.free.pop() {
            self.slots[place as usize] = slot;
            place
        } else {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        };
        self.by_id.insert(id, place);
        self.link(place);
    }

    fn remove(&mut self, place: u32) -> i64 {
        self.unlink(place);
        self.free.push(place);
        let id = self.slots[place as usize].id;
        self.by_id.remove(&id);
        id
    }

    fn link(&mut self, place: u32) {
        let Slot { bucket, next_s, .. } = self.slots[place as usize];
        self.buckets[bucket as usize].push(place, &mut self.slots);
        if next_s.is_finite() {
            self.clock.push(place, &mut self.slots);
        }
    }

    fn unlink(&mut self, place: u32) {
        let Slot {
            bucket,
            place_in_bucket,
            place_on_clock,
            ..
        } = self.slots[place as usize];
        self.buckets[bucket as usize].remove(place_in_bucket as usize, &mut self.slots);
        if place_on_clock != NOWHERE {
            self.clock.remove(place_on_clock as usize, &mut self.slots);
            self.slots[place as usize].place_on_clock = NOWHERE;
        }
    }
}

impl Rules {
    /// Parks tasks; one whose id is parked already takes its place.
    ///
    /// # Errors
    /// A requirement that was not compiled, an age that cannot be; then none has been parked.
    pub fn park(&mut self, tasks: &[Waiting]) -> Result<(), Error> {
        for task in tasks {
            self.checked(task.set_id, task.life)?;
        }
        self.parked
            .buckets
            .resize_with(self.compiled.len() * STEPS, Heap::new);
        for task in tasks {
            self.unpark(task.id);
            let Life { created_s, life_s } = task.life;
            let set = task.set_id as usize;
            let (bucket, next_s) = self.bucket(set, task.life, self.parked.as_of_s);
            self.parked.insert(Slot {
                id: task.id,
                created_s: created_s + 0.0, // -0 is as old as 0
                life_s: life_s.unwrap_or(f64::NAN),
                next_s,
                bucket,
                priority: task.priority,
                place_in_bucket: NOWHERE,
                place_on_clock: NOWHERE,
            });
        }
        Ok(())
    }

    /// Takes a task out of the parking lot; whether it was there.
    pub fn unpark(&mut self, id: i64) -> bool {
        let place = self.parked.by_id.get(&id).copied();
        place.is_some_and(|place| self.parked.remove(place) == id)
    }

    /// Takes out of the parking lot what may start, and what has expired.
    ///
    /// At most `limit` are started; of those that are charging-only, and not past their deadline,
    /// at most `charging_only`.
    ///
    /// # Errors
    /// Nothing observed yet.
    pub fn take(&mut self, limit: usize, charging_only: usize) -> Result<Taken, Error> {
        self.check_observed()?;
        self.advance();
        let (open, expiring) = self.open_buckets();
        let parked = &mut self.parked;
        let mut expired: Vec<u32> = Vec::new();
        for bucket in expiring {
            expired.extend(&parked.buckets[bucket].places);
        }
        expired.sort_by_key(|&place| parked.slots[place as usize].rank());
        let mut taken = Taken::default();
        taken
            .expired
            .extend(expired.into_iter().map(|place| parked.remove(place)));
        let first = |parked: &Parked, bucket: usize, counts: bool| {
            let place = *parked.buckets[bucket].places.first()?;
            Some(Reverse((
                parked.slots[place as usize].rank(),
                place,
                bucket,
                counts,
            )))
        };
        let mut firsts: BinaryHeap<_> = open
            .into_iter()
            .filter_map(|(bucket, counts)| first(parked, bucket, counts))
            .collect();
        let mut left = charging_only;
        while taken.start.len() < limit
            && let Some(Reverse((_, place, bucket, counts))) = firsts.pop()
        {
            if counts && left == 0 {
                continue;
            }
            left -= usize::from(counts);
            taken.start.push(parked.remove(place));
            firsts.extend(first(parked, bucket, counts));
        }
        Ok(taken)
    }

    /// Buckets whose tasks may start, each with whether the limit on charging-only work is for it,
    /// and buckets whose tasks have expired.
    fn open_buckets(&self) -> (Vec<(usize, bool)>, Vec<usize>) {
        let (mut open, mut expiring) = (Vec::new(), Vec::new());
        for (bucket, heap) in self.parked.buckets.iter().enumerate() {
            if heap.places.is_empty() {
                continue;
            }
            let compiled = &self.compiled[bucket / STEPS];
            let outcome = self.outcome(compiled, (bucket % STEPS) as u8, false);
            match outcome.verdict {
                Verdict::ExecuteNow => {
                    let charging_only = compiled.requirement.class == Class::ChargingOnly;
                    open.push((bucket, charging_only && outcome.row > 2));
                }
                Verdict::Expire => expiring.push(bucket),
                Verdict::DeferToBackground | Verdict::DeferToCharging => {}
            }
        }
        (open, expiring)
    }

    /// Brings every task into the bucket that is right at the time of the last reading.
    fn advance(&mut self) {
        let now_s = self.machine.wall_s;
        if now_s < self.parked.as_of_s {
            // The clock was set back: what it had relaxed counts again.
            for place in 0..self.parked.slots.len() as u32 {
                if self.parked.by_id.get(&self.parked.slots[place as usize].id) == Some(&place) {
                    self.place_anew(place, now_s);
                }
            }
        }
        while let Some(&place) = self.parked.clock.places.first()
            && self.parked.slots[place as usize].next_s <= now_s
        {
            self.place_anew(place, now_s);
        }
        self.parked.as_of_s = now_s;
    }

    fn place_anew(&mut self, place: u32, now_s: f64) {
        let slot = &self.parked.slots[place as usize];
        let (bucket, next_s) = self.bucket(slot.set(), slot.life(), now_s);
        self.parked.unlink(place);
        let slot = &mut self.parked.slots[place as usize];
        (slot.bucket, slot.next_s) = (bucket, next_s);
        self.parked.link(place);
    }

    /// The bucket of a task at a moment, and when it changes.
    fn bucket(&self, set: usize, life: Life, now_s: f64) -> (u32, f64) {
        let step = self.relaxation.step(life, now_s) as usize;
        let next_s = self
            .relaxation
            .next_s(self.compiled[set].preferred, life, now_s);
        ((set * STEPS + step) as u32, next_s)
    }
}

/// What a heap is ordered by, and where a slot notes its place in it.
trait Order {
    fn is_before(a: &Slot, b: &Slot) -> bool;
    fn place(slot: &mut Slot) -> &mut u32;
}

#[derive(Debug)]
struct ByRank;

impl Order for ByRank {
    fn is_before(a: &Slot, b: &Slot) -> bool {
        a.rank() < b.rank()
    }

    fn place(slot: &mut Slot) -> &mut u32 {
        &mut slot.place_in_bucket
    }
}

#[derive(Debug)]
struct ByMoment;

impl Order for ByMoment {
    fn is_before(a: &Slot, b: &Slot) -> bool {
        a.next_s < b.next_s
    }

    fn place(slot: &mut Slot) -> &mut u32 {
        &mut slot.place_on_clock
    }
}

/// A binary heap of slots that know their places in it, so that any of them can be taken out.
#[derive(Debug)]
struct Heap<O> {
    places: Vec<u32>,
    order: PhantomData<O>,
}

impl<O: Order> Heap<O> {
    fn new() -> Self {
        Self {
            places: Vec::new(),
            order: PhantomData,
        }
    }

    fn push(&mut self, place: u32, slots: &mut [Slot]) {
        self.places.push(place);
        self.rise(self.places.len() - 1, slots);
    }

    fn remove(&mut self, at: usize, slots: &mut [Slot]) {
        self.places.swap_remove(at);
        if at < self.places.len() {
            let at = self.rise(at, slots);
            self.sink(at, slots);
        }
    }

    fn rise(&mut self, mut at: usize, slots: &mut [Slot]) -> usize {
        while at > 0 && self.is_before(at, (at - 1) / 2, slots) {
            self.swap(at, (at - 1) / 2, slots);
            at = (at - 1) / 2;
        }
        self.note(at, slots);
        at
    }

    fn sink(&mut self, mut at: usize, slots: &mut [Slot]) {
        loop {
            let mut child = 2 * at + 1;
            if child + 1 < self.places.len() && self.is_before(child + 1, child, slots) {
                child += 1;
            }
            if child >= self.places.len() || !self.is_before(child, at, slots) {
                break;
            }
            self.swap(at, child, slots);
            at = child;
        }
        self.note(at, slots);
    }

    fn is_before(&self, a: usize, b: usize, slots: &[Slot]) -> bool {
        O::is_before(
            &slots[self.places[a] as usize],
            &slots[self.places[b] as usize],
        )
    }

    fn swap(&mut self, a: usize, b: usize, slots: &mut [Slot]) {
        self.places.swap(a, b);
        self.note(a, slots);
        self.note(b, slots);
    }

    fn note(&self, at: usize, slots: &mut [Slot]) {
        *O::place(&mut slots[self.places[at] as usize]) = at as u32;
    }
}
