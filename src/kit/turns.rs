//! Whose turn it is, where only some of many can be served at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Turns of one group. Forgetting them harms nobody: somebody then waits a little longer.
#[derive(Debug, Default)]
pub struct Turns(AtomicUsize);

impl Turns {
    /// At most `most` of `all`. It begins where the last call ended, so that everybody comes once before anybody comes
    /// again, also when calls take now more and now fewer.
    pub fn take<T: Copy>(&self, all: &[T], most: usize) -> Vec<T> {
        let most = most.min(all.len());
        let first = self.0.fetch_add(most, Ordering::Relaxed).checked_rem(all.len()).unwrap_or_default();
        all.iter().cycle().skip(first).take(most).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_comes_once_before_anybody_comes_again() {
        for (len, most) in [(24, 2), (24, 8), (7, 3), (5, 5), (3, 8), (1, 1)] {
            let (turns, all) = (Turns::default(), (0..len).collect::<Vec<usize>>());
            let most = most.min(len);
            // As many as make whole rounds of everybody.
            let mut taken: Vec<_> = (0..len).flat_map(|_| turns.take(&all, most)).collect();
            assert_eq!(taken.len(), len * most);
            taken.sort_unstable();
            let even = all.iter().flat_map(|n| vec![*n; most]).collect::<Vec<_>>();
            assert_eq!(taken, even, "{len} {most}");
        }
        assert_eq!(Turns::default().take(&[0; 0], 4), [0; 0]);
    }

    #[test]
    fn a_call_that_takes_nothing_moves_nothing() {
        let turns = Turns::default();
        assert_eq!(turns.take(&[1, 2, 3], 1), [1]);
        assert_eq!(turns.take(&[0; 0], 8), [0; 0]);
        assert_eq!(turns.take(&[1, 2, 3], 0), [0; 0]);
        assert_eq!(turns.take(&[1, 2, 3], 2), [2, 3]);
    }
}
