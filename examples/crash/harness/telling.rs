//! One telling of a story: what its callers do, while its processes end or sleep where they were told to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use futures_util::future::try_join_all;

use super::backend::Storage;
use super::cases::Story;
use super::dice::Dice;
use super::fleet::{Ends, Fleet};
use super::harm::{self, Harm, Harms, Place};
use super::house::{House, Plan};
use super::judge::{Breach, judge};
use super::points::{Stage, Telling};
use super::process::{Gateway, Orders};
use super::report::Tally;
use super::round::Scene;
use super::stories::{TARGETS, perform, prepare};
use super::upkeep;

/// Faster than in rounds: nothing here is left to chance.
const SPEED: f64 = 3600.0;
/// The seed of every telling.
const SEED: u64 = 1;
/// How long after the end of its lease a process sleeps on.
const OVERSLEPT: Duration = Duration::from_millis(1500);

/// Tells it once. What was broken.
pub async fn tell(telling: Telling, stage: &Stage<'_>) -> anyhow::Result<(Tally, Vec<Breach>)> {
    let mut tally = Tally { rounds: 1, ..Tally::default() };
    let mut dice = Dice::of(SEED, &telling.name);
    let ends = match telling.story {
        Story::Cancel => Ends::Blocked,
        Story::Retry => Ends::Badly,
        Story::Upgrade
        | Story::Queue
        | Story::Hold
        | Story::LostAnswer
        | Story::SlowCheck
        | Story::Trouble
        | Story::Outage
        | Story::Move
        | Story::Sealed
        | Story::Forgotten
        | Story::Handover
        | Story::Opening
        | Story::Purging
        | Story::Moving => Ends::Well,
    };
    let harms = Harms::default();
    let fleet = Fleet::start(TARGETS, SPEED, ends, stage.replicas, &harms).await?;
    let sealing = telling.story == Story::Sealed;
    let storage = Storage::make(stage.backend, stage.replicas, SEED, None, stage.servers, &harms).await?;
    let plan = Plan { program: stage.program, replicas: stage.replicas, sealing, lease: stage.lease };
    let mut house = House::build(&plan, storage, fleet, harms.clone(), &mut dice)?;
    let before = upkeep::before(&telling, &mut house, stage, &mut dice).await?;
    // Watches are opened on processes that know nothing of their fate, unless they are to die before they can serve.
    house.up().await?;
    let mut scene = Scene::open(&house, SEED).await?;
    for gateway in &mut house.gateways {
        gateway.kill().await?;
    }
    prepare(telling.story, &house)?;
    if let Some((pass, cut)) = telling.cut {
        house.fleet.cut("zs", pass, cut)?;
    }
    let mut gateways = std::mem::take(&mut house.gateways);
    let orders = if telling.story.is_upkeep() { &[][..] } else { &telling.orders[..] };
    let first = orders.first().cloned().unwrap_or_default();
    try_join_all(gateways.iter_mut().map(|gateway| gateway.up(first.clone()))).await?;
    for n in 0..gateways.len() {
        if let (Some((pass, cut)), Some(wire)) = (telling.commit, house.storage.wire(n)) {
            harms.arm(Harm::Commit(cut));
            wire.cut_marked(pass, cut);
        }
    }
    let (deaths, live, mut slept) = (AtomicUsize::new(0), AtomicBool::new(false), 0_u64);
    let end = {
        let play = perform(telling.story, &house, &scene, &deaths, &live, &mut dice);
        let rise = async {
            let mut stopped = Vec::new();
            loop {
                for gateway in &mut gateways {
                    if gateway.note_stop(stage.lease + OVERSLEPT) {
                        slept += 1;
                        let (from, wakes) = (harm::now(), gateway.frozen_until().map(harm::at));
                        let until = wakes.unwrap_or(from);
                        harms.done(Harm::OversleepAtPoint, Place::Gateway, from, until);
                    }
                    gateway.thaw().await?;
                    let leaves = telling.story == Story::Handover && live.load(Ordering::SeqCst);
                    let new = gateway.id().is_some_and(|id| !stopped.contains(&id));
                    // A second signal would end it at once.
                    if leaves && new && gateway.has_orders() && gateway.drives() && gateway.serves().await {
                        gateway.signal("TERM").await?;
                        stopped.extend(gateway.id());
                    }
                    if !gateway.runs()? {
                        ensure!(gateway.has_orders(), "a gateway ended by itself:\n{}", gateway.last_words());
                        let died = deaths.fetch_add(1, Ordering::SeqCst) + 1;
                        gateway.up(orders.get(died).cloned().unwrap_or_default()).await?;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            played = play => played,
            risen = rise => risen,
        }
    };
    end?;
    let mut deaths = before + deaths.into_inner();
    if telling.story == Story::Handover {
        // Those that were stopped ended in order, too.
        deaths = gateways.iter().map(Gateway::crashes).sum();
    }
    tally.crashes += deaths as u64;
    ensure!(slept > 0 || !telling.sleeps(), "nobody fell asleep; the story does not come by this point");
    ensure!(
        deaths >= telling.deaths,
        "it crashed {deaths} times; the story does not come by this point:\n{}",
        gateways.first().map(Gateway::last_words).unwrap_or_default()
    );
    for gateway in &mut gateways {
        // One that was just being started again has no orders and does not serve yet.
        if gateway.has_orders() || !gateway.runs()? || !gateway.serves().await {
            gateway.kill().await?;
            gateway.up(Orders::new()).await?;
        }
    }
    house.gateways = gateways;
    house.fleet.heal();
    house.storage.heal();
    let evidence = scene.close(&mut house, &mut tally).await?;
    house.storage.close(stage.servers).await?;
    Ok((tally, judge(&evidence)))
}
