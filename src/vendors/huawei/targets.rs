//! Lists for people: instances of the project, and images to reinstall them with.

use std::collections::BTreeMap;

use super::client::{Client, MIN_LIMIT};
use super::wire::{CloudImage, Instance};
use super::{map, unsupported};
use crate::domain::id::ProviderId;
use crate::domain::page::{MAX_PAGE_SIZE, Page, PageRequest};
use crate::domain::target::{Image, Target, TargetInfo, TargetKind, UnderWay};
use crate::vendors::error::VendorError;

/// IMS gives this many images when not told otherwise; no larger page is documented.
const MAX_IMAGES: u32 = 500;

/// A page of instances. The vendor's pages have at least [`MIN_LIMIT`] entries, so a smaller page is a slice of
/// one of them: the token is `{skip}.{limit}.{vendor's marker}`.
pub(super) async fn targets(
    client: &Client,
    provider: &ProviderId,
    page: &PageRequest,
) -> Result<Page<TargetInfo>, VendorError> {
    let size = size_of(page, MAX_PAGE_SIZE);
    let Place { skip, limit, marker } = match &page.token {
        None => Place { skip: 0, limit: size.max(MIN_LIMIT), marker: None },
        Some(token) => {
            Place::read(token).ok_or_else(|| unsupported("the page token is not one of this list"))?
        }
    };
    let listed = client.instances_page(limit, marker.as_deref()).await?;
    let total = listed.items.len();
    let end = skip.saturating_add(size).min(total);
    let items = listed
        .items
        .into_iter()
        .skip(skip)
        .take(size)
        // An entry without a readable id cannot be a target.
        .filter_map(|item| info(provider, item.ok()?))
        .collect();
    let next = if end < total {
        Some(Place { skip: end, limit, marker })
    } else {
        listed.next_marker.filter(|next| Some(next) != marker.as_ref()).map(|next| Place {
            skip: 0,
            limit: size.max(MIN_LIMIT),
            marker: Some(next),
        })
    };
    Ok(Page { items, next: next.map(|place| place.token()) })
}

/// A page of the private bare-metal images.
pub(super) async fn images(client: &Client, page: &PageRequest) -> Result<Page<Image>, VendorError> {
    let size = size_of(page, MAX_IMAGES);
    let limit = size.to_string();
    let mut filters =
        vec![("__imagetype", "private"), ("virtual_env_type", "Ironic"), ("limit", limit.as_str())];
    if let Some(marker) = &page.token {
        filters.push(("marker", marker));
    }
    let images = client.images(&filters).await?;
    // IMS gives no cursor: a full page may have a next one, which begins after its last image.
    let full = images.len() >= size;
    let next = images.last().and_then(|i| i.id.clone()).filter(|id| full && page.token.as_ref() != Some(id));
    Ok(Page { items: images.into_iter().filter_map(image).collect(), next })
}

fn size_of(page: &PageRequest, max: u32) -> usize {
    usize::try_from(page.size.clamp(1, max)).unwrap_or(MIN_LIMIT)
}

/// Where a page begins.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    skip: usize,
    limit: usize,
    marker: Option<String>,
}

impl Place {
    fn read(token: &str) -> Option<Self> {
        let mut parts = token.splitn(3, '.');
        let skip = parts.next()?.parse().ok()?;
        let limit = parts.next()?.parse().ok().filter(|l| (MIN_LIMIT..=1000).contains(l))?;
        let marker = parts.next()?;
        Some(Self { skip, limit, marker: (!marker.is_empty()).then(|| marker.to_owned()) })
    }

    fn token(&self) -> String {
        format!("{}.{}.{}", self.skip, self.limit, self.marker.as_deref().unwrap_or_default())
    }
}

pub(super) fn info(provider: &ProviderId, instance: Instance) -> Option<TargetInfo> {
    let under_way = map::busy_with(&instance).map(|what| UnderWay {
        what,
        vendor_state: instance.operation_state.clone().or_else(|| instance.state.clone()),
        ..UnderWay::default()
    });
    let id = instance.id?;
    let image = instance.image.unwrap_or_default();
    let mut attributes = BTreeMap::new();
    for (name, value) in [
        ("operation_state", instance.operation_state),
        ("server_id", instance.server_id),
        ("vpc_id", instance.vpc_id),
        ("description", instance.description),
        ("image.id", image.id.clone()),
        ("image.name", image.name.clone()),
        ("image.os_type", image.os_type),
        ("created_at", instance.created_at),
        ("updated_at", instance.updated_at),
        ("launched_at", instance.launched_at),
    ] {
        if let Some(value) = value {
            attributes.insert(name.to_owned(), value);
        }
    }
    Some(TargetInfo {
        target: Target { provider: provider.clone(), kind: TargetKind::Instance, id: id.into() },
        display_name: instance.name,
        current_version: image.name.or(image.id),
        vendor_state: instance.state,
        available_versions: Vec::new(),
        attributes,
        under_way,
        under_way_unknown: false,
    })
}

pub(super) fn image(image: CloudImage) -> Option<Image> {
    let mut attributes = BTreeMap::new();
    for (name, value) in [
        ("__imagetype", image.imagetype),
        ("__platform", image.platform),
        ("__os_version", image.os_version),
        ("virtual_env_type", image.virtual_env_type),
        ("min_disk", image.min_disk),
        ("min_ram", image.min_ram),
        ("visibility", image.visibility),
        ("created_at", image.created_at),
        ("updated_at", image.updated_at),
    ] {
        if let Some(value) = value {
            attributes.insert(name.to_owned(), value);
        }
    }
    Some(Image {
        id: image.id?,
        name: image.name,
        os_type: image.os_type,
        vendor_state: image.status,
        attributes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_tokens_read_back_and_strange_ones_are_refused() {
        for place in [
            Place { skip: 3, limit: 10, marker: None },
            Place { skip: 0, limit: 500, marker: Some("a.b.c".to_owned()) },
        ] {
            assert_eq!(Place::read(&place.token()), Some(place));
        }
        for token in ["", "1", "1.2", "x.10.", "1.9999.", "-1.10.a"] {
            assert_eq!(Place::read(token), None, "{token}");
        }
    }
}
