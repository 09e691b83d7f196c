//! The four simulated vendors, each behind a proxy, with an end decided for every target. They live in the
//! harness' own process: what they wrote down is what happened.

use std::net::SocketAddr;

use anyhow::Context as _;
use drydock::simulators::zstack::SimZstack;
use drydock::simulators::{Effects, Fault, Pace, Route, Settings, Simulator, avisi, huawei, vsphere, zstack};
use drydock::vendors;
use toml::{Table, Value};

use super::dice::Dice;
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
    simulator: Box<dyn Simulator>,
    proxy: Proxy,
    table: Table,
}

/// The vendors.
pub struct Fleet {
    members: Vec<Member>,
    targets: Vec<Target>,
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
    /// Starts them with `count` targets of each kind, so many times as fast as life.
    pub async fn start(count: usize, speed: f64, mut ends: Ends<'_>) -> anyhow::Result<Self> {
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
        let simulators: [Box<dyn Simulator>; 4] =
            [Box::new(cloud), Box::new(center), Box::new(managed), Box::new(metal)];
        let mut members = Vec::new();
        for ((id, mut table), simulator) in tables.into_iter().zip(simulators) {
            let base = simulator.base();
            let behind: SocketAddr = base.strip_prefix("http://").context("a simulator's base")?.parse()?;
            let proxy = Proxy::start(behind).await?;
            let front = format!("http://{}", proxy.address());
            for (_, value) in table.iter_mut() {
                if let Value::String(text) = value {
                    *text = text.replace(&base, &front);
                }
            }
            members.push(Member { id, simulator, proxy, table });
        }
        Ok(Self { members, targets })
    }

    /// Every target.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The `n`th target of a kind.
    pub fn target(&self, kind: Kind, n: usize) -> anyhow::Result<&Target> {
        self.targets.iter().filter(|t| t.kind == kind).nth(n).context("no such target")
    }

    /// The providers' tables, and their secrets (provider, key, value) taken out of them.
    pub fn providers(&self) -> (Table, Vec<(String, String, String)>) {
        let (mut all, mut secrets) = (Table::new(), Vec::new());
        for member in &self.members {
            let mut table = member.table.clone();
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
        self.member(provider)?.simulator.faults().arm(route, fault, times);
        Ok(())
    }

    /// Cuts a vendor's connection at the request that comes after `pass` others.
    pub fn cut(&self, provider: &str, pass: usize, cut: Cut) -> anyhow::Result<()> {
        self.member(provider)?.proxy.cut(pass, cut);
        Ok(())
    }

    /// Holds operations under way, or lets them go on.
    pub fn hold(&self, on: bool) {
        self.members.iter().for_each(|member| member.simulator.hold().set(on));
    }

    /// How many requests a provider's vendor got so far, from whomever; 0 for one that is not there.
    pub fn requests(&self, provider: &str) -> u64 {
        self.member(provider).map_or(0, |member| member.proxy.requests())
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

/// Half of all operations end well, the others in any way there is.
///
/// Left out is what only the pace of these vendors makes possible: an upgrade that fails and leaves its target as it
/// was, within the minutes in which "untouched" proves that a start did not arrive. At a vendor it takes longer to
/// fail; here, a second. So no vSphere cluster gives up, and no direct upgrade at Avisi fails.
fn decide<T: Copy + Default>(dice: &mut Dice, of: &[T]) -> T {
    if dice.chance(50) { T::default() } else { dice.pick(of).unwrap_or_default() }
}

// What never ends, and what ends only when a person acts, would only make a round long.
const ZSTACK: [zstack::Outcome; 11] = [
    zstack::Outcome::OneHostFails,
    zstack::Outcome::AllHostsFail,
    zstack::Outcome::EmptyResult,
    zstack::Outcome::BareResult,
    zstack::Outcome::Fail,
    zstack::Outcome::FailSilently,
    zstack::Outcome::Suspend,
    zstack::Outcome::Cancel,
    zstack::Outcome::WaitFirst,
    zstack::Outcome::RefuseAtApi,
    zstack::Outcome::ApiTimesOut,
];
const CLUSTER: [vsphere::Outcome; 5] = [
    vsphere::Outcome::Fail,
    vsphere::Outcome::Refuse,
    vsphere::Outcome::PrecheckError,
    vsphere::Outcome::PrecheckWarning,
    vsphere::Outcome::Overtake,
];
const SUPERVISOR: [vsphere::Outcome; 8] = [
    vsphere::Outcome::Fail,
    vsphere::Outcome::FailInResult,
    vsphere::Outcome::Refuse,
    vsphere::Outcome::PrecheckError,
    vsphere::Outcome::PrecheckWarning,
    vsphere::Outcome::LatePrecheckError,
    vsphere::Outcome::LoseTask,
    vsphere::Outcome::Uncancelable,
];
const AVISI: [avisi::Outcome; 3] = [avisi::Outcome::Fail, avisi::Outcome::Supersede, avisi::Outcome::Refuse];
const HUAWEI: [huawei::Outcome; 3] =
    [huawei::Outcome::Fail, huawei::Outcome::Terminate, huawei::Outcome::Vanish];
