//! Chance that can be replayed: every actor of a round has dice of its own, so that one actor's throws do not
//! change another's.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Dice.
pub struct Dice(StdRng);

impl Dice {
    /// The dice of one actor in the round with this seed.
    pub fn of(seed: u64, actor: &str) -> Self {
        // FNV-1a: the same for ever, unlike the standard library's hashers.
        let mut mixed = 0xcbf2_9ce4_8422_2325_u64;
        for byte in actor.bytes().chain(seed.to_le_bytes()) {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(StdRng::seed_from_u64(mixed))
    }

    /// A number from `least` to `most`, both included.
    pub fn within(&mut self, least: u64, most: u64) -> u64 {
        self.0.random_range(least..=most)
    }

    /// An index below `len`; 0 when there is none.
    pub fn below(&mut self, len: usize) -> usize {
        if len == 0 { 0 } else { self.0.random_range(0..len) }
    }

    /// True in `percent` of a hundred throws.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len())).copied()
    }

    /// A UUID, for a request's id.
    pub fn uuid(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.0.random()).into_uuid().to_string()
    }
}
