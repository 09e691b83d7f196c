//! Crashes that come before anybody calls: while a database is made, while what is old is removed from it, or while a file
//! moves into it. What they leave behind is looked at here; then the story goes on upon it, with callers, watches and
//! the judge.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use drydock::domain::event::Event;
use drydock::domain::job::Job;
use drydock::domain::page::PageRequest;
use drydock::kit::crash_point::CrashPoint;
use drydock::store::contract::JobFilter;
use drydock::store::settings::StoreSettings;
use drydock::store::{self, Store, StoreError};
use futures_util::future::try_join_all;
use tokio::process::Command;
use tokio::time::Instant;

use super::cases::Story;
use super::clients::Clients;
use super::dice::Dice;
use super::fleet::Kind;
use super::house::House;
use super::past::{LATELY, LONG_AGO, Past};
use super::points::{Stage, Telling};
use super::process::{Gateway, Orders, PATIENCE};
use super::proxy::Cut;

/// A move comes by these once its commit has failed.
const FAILING: [CrashPoint; 2] = [CrashPoint::FileStillMarked, CrashPoint::FileFreed];
/// What a move says of a file that another process has; see [`open`].
const IN_USE: &str = "in use by another process";
/// In the last words of a move that was made before.
const MOVED_BEFORE: &str = "this file's jobs already";

/// Plays what comes before the callers, if the story has that. How many processes died as they were told.
pub async fn before(
    telling: &Telling,
    house: &mut House,
    stage: &Stage<'_>,
    dice: &mut Dice,
) -> anyhow::Result<usize> {
    match telling.story {
        Story::Opening => opening(telling, house).await,
        Story::Purging => purging(telling, house, dice).await,
        Story::Moving => moving(telling, house, stage.program).await,
        Story::Upgrade
        | Story::Queue
        | Story::Hold
        | Story::LostAnswer
        | Story::SlowCheck
        | Story::Trouble
        | Story::Outage
        | Story::Cancel
        | Story::Move
        | Story::Retry
        | Story::Sealed
        | Story::Forgotten
        | Story::Handover => Ok(0),
    }
}

/// The database is made by processes that die of it. The ones that follow make the rest.
async fn opening(telling: &Telling, house: &mut House) -> anyhow::Result<usize> {
    for orders in &telling.orders {
        start(house, orders).await?;
        kill(house).await?;
    }
    // Twice the same, however often it was begun.
    let store = open(&settings(house)).await?;
    let id = store.id();
    store.close().await;
    let store = open(&settings(house)).await?;
    ensure!(store.id() == id, "the database has another id each time");
    store.ping().await?;
    store.close().await;
    Ok(crashes(house))
}

/// A long past is removed by processes that die of it. What is kept is whole, and what is gone is told.
async fn purging(telling: &Telling, house: &mut House, dice: &mut Dice) -> anyhow::Result<usize> {
    let past = {
        let store = open(&settings(house)).await?;
        let past = Past::live(&*store, &house.fleet.target(Kind::Zstack, 1)?.name, LONG_AGO).await?;
        store.close().await;
        past
    };
    for orders in &telling.orders {
        start(house, orders).await?;
        let (begun, deaths) = (Instant::now(), crashes(house));
        while begun.elapsed() < PATIENCE && crashes(house) == deaths && all_run(house)? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        kill(house).await?;
    }
    start(house, &Orders::new()).await?;
    let clients = Clients::new(house.gateways.iter().map(Gateway::grpc), &house.canaries)?;
    let begun = Instant::now();
    while clients.jobs(dice).await?.len() > past.kept.len() {
        ensure!(begun.elapsed() < PATIENCE, "what is old never goes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The keys go last.
    tokio::time::sleep(Duration::from_millis(300)).await;
    kill(house).await?;
    let store = open(&settings(house)).await?;
    for id in &past.old {
        ensure!(store.job(*id).await?.is_none(), "{id} is old and still there");
        ensure!(store.job_events(*id, 0, 1).await?.is_empty(), "{id} is gone and its events are not");
    }
    for id in &past.kept {
        ensure!(store.job(*id).await?.is_some(), "{id} went too early");
        ensure!(!store.job_events(*id, 0, 1).await?.is_empty(), "the events of {id} are gone");
    }
    for key in &past.old_keys {
        ensure!(!store.knows_request(*key).await?, "the old {key} is still there");
    }
    for key in &past.kept_keys {
        ensure!(store.knows_request(*key).await?, "{key} went too early: its request would start anew");
    }
    let told = store.events(0, 1).await;
    ensure!(matches!(told, Err(StoreError::PositionGone { .. })), "a late reader is not told: {told:?}");
    store.close().await;
    Ok(crashes(house))
}

/// A file moves, by programs that die of it. At no moment can two stores drive its jobs, and in the end one has them all.
async fn moving(telling: &Telling, house: &mut House, program: &Path) -> anyhow::Result<usize> {
    let file = StoreSettings {
        url: format!("sqlite://{}", house.folder.path().join("store").join("old.db").display()),
        ..StoreSettings::default()
    };
    let store = open(&file).await?;
    let past = Past::live(&*store, &house.fleet.target(Kind::Zstack, 1)?.name, LATELY).await?;
    let (jobs, events) = (all_jobs(&store).await?, all_events(&store).await?);
    store.close().await;
    let to = settings(house);
    open(&to).await?.close().await;
    let url = house.folder.path().join("secrets").join("store-url");
    std::fs::write(&url, &to.url)?;
    let migrate = async |orders: &Orders| {
        loop {
            let mut command = Command::new(program);
            command.args(["migrate-store", "--from", &file.url, "--to-url-file"]).arg(&url);
            let ended = command.envs(orders.iter().cloned()).kill_on_drop(true).output();
            let ended = tokio::time::timeout(PATIENCE, ended).await.context("a move hangs")??;
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            house.canaries.look("what a move says", said.as_bytes());
            if !said.contains(IN_USE) {
                return anyhow::Ok((ended.status.code(), said));
            }
        }
    };
    let mut deaths = 0;
    for orders in &telling.orders {
        let fails =
            orders.iter().any(|(_, order)| FAILING.iter().any(|point| order.starts_with(point.as_str())));
        if let (true, Some(wire)) = (fails, house.storage.wire(0)) {
            wire.cut_marked(0, Cut::BeforeRequest);
        }
        let (code, said) = migrate(orders).await?;
        house.storage.heal();
        deaths += usize::from(code.is_none());
        let there = has_jobs(&to).await?;
        match open(&file).await {
            Ok(store) => {
                store.close().await;
                ensure!(!there, "two stores have the jobs, and both can be driven");
            }
            Err(StoreError::Unavailable(text)) if text.contains("migrate-store") => {}
            Err(other) => bail!("the file cannot be opened: {other}"),
        }
        ensure!(code.is_none() || (code == Some(1) && there && said.contains(MOVED_BEFORE)), "{said}");
    }
    let there = has_jobs(&to).await?;
    let (code, said) = migrate(&Orders::new()).await?;
    if there {
        ensure!(code == Some(1) && said.contains(MOVED_BEFORE), "made twice: {said}");
    } else {
        ensure!(code == Some(0), "it cannot be made again: {said}");
    }
    let again = open(&file).await;
    ensure!(matches!(again, Err(StoreError::Unavailable(_))), "the file can still be driven");
    let store = open(&to).await?;
    ensure!(all_jobs(&store).await? == jobs, "jobs are not what they were");
    ensure!(all_events(&store).await? == events, "events are not what they were");
    for key in past.old_keys.iter().chain(&past.kept_keys) {
        ensure!(store.knows_request(*key).await?, "{key} did not come over");
    }
    store.close().await;
    Ok(deaths)
}

/// The store as its first gateway has it.
fn settings(house: &House) -> StoreSettings {
    let section = house.storage.section(&house.folder.path().join("store"));
    let of_file = section.get("url").and_then(toml::Value::as_str).map(ToOwned::to_owned);
    let of_server = house.storage.environment(0).into_iter().map(|(_, url)| url).next();
    StoreSettings { url: of_server.or(of_file).unwrap_or_default(), ..StoreSettings::default() }
}

/// Opens a store that no gateway has. A child of the harness that is just being started has the harness' files, and with
/// them their locks, until it becomes another program: that is waited for.
async fn open(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    let begun = Instant::now();
    loop {
        match store::open(settings).await {
            Err(StoreError::Locked { .. }) if begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            other => return other,
        }
    }
}

async fn start(house: &mut House, orders: &Orders) -> anyhow::Result<()> {
    try_join_all(house.gateways.iter_mut().map(|gateway| gateway.up(orders.clone()))).await?;
    Ok(())
}

async fn kill(house: &mut House) -> anyhow::Result<()> {
    for gateway in &mut house.gateways {
        gateway.kill().await?;
    }
    Ok(())
}

fn all_run(house: &mut House) -> anyhow::Result<bool> {
    for gateway in &mut house.gateways {
        if !gateway.runs()? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn crashes(house: &House) -> usize {
    house.gateways.iter().map(Gateway::crashes).sum()
}

async fn has_jobs(settings: &StoreSettings) -> anyhow::Result<bool> {
    let store = store::open(settings).await?;
    let found = !all_jobs(&store).await?.is_empty();
    store.close().await;
    Ok(found)
}

async fn all_jobs(store: &Arc<dyn Store>) -> anyhow::Result<Vec<Job>> {
    let page = PageRequest { size: 1000, token: None };
    Ok(store.jobs(&JobFilter::default(), &page).await?.items)
}

async fn all_events(store: &Arc<dyn Store>) -> anyhow::Result<Vec<Event>> {
    Ok(store.events(0, 10_000).await?)
}
