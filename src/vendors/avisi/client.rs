//! The calls. Each answers with wire structs or with an error that `map.rs` has read.

use serde::de::DeserializeOwned;
use url::Url;

use super::auth::Pat;
use super::map::{self, Word};
use super::notes::Slugs;
use super::wire::{
    Cluster, ClusterPatch, ClusterVersion, MaintenanceSchedule, Named, Paged, ScheduleRequest,
    ScheduledUpgrade,
};
use crate::domain::error::VendorFault;
use crate::kit::permit::Permit;
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};

/// How many pages of one list are read at most. The vendor's own client stops at 100.
pub(super) const MAX_PAGES: u64 = 100;
/// How many identities one `clusterIdentities` filter holds: 100 make an address of less than 4 KiB.
const IDENTITIES_PER_CALL: usize = 100;

/// One organisation's way to Avisi.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    base: Url,
    organisation: String,
    token: Pat,
    admin_token: Option<Pat>,
}

impl Client {
    pub(super) const fn new(
        http: HttpClient,
        base: Url,
        organisation: String,
        token: Pat,
        admin_token: Option<Pat>,
    ) -> Self {
        Self { http, base, organisation, token, admin_token }
    }

    /// Whether scheduled upgrades can be read back.
    pub(super) const fn is_operator(&self) -> bool {
        self.admin_token.is_some()
    }

    /// Creates or moves the cluster's scheduled upgrade.
    pub(super) async fn schedule(
        &self,
        body: &ScheduleRequest<'_>,
        permit: &Permit,
    ) -> Result<ScheduledUpgrade, VendorError> {
        let url = self.at(&["api", "v1", "orgs", &self.organisation, "scheduled-cluster-upgrades"]);
        let route = "/api/v1/orgs/{organisation}/scheduled-cluster-upgrades";
        let call = Call::new(Verb::Post, url, route).json(body).under(permit);
        read(&self.send(&self.token, call).await?)
    }

    /// Upgrades a cluster now.
    pub(super) async fn upgrade(
        &self,
        at: &Slugs,
        version: &str,
        permit: &Permit,
    ) -> Result<Cluster, VendorError> {
        let call = Call::new(Verb::Patch, self.cluster_url(at), CLUSTER_ROUTE)
            .json(&ClusterPatch { version })
            .under(permit);
        read(&self.send(&self.token, call).await?)
    }

    /// The cluster at these slugs, if there is one. It may be another one than is meant: compare its identity.
    pub(super) async fn cluster(&self, at: &Slugs) -> Result<Option<Cluster>, VendorError> {
        let call = Call::new(Verb::Get, self.cluster_url(at), CLUSTER_ROUTE);
        self.send(&self.token, call).await.and_then(|reply| read(&reply)).map_or_else(absent, |c| Ok(Some(c)))
    }

    /// A page (0-based) of the organisation's clusters.
    pub(super) async fn clusters(&self, page: u64) -> Result<Paged<Cluster>, VendorError> {
        let url = self.at(&["api", "v1", "orgs", &self.organisation, "clusters"]);
        let call = Call::new(Verb::Get, url, "/api/v1/orgs/{organisation}/clusters");
        self.page(&self.token, call, page).await
    }

    /// The versions that exist. Not the organisation's own list, and not paged.
    pub(super) async fn versions(&self) -> Result<Vec<ClusterVersion>, VendorError> {
        let call =
            Call::new(Verb::Get, self.at(&["api", "v1", "cluster-versions"]), "/api/v1/cluster-versions");
        self.send(&self.token, call).await?.json_list()
    }

    /// The organisation's update channels.
    pub(super) async fn update_channels(&self) -> Result<Vec<Named>, VendorError> {
        let mut all = Vec::new();
        for page in 0.. {
            let url = self.at(&["api", "v1", "orgs", &self.organisation, "update-channels"]);
            let call = Call::new(Verb::Get, url, "/api/v1/orgs/{organisation}/update-channels");
            let answer: Paged<Named> = self.page(&self.token, call, page).await?;
            let last = answer.is_last(page);
            all.extend(answer.content);
            if last {
                break;
            }
        }
        Ok(all)
    }

    /// The organisation's maintenance schedules. In the other path style, by a name in the singular, and not paged.
    pub(super) async fn maintenance_schedules(&self) -> Result<Vec<MaintenanceSchedule>, VendorError> {
        let url = self.at(&["api", "v1", "organisations", &self.organisation, "maintenance-schedule"]);
        let route = "/api/v1/organisations/{organisation}/maintenance-schedule";
        self.send(&self.token, Call::new(Verb::Get, url, route)).await?.json_list()
    }

    /// Proves that the token reaches the organisation, and the operator's token its own API.
    pub(super) async fn ping(&self) -> Result<(), VendorError> {
        let url = self.at(&["api", "v1", "organisations", &self.organisation]);
        let call = Call::new(Verb::Get, url, "/api/v1/organisations/{organisation}");
        let _: serde::de::IgnoredAny = read(&self.send(&self.token, call).await?)?;
        if let Some(operator) = &self.admin_token {
            let call =
                Call::new(Verb::Get, self.at(&UPGRADES), UPGRADES_ROUTE).query("statuses", "IN_PROGRESS");
            let _: Paged<serde::de::IgnoredAny> = self.page(operator, call, 0).await?;
        }
        Ok(())
    }

    /// The scheduled upgrades of these clusters that are not over. Operators only.
    pub(super) async fn open_upgrades(
        &self,
        clusters: &[&str],
    ) -> Result<Vec<ScheduledUpgrade>, VendorError> {
        let mut open = self.upgrades(clusters, Some(Word::OPEN)).await?;
        // As with the identities: what is over must not pass for open because a filter was overlooked.
        open.retain(|upgrade| !Word::of(upgrade).is_some_and(Word::is_over));
        Ok(open)
    }

    /// All scheduled upgrades of one cluster. Operators only.
    pub(super) async fn upgrades_of(&self, cluster: &str) -> Result<Vec<ScheduledUpgrade>, VendorError> {
        self.upgrades(&[cluster], None).await
    }

    async fn upgrades(
        &self,
        clusters: &[&str],
        statuses: Option<&str>,
    ) -> Result<Vec<ScheduledUpgrade>, VendorError> {
        let operator = self.operator()?;
        let mut all = Vec::new();
        for chunk in clusters.chunks(IDENTITIES_PER_CALL) {
            let identities = chunk.join(",");
            for page in 0.. {
                let mut call = Call::new(Verb::Get, self.at(&UPGRADES), UPGRADES_ROUTE)
                    .query("clusterIdentities", &identities);
                if let Some(statuses) = statuses {
                    call = call.query("statuses", statuses);
                }
                let answer: Paged<ScheduledUpgrade> = self.page(operator, call, page).await?;
                let last = answer.is_last(page);
                // The filter is the vendor's; an entry of another cluster must never be taken for ours.
                all.extend(answer.content.into_iter().filter(|upgrade| {
                    let of = upgrade.cluster_identity.as_deref().unwrap_or_default();
                    chunk.iter().any(|id| id.eq_ignore_ascii_case(of))
                }));
                if last {
                    break;
                }
            }
        }
        Ok(all)
    }

    /// One scheduled upgrade; `None` when it does not exist (any more). Operators only.
    pub(super) async fn scheduled(&self, identity: &str) -> Result<Option<ScheduledUpgrade>, VendorError> {
        let call = Call::new(Verb::Get, self.upgrade_url(identity), UPGRADE_ROUTE);
        let answer = self.send(self.operator()?, call).await.and_then(|reply| read(&reply));
        answer.map_or_else(absent, |upgrade| Ok(Some(upgrade)))
    }

    /// Deletes a scheduled upgrade; `None` when it does not exist (any more). Operators only.
    pub(super) async fn unschedule(
        &self,
        identity: &str,
        permit: &Permit,
    ) -> Result<Option<ScheduledUpgrade>, VendorError> {
        let call = Call::new(Verb::Delete, self.upgrade_url(identity), UPGRADE_ROUTE).under(permit);
        match self.send(self.operator()?, call).await {
            // The upgrade object is what the vendor's client expects; an empty answer is taken as well.
            Ok(reply) if reply.body.is_empty() => Ok(Some(ScheduledUpgrade::default())),
            Ok(reply) => read(&reply).map(Some),
            Err(error) => absent(error),
        }
    }

    fn operator(&self) -> Result<&Pat, VendorError> {
        self.admin_token.as_ref().ok_or_else(|| {
            VendorError::new(
                VendorFault::PermissionDenied,
                Reached::No,
                "scheduled upgrades can be read only with an operator's `admin_token`",
            )
        })
    }

    fn at(&self, path: &[&str]) -> Url {
        Call::join(&self.base, path)
    }

    fn cluster_url(&self, at: &Slugs) -> Url {
        self.at(&["api", "v1", "orgs", &self.organisation, "clusters", &at.environment, &at.cluster])
    }

    fn upgrade_url(&self, identity: &str) -> Url {
        let [admin, version, upgrades] = UPGRADES;
        self.at(&[admin, version, upgrades, identity])
    }

    async fn page<T: DeserializeOwned>(
        &self,
        pat: &Pat,
        call: Call,
        page: u64,
    ) -> Result<Paged<T>, VendorError> {
        if page >= MAX_PAGES {
            let text = format!(
                "the list has more than {MAX_PAGES} pages, which is as far as Avisi's own client reads"
            );
            return Err(VendorError::garbled(text));
        }
        let answer: Paged<T> = read(&self.send(pat, call.query("page", &page.to_string())).await?)?;
        match answer.number {
            Some(number) if number != page => {
                Err(VendorError::garbled(format!("asked for page {page}, Avisi answered with page {number}")))
            }
            Some(_) | None => Ok(answer),
        }
    }

    async fn send(&self, pat: &Pat, call: Call) -> Result<Reply, VendorError> {
        let reply = self.http.send(pat.sign(call)).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(map::error(&pat.redact(reply))) }
    }
}

const UPGRADES: [&str; 3] = ["admin", "v1", "scheduled-cluster-upgrades"];
const UPGRADES_ROUTE: &str = "/admin/v1/scheduled-cluster-upgrades";
const UPGRADE_ROUTE: &str = "/admin/v1/scheduled-cluster-upgrades/{identity}";
const CLUSTER_ROUTE: &str = "/api/v1/orgs/{organisation}/clusters/{environment}/{cluster}";

fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, VendorError> {
    reply.json()
}

/// "It does not exist" is an answer, not a failure.
fn absent<T>(error: VendorError) -> Result<Option<T>, VendorError> {
    match error.kind {
        VendorFault::NotFound => Ok(None),
        VendorFault::Unreachable
        | VendorFault::TimedOut
        | VendorFault::RateLimited
        | VendorFault::Unauthenticated
        | VendorFault::PermissionDenied
        | VendorFault::Rejected
        | VendorFault::Garbled => Err(error),
    }
}
