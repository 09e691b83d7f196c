//! The four simulated vendors, each behind a proxy, with an end decided for every target. They live in the
//! harness' own process: what they wrote down is what happened.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use drydock::simulators::zstack::SimZstack;
use drydock::simulators::{
    Aim, Effects, Fault, Pace, Route, Settings, Simulator, Strikes, avisi, huawei, vsphere, zstack,
};
use drydock::vendors;
use jiff::Timestamp;
use tokio::time::Instant;
use toml::{Table, Value};

use super::dice::Dice;
use super::ear::{Ear, route};
use super::ends::{AVISI, CLUSTER, HUAWEI, SUPERVISOR, ZSTACK, decide};
use super::harm::{Harm, Harms, Place, Strike};
use super::proxy::{Cut, Proxy};

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A ZStack cluster.
    Zstack,
    /// A vSphere cluster with a Supervisor.
    Cluster,
    /// A vSphere Supervisor.
    Supervisor,
    /// An Avisi cluster.
    Avisi,
    /// A Huawei instance.
    Huawei,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Zstack, Self::Cluster, Self::Supervisor, Self::Avisi, Self::Huawei];

    /// Its provider's id.
    pub const fn provider(self) -> &'static str {
        match self {
            Self::Zstack => "zs",
            Self::Cluster | Self::Supervisor => "vc",
            Self::Avisi => "av",
            Self::Huawei => "hw",
        }
    }
}

/// A target, and what is decided about it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its resource name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The vendor's id of it.
    pub id: String,
    /// The vendor calls the whole a success although a part of it fails.
    pub partial: bool,
    /// It fails in seconds here and looks as before; see [`decide`].
    pub fails_unseen: bool,
}

struct Member {
    id: &'static str,
    simulator: Arc<dyn Simulator>,
    /// Each gateway has a door of its own.
    proxy: Proxy,
    base: String,
    table: Table,
}

/// The vendors.
pub struct Fleet {
    members: Vec<Member>,
    targets: Vec<Target>,
    harms: Harms,
    /// Faults that were armed, and what they struck.
    faults: Mutex<Vec<(&'static str, Fault, Strikes)>>,
}

/// How the ends of targets are decided.
pub enum Ends<'a> {
    /// Everything ends well.
    Well,
    /// Every ZStack cluster fails; everything else ends well.
    Badly,
    /// Supervisors are blocked until somebody cancels; everything else ends well.
    Blocked,
    /// Every end that a vendor has, at random.
    Any(&'a mut Dice),
}

impl Fleet {
    /// Starts them with `count` targets of each kind, so many times as fast as life, for so many gateways.
    pub async fn start(
        count: usize,
        speed: f64,
        mut ends: Ends<'_>,
        gateways: usize,
        harms: &Harms,
    ) -> anyhow::Result<Self> {
        let settings = Settings {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            targets: count,
            pace: Pace::new(speed),
        };
        let cloud = SimZstack::start(settings).await?;
        let (center, managed, metal) =
            (vsphere::start(settings).await?, avisi::start(settings).await?, huawei::start(settings).await?);
        // A customer of Avisi learns of a window only from the first answer.
        managed.tell_windows(true);
        let mut targets = Vec::new();
        for n in 0..count {
            for kind in Kind::ALL {
                let (id, collection) = match kind {
                    Kind::Zstack => (zstack::target_id(n), "clusters"),
                    Kind::Cluster => (vsphere::cluster_id(n), "clusters"),
                    Kind::Supervisor => (vsphere::supervisor_id(n), "supervisors"),
                    Kind::Avisi => (avisi::target_id(n), "clusters"),
                    Kind::Huawei => (huawei::instance_id(n), "instances"),
                };
                let (mut partial, mut fails_unseen) = (false, false);
                match &mut ends {
                    Ends::Well => {}
                    Ends::Badly => {
                        cloud.script(&zstack::target_id(n), zstack::Outcome::Fail);
                    }
                    Ends::Blocked => center.script(&vsphere::supervisor_id(n), vsphere::Outcome::Block),
                    Ends::Any(dice) => match kind {
                        Kind::Zstack => {
                            let outcome = decide(dice, &ZSTACK);
                            partial = matches!(
                                outcome,
                                zstack::Outcome::OneHostFails
                                    | zstack::Outcome::AllHostsFail
                                    | zstack::Outcome::EmptyResult
                            );
                            cloud.script(&id, outcome);
                        }
                        Kind::Cluster => center.script(&id, decide(dice, &CLUSTER)),
                        Kind::Supervisor => center.script(&id, decide(dice, &SUPERVISOR)),
                        Kind::Avisi => {
                            let outcome = decide(dice, &AVISI);
                            fails_unseen = outcome == avisi::Outcome::Fail;
                            managed.script(&id, outcome);
                        }
                        Kind::Huawei => metal.script(n, decide(dice, &HUAWEI)),
                    },
                }
                let name = format!("providers/{}/{collection}/{id}", kind.provider());
                targets.push(Target { name, kind, id, partial, fails_unseen });
            }
        }
        let operator = match &mut ends {
            Ends::Well | Ends::Badly | Ends::Blocked => true,
            Ends::Any(dice) => dice.chance(50),
        };
        let avisi_table = if operator { managed.operator_provider() } else { managed.provider() };
        let tables = [
            ("zs", cloud.provider()),
            ("vc", center.provider()),
            ("av", avisi_table),
            ("hw", metal.provider()),
        ];
        let simulators: [Arc<dyn Simulator>; 4] =
            [Arc::new(cloud), Arc::new(center), Arc::new(managed), Arc::new(metal)];
        let mut members = Vec::new();
        for ((id, table), simulator) in tables.into_iter().zip(simulators) {
            let base = simulator.base();
            let behind: SocketAddr = base.strip_prefix("http://").context("a simulator's base")?.parse()?;
            let asked = Arc::clone(&simulator);
            let starts =
                Box::new(move |request: &[u8]| route(asked.as_ref(), request) == Some(Route::Submit));
            let ear = Ear { vendor: id, simulator: Arc::clone(&simulator), harms: harms.clone() };
            let proxy = Proxy::start(behind, gateways, starts, Box::new(ear)).await?;
            members.push(Member { id, simulator, proxy, base, table });
        }
        Ok(Self { members, targets, harms: harms.clone(), faults: Mutex::default() })
    }

    /// Every target.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The `n`th target of a kind.
    pub fn target(&self, kind: Kind, n: usize) -> anyhow::Result<&Target> {
        self.targets.iter().filter(|t| t.kind == kind).nth(n).context("no such target")
    }

    /// The providers' tables for a gateway, and their secrets (provider, key, value) taken out of them.
    pub fn providers(&self, gateway: usize) -> (Table, Vec<(String, String, String)>) {
        let (mut all, mut secrets) = (Table::new(), Vec::new());
        for member in &self.members {
            let mut table = member.table.clone();
            let door = member.proxy.door(gateway).map_or_else(String::new, |door| format!("http://{door}"));
            for (_, value) in table.iter_mut() {
                if let Value::String(text) = value {
                    *text = text.replace(&member.base, &door);
                }
            }
            let keys = vendors::entry(member.simulator.vendor()).map_or(&[][..], |entry| entry.secret_keys);
            for key in keys {
                if let Some(Value::String(secret)) = table.remove(*key) {
                    secrets.push((member.id.to_owned(), (*key).to_owned(), secret));
                }
            }
            all.insert(member.id.to_owned(), table.into());
        }
        (all, secrets)
    }

    fn member(&self, provider: &str) -> anyhow::Result<&Member> {
        self.members.iter().find(|m| m.id == provider).context("no such provider")
    }

    /// What a provider's vendor wrote down.
    pub fn effects(&self, provider: &str) -> anyhow::Result<&Effects> {
        Ok(self.member(provider)?.simulator.effects())
    }

    /// Lets a vendor have a fault.
    pub fn fault(
        &self,
        provider: &str,
        route: Option<Route>,
        fault: Fault,
        times: u32,
    ) -> anyhow::Result<()> {
        let member = self.member(provider)?;
        let strikes = member.simulator.faults().aim(Aim { route, times, ..Aim::default() }, fault);
        self.harms.arm(Harm::Fault(fault));
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push((member.id, fault, strikes));
        Ok(())
    }

    /// Cuts a vendor's connection at the request that comes after `pass` others.
    pub fn cut(&self, provider: &str, pass: usize, cut: Cut) -> anyhow::Result<()> {
        self.member(provider)?.proxy.cut(pass, cut);
        self.harms.arm(Harm::Request(cut));
        Ok(())
    }

    /// Cuts a vendor's connection at the next request that starts something.
    pub fn cut_start(&self, provider: &str, cut: Cut) -> anyhow::Result<()> {
        self.member(provider)?.proxy.cut_marked(0, cut);
        self.harms.arm(Harm::Start(cut));
        Ok(())
    }

    /// Lets nobody reach a vendor until then.
    pub fn go_away(&self, provider: &str, until: Instant) -> anyhow::Result<()> {
        self.harms.arm(Harm::VendorAway);
        self.member(provider)?.proxy.go_away(until);
        Ok(())
    }

    /// Until when some vendor is out of reach, if one is.
    pub fn away_until(&self) -> Option<Instant> {
        self.members.iter().filter_map(|member| member.proxy.away_until()).max()
    }

    /// Adds what the vendors' own faults struck to the record.
    pub fn note_strikes(&self) {
        let faults = std::mem::take(&mut *self.faults.lock().unwrap_or_else(PoisonError::into_inner));
        for (vendor, fault, strikes) in faults {
            for strike in strikes.all() {
                let place = Place::Vendor(vendor, Some(strike.route));
                let harm = Harm::Fault(fault);
                self.harms.note(Strike { harm, place, from: strike.at, until: late(strike.at, fault) });
            }
        }
    }

    /// Holds operations under way, or lets them go on.
    pub fn hold(&self, on: bool) {
        self.members.iter().for_each(|member| member.simulator.hold().set(on));
    }

    /// How many requests a provider's vendor got so far from gateways other than this one; 0 for a provider that is not
    /// there. What a gateway says on its way out (it ends its session) is nobody's driving.
    pub fn requests_of_others(&self, provider: &str, but: usize, gateways: usize) -> u64 {
        let others = (0..gateways).filter(|gateway| *gateway != but);
        self.member(provider).map_or(0, |member| others.map(|door| member.proxy.requests(door)).sum())
    }

    /// Ends every fault and cut that has not struck yet.
    pub fn heal(&self) {
        for member in &self.members {
            member.simulator.faults().clear();
            member.proxy.heal();
        }
    }

    /// Stops everything.
    pub async fn stop(&self) {
        for member in &self.members {
            member.proxy.stop().await;
            member.simulator.stop().await;
        }
    }
}

/// Until when a fault that struck then kept its request.
fn late(at: Timestamp, fault: Fault) -> Timestamp {
    let Fault::DelayMs(millis) = fault else { return at };
    let by = i64::try_from(millis).map_or(jiff::SignedDuration::MAX, jiff::SignedDuration::from_millis);
    at.checked_add(by).unwrap_or(at)
}
