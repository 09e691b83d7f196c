//! The spread, from any state to an even one.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::store::lease::{Attendant, Fence, Lease};

fn replica(n: usize) -> ReplicaId {
    ReplicaId::new(Uuid::from_u128(n as u128 + 1))
}

fn provider(n: usize) -> ProviderId {
    ProviderId::parse(&format!("p{n}")).unwrap()
}

/// A world of leases: which replica is there and can drive what, and who holds what.
#[derive(Clone, Debug)]
struct World {
    able: BTreeMap<usize, BTreeSet<usize>>,
    holders: BTreeMap<usize, Option<usize>>,
    moves: usize,
}

impl World {
    fn new(able: Vec<Vec<usize>>, holders: Vec<Option<usize>>) -> Self {
        let able = able.into_iter().map(|all| all.into_iter().collect()).enumerate().collect();
        Self { able, holders: holders.into_iter().enumerate().collect(), moves: 0 }
    }

    fn attendance(&self) -> Attendance {
        Attendance {
            replicas: self
                .able
                .iter()
                .map(|(n, providers)| Attendant {
                    replica: replica(*n),
                    name: format!("r{n}"),
                    providers: providers.iter().map(|p| provider(*p)).collect(),
                    watched: Vec::new(),
                })
                .collect(),
            leases: self
                .holders
                .iter()
                .map(|(p, holder)| Lease {
                    provider: provider(*p),
                    fence: Fence(1),
                    holder: holder.map(replica),
                    report: None,
                    last_holder: holder.map(replica),
                })
                .collect(),
        }
    }

    /// One replica attends and does what it finds.
    fn act(&mut self, n: usize) {
        if !self.able.contains_key(&n) {
            return;
        }
        let moves = spread(replica(n), &self.attendance());
        let number = |id: &ProviderId| id.as_str().trim_start_matches('p').parse::<usize>().unwrap();
        for p in moves.give_up.iter().map(number) {
            assert_eq!(self.holders.insert(p, None), Some(Some(n)), "gave up what it did not hold");
            self.moves += 1;
        }
        for p in moves.take.iter().map(number) {
            assert!(self.able[&n].contains(&p), "took what it cannot drive");
            let before = self.holders.insert(p, Some(n));
            assert!(!matches!(before, Some(Some(_))), "took what another holds");
            self.moves += 1;
        }
    }

    fn load(&self, n: usize) -> usize {
        self.holders.values().filter(|holder| **holder == Some(n)).count()
    }

    /// Everybody acts until nobody moves; how many times round that took.
    fn settle(&mut self) -> usize {
        for rounds in 0..100 {
            let before = self.moves;
            for n in self.able.keys().copied().collect::<Vec<_>>() {
                self.act(n);
            }
            if self.moves == before {
                return rounds;
            }
        }
        panic!("never settles: {self:?}");
    }

    /// No chain of able replicas leads from one that drives more to one that drives at least two less.
    fn is_even(&self) -> bool {
        self.able.keys().all(|from| {
            let mut reached = BTreeSet::from([*from]);
            let mut queue = vec![*from];
            while let Some(at) = queue.pop() {
                for (p, holder) in &self.holders {
                    for (next, able) in &self.able {
                        if *holder == Some(at) && able.contains(p) && reached.insert(*next) {
                            queue.push(*next);
                        }
                    }
                }
            }
            reached.into_iter().all(|to| self.load(to) + 1 >= self.load(*from))
        })
    }
}

fn world() -> impl Strategy<Value = World> {
    (1..5_usize, 0..9_usize).prop_flat_map(|(replicas, providers)| {
        let able = proptest::collection::vec(
            proptest::sample::subsequence((0..providers).collect::<Vec<_>>(), 0..=providers),
            replicas,
        );
        // Holders may be gone, or able no more.
        let holders = proptest::collection::vec(proptest::option::of(0..replicas + 1), providers);
        (able, holders).prop_map(|(able, mut holders)| {
            let replicas = able.len();
            for holder in &mut holders {
                // The store shows no holder that is not there.
                *holder = holder.filter(|n| *n < replicas);
            }
            World::new(able, holders)
        })
    })
}

proptest! {
    #[test]
    fn any_state_settles_into_an_even_spread_of_all_that_can_be_driven(mut world in world()) {
        world.settle();
        for p in world.holders.keys() {
            let able = world.able.iter().any(|(_, able)| able.contains(p));
            prop_assert_eq!(world.holders[p].is_some(), able, "p{} in {:?}", p, world);
        }
        prop_assert!(world.is_even(), "{:?}", world);
    }

    #[test]
    fn replicas_that_come_and_go_at_any_moment_leave_no_trace(
        mut world in world(),
        steps in proptest::collection::vec((0..6_usize, 0..5_usize), 0..30),
    ) {
        for (what, n) in steps {
            match what {
                0 => {
                    world.able.remove(&n);
                    for holder in world.holders.values_mut() {
                        *holder = holder.filter(|h| *h != n);
                    }
                }
                1 => {
                    let all = world.holders.keys().copied().collect();
                    world.able.entry(n).or_insert(all);
                }
                _ => world.act(n),
            }
        }
        world.settle();
        prop_assert!(world.is_even(), "{:?}", world);
        let settled = world.moves;
        world.settle();
        prop_assert_eq!(world.moves, settled, "moves once it is even");
    }

    #[test]
    fn a_newcomer_moves_no_more_than_its_share(providers in 0..20_usize, replicas in 1..5_usize) {
        let all: Vec<_> = (0..providers).collect();
        let mut world = World::new(vec![all.clone(); replicas], vec![None; providers]);
        world.settle();
        world.able.insert(replicas, all.into_iter().collect());
        world.moves = 0;
        world.settle();
        let share = providers / (replicas + 1);
        prop_assert!(world.load(replicas) >= share);
        // Each move is one that gives up and one that takes.
        prop_assert_eq!(world.moves, 2 * world.load(replicas));
    }
}

#[test]
fn each_takes_its_half_of_what_is_free() {
    let world = World::new(vec![vec![0, 1, 2], vec![0, 1, 2]], vec![None, None, None]);
    assert_eq!(spread(replica(0), &world.attendance()).take, [provider(0), provider(2)]);
    assert_eq!(spread(replica(1), &world.attendance()).take, [provider(1)]);
}

#[test]
fn one_that_leaves_drives_nothing_and_blocks_nobody() {
    // A replica that is about to go is configured for nothing any more.
    let world = World::new(vec![vec![], vec![0, 1]], vec![Some(0), None]);
    assert_eq!(spread(replica(0), &world.attendance()), Moves { take: vec![], give_up: vec![provider(0)] });
    assert_eq!(spread(replica(1), &world.attendance()).take, [provider(1)]);
}
