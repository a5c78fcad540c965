//! The native core of deferpower: sensing, deciding and waiting at almost no cost.
//!
//! | module | what it holds |
//! |---|---|
//! | [`reading`] | what the sensors say: plain values, and what two moments tell together |
//! | [`parse`] | from the kernel's text to figures: pure functions of bytes |
//! | [`sys`] | reading a machine; the one place that asks which system it is |
//! | [`sampler`] | the sensors of one machine over time: rates, slow sensors, own work |
//! | [`idle`] | since when the machine has been quiet |
//! | [`facts`] | a sample as the rules see it |
//! | [`rules`] | which tasks may start, and what keeps the others waiting |
//! | [`cadence`] | when the machine is worth looking at again |
//! | [`watch`] | waiting, quietly, until there is something to do |
//! | [`classify`] | words of a text, and the class of a task by keywords among them |
//! | [`usage`] | what the device's past tells of its next hours |
//! | [`error`] | what can go wrong |
//! | `py` | the Python module; the only room that names pyo3 (feature `python`) |
//!
//! SEMANTICS.md holds the meaning of every figure, `python/deferpower/_contract.py` that of every
//! call from Python.

pub mod cadence;
pub mod classify;
pub mod error;
pub mod facts;
pub mod idle;
pub mod parse;
#[cfg(feature = "python")]
mod py;
pub mod reading;
pub mod rules;
pub mod sampler;
pub mod sys;
pub mod usage;
pub mod watch;
