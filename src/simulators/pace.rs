//! Time in a simulator: an upgrade that takes an hour at the vendor takes seconds here.

use std::time::Duration;

/// How much faster than life a simulator runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// 1.0 is life; 600.0 makes an hour six seconds.
    pub speed: f64,
}

impl Pace {
    /// A pace `speed` times as fast as life.
    pub const fn new(speed: f64) -> Self {
        Self { speed }
    }

    /// How long something takes here that takes `real` at the vendor.
    pub fn scaled(self, real: Duration) -> Duration {
        real.div_f64(self.speed.max(0.001))
    }

    /// How far, from 0.0 to 1.0, something is after `passed` here when it takes `real` at the vendor.
    pub fn fraction(self, passed: Duration, real: Duration) -> f64 {
        let whole = self.scaled(real).as_secs_f64();
        if whole <= 0.0 { 1.0 } else { (passed.as_secs_f64() / whole).clamp(0.0, 1.0) }
    }
}
