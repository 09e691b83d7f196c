//! What callers may ask about providers' inventories: targets, versions, images. Asked live, never cached here.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::calls::{TargetView, TargetsPage};
use super::engine::Engine;
use super::fault;
use super::foreign::stands_for;
use super::provider::Runtime;
use crate::domain::error::{Error, VendorFault};
use crate::domain::id::{JobId, ProviderId};
use crate::domain::page::{MAX_PAGE_SIZE, Page, PageRequest};
use crate::domain::state::JobState;
use crate::domain::target::{AvailableVersion, Image, Target, TargetInfo, TargetKind};
use crate::store::contract::JobFilter;
use crate::vendors::error::{Reached, VendorError};

/// How long a caller may wait for a vendor.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// How many targets one look at the store asks for.
const TARGETS_AT_ONCE: usize = 100;

/// Where a list over providers and kinds stands.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    provider: ProviderId,
    kind: TargetKind,
    token: Option<String>,
    /// The scope it belongs to: a token is no good for another request.
    scope: (Option<ProviderId>, Option<TargetKind>),
}

impl Engine {
    /// Targets of one provider, or of all (`None`); of one kind, or of all.
    ///
    /// # Errors
    /// `NotFound` (provider), `PageTokenInvalid`. A vendor that cannot be asked is named in `unreachable`, and
    /// never fails the list of the others.
    pub async fn targets(
        &self,
        provider: Option<&ProviderId>,
        kind: Option<TargetKind>,
        page: &PageRequest,
    ) -> Result<TargetsPage, Error> {
        if let Some(id) = provider {
            self.runtime(id)?;
        }
        let scope = (provider.cloned(), kind);
        let mut places = self.places(provider, kind);
        let mut token = None;
        if let Some(text) = &page.token {
            let cursor = read_cursor(text).filter(|c| c.scope == scope).ok_or(Error::PageTokenInvalid)?;
            let from = places
                .iter()
                .position(|(r, k)| r.provider.id == cursor.provider && *k == cursor.kind)
                .ok_or(Error::PageTokenInvalid)?;
            places.drain(..from);
            token = cursor.token;
        }
        let mut out = TargetsPage { items: Vec::new(), next: None, unreachable: Vec::new() };
        let places = places.into_iter();
        for (runtime, kind) in places {
            let room = page.size.saturating_sub(u32::try_from(out.items.len()).unwrap_or(u32::MAX));
            if room == 0 {
                out.next = Some(write_cursor(&runtime.provider.id, kind, token, &scope));
                break;
            }
            let ask = PageRequest { size: room, token: token.take() };
            match self.ask(runtime, runtime.provider.vendor.targets(kind, &ask)).await {
                Ok(found) => {
                    out.items.extend(self.seen(runtime, found.items).await?);
                    if let Some(next) = found.next {
                        out.next = Some(write_cursor(&runtime.provider.id, kind, Some(next), &scope));
                        break;
                    }
                }
                Err(error) => {
                    let id = runtime.provider.id.clone();
                    if !out.unreachable.iter().any(|(known, _)| *known == id) {
                        out.unreachable.push((id, error.to_string()));
                    }
                }
            }
        }
        Ok(out)
    }

    /// Targets with the jobs that stand for what is under way on them; what no job stands for is remembered.
    async fn seen(&self, runtime: &Runtime, infos: Vec<TargetInfo>) -> Result<Vec<TargetView>, Error> {
        let now = self.clock.now();
        let busy: Vec<_> = infos.iter().filter(|i| i.under_way.is_some()).map(|i| i.target.clone()).collect();
        let mut jobs: HashMap<Target, JobId> = HashMap::new();
        for targets in busy.chunks(TARGETS_AT_ONCE) {
            let mut page = PageRequest { size: MAX_PAGE_SIZE, token: None };
            let filter = JobFilter {
                targets: targets.to_vec(),
                states: JobState::ALL.into_iter().filter(|state| !state.is_ended()).collect(),
                ..JobFilter::default()
            };
            loop {
                let live = self.store.jobs(&filter, &page).await.map_err(fault::store)?;
                jobs.extend(live.items.into_iter().filter(stands_for).map(|job| (job.spec.target, job.id)));
                page.token = live.next;
                if page.token.is_none() {
                    break;
                }
            }
        }
        let view = |info: TargetInfo| {
            let job = jobs.remove(&info.target);
            let foreign = info.under_way.as_ref().filter(|_| job.is_none());
            // Unknown is not none: what was seen a moment ago still counts.
            if !info.under_way_unknown {
                runtime.sights.note(&info.target, foreign.map(|under_way| under_way.what.as_str()), now);
            }
            TargetView { info, observe_time: now, job }
        };
        Ok(infos.into_iter().map(view).collect())
    }

    fn places(&self, provider: Option<&ProviderId>, kind: Option<TargetKind>) -> Vec<(&Runtime, TargetKind)> {
        self.providers
            .values()
            .filter(|r| provider.is_none_or(|id| *id == r.provider.id))
            .flat_map(|r| r.provider.vendor.capabilities().targets.iter().map(move |c| (&**r, c.target)))
            .filter(|(_, k)| kind.is_none_or(|wanted| wanted == *k))
            .collect()
    }

    /// The versions that a target can be brought to.
    ///
    /// # Errors
    /// `NotFound`, `Unsupported`, `Vendor`.
    pub async fn versions(&self, target: &Target) -> Result<Vec<AvailableVersion>, Error> {
        let runtime = self.runtime(&target.provider)?;
        let vendor = &runtime.provider.vendor;
        if !vendor.capabilities().of(target.kind).is_some_and(|c| c.lists_versions) {
            return Err(Error::Unsupported(format!(
                "{} lists no versions for {}: {} has no call for it",
                target.provider,
                target.kind.collection(),
                vendor.name()
            )));
        }
        self.ask(runtime, vendor.versions(target)).await
    }

    /// The images that a reinstall can use.
    ///
    /// # Errors
    /// `NotFound`, `Unsupported`, `Vendor`.
    pub async fn images(&self, provider: &ProviderId, page: &PageRequest) -> Result<Page<Image>, Error> {
        let runtime = self.runtime(provider)?;
        let vendor = &runtime.provider.vendor;
        if !vendor.capabilities().targets.iter().any(|c| c.lists_images) {
            return Err(Error::Unsupported(format!(
                "{provider} has no images: {} reinstalls nothing",
                vendor.name()
            )));
        }
        self.ask(runtime, vendor.images(page)).await
    }

    /// Waits for a vendor's answer on behalf of a caller, and lets the provider's health know. A vendor that refused
    /// the provider's credentials a moment ago is not asked.
    async fn ask<T>(
        &self,
        runtime: &Runtime,
        call: impl Future<Output = Result<T, VendorError>>,
    ) -> Result<T, Error> {
        if let Some(error) = runtime.health.barred(self.clock.now()) {
            return Err(fault::vendor(&runtime.provider.id, error));
        }
        let answer = tokio::time::timeout(DEADLINE, call).await.unwrap_or_else(|_| Err(too_late()));
        let now = self.clock.now();
        match answer {
            Ok(found) => {
                runtime.health.heard(now);
                Ok(found)
            }
            Err(error) => {
                let error = runtime.told(error);
                runtime.health.failed(&error, now);
                Err(fault::vendor(&runtime.provider.id, error))
            }
        }
    }
}

/// The vendor did not answer a waiting caller in time.
pub(super) fn too_late() -> VendorError {
    VendorError::new(
        VendorFault::TimedOut,
        Reached::Maybe,
        format!("no answer within {} s", DEADLINE.as_secs()),
    )
}

fn write_cursor(
    provider: &ProviderId,
    kind: TargetKind,
    token: Option<String>,
    scope: &(Option<ProviderId>, Option<TargetKind>),
) -> String {
    let cursor = Cursor { provider: provider.clone(), kind, token, scope: scope.clone() };
    // Strings and enums always serialise.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
}

fn read_cursor(text: &str) -> Option<Cursor> {
    URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
}
