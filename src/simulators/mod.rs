//! Stand-in vendor servers: real HTTP on a real port, with the vendors' own traps, for `drydock demo`,
//! `drydock simulate` and the tests.
//!
//! They share nothing with the adapters but HTTP: their wire shapes are written from the vendors' documents a
//! second time, so that a mistake in an adapter does not hide in its simulator. Each simulator keeps a record of
//! what really took effect ([`effects::Effects`]), against which tests compare what a job says.

pub mod avisi;
pub mod control;
pub mod effects;
pub mod faults;
pub mod huawei;
pub mod pace;
pub mod server;
pub mod vsphere;
pub mod zstack;

pub use effects::{Effect, EffectKind, Effects};
pub use faults::{Fault, Faults, Route};
pub use pace::Pace;
pub use server::{Running, serve};
