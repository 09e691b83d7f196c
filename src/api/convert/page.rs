//! Pages, and answers that stay small enough for every client.

use std::future::Future;

use prost::Message;

use super::Faults;
use crate::domain::error::Error;
use crate::domain::page::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Page, PageRequest};

/// A page of a list stops growing here. gRPC clients refuse messages above 4 MiB unless told otherwise.
const ENOUGH_BYTES: usize = 2 << 20;
/// How many entries are read at once while a page grows.
const PORTION: u32 = 50;
/// The longest page token that is looked at.
pub const MAX_TOKEN: usize = 4096;

/// Which page is wanted (AIP-158): 0 is the default size, too large a size is cut, a negative one refused.
pub fn read_page(faults: &mut Faults, size: i32, token: String) -> PageRequest {
    let size = u32::try_from(size).unwrap_or_else(|_| {
        faults.add("page_size", "must not be negative");
        0
    });
    if token.len() > MAX_TOKEN {
        faults.add("page_token", "is longer than any token that Drydock gives");
    }
    PageRequest {
        size: if size == 0 { DEFAULT_PAGE_SIZE } else { size.min(MAX_PAGE_SIZE) },
        token: Some(token).filter(|t| !t.is_empty()),
    }
}

/// The token of the next page, as the contract has it.
pub fn next_token<T>(page: &Page<T>) -> String {
    page.next.clone().unwrap_or_default()
}

/// Reads a page in portions, and ends it early when the answer would grow too large.
///
/// # Errors
/// Those of `read`.
pub async fn bounded<T, M, F>(
    page: PageRequest,
    read: impl Fn(PageRequest) -> F,
    convert: impl Fn(T) -> M,
) -> Result<Page<M>, Error>
where
    M: Message,
    F: Future<Output = Result<Page<T>, Error>>,
{
    let mut out = Page::last(Vec::new());
    let mut bytes = 0;
    let mut left = page.size;
    out.next = page.token;
    loop {
        let portion = read(PageRequest { size: left.min(PORTION), token: out.next.take() }).await?;
        left = left.saturating_sub(u32::try_from(portion.items.len()).unwrap_or(u32::MAX));
        let empty = portion.items.is_empty();
        for item in portion.items {
            let item = convert(item);
            bytes += item.encoded_len();
            out.items.push(item);
        }
        out.next = portion.next;
        if out.next.is_none() || left == 0 || bytes >= ENOUGH_BYTES || empty {
            return Ok(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pb;

    #[test]
    fn sizes_follow_aip_158() {
        let size = |size| {
            let mut faults = Faults::new();
            let page = read_page(&mut faults, size, String::new());
            faults.is_empty().then_some(page.size)
        };
        assert_eq!(size(0), Some(50));
        assert_eq!(size(1), Some(1));
        assert_eq!(size(1000), Some(1000));
        assert_eq!(size(i32::MAX), Some(1000));
        assert_eq!(size(-1), None);
        let mut faults = Faults::new();
        read_page(&mut faults, 0, "x".repeat(MAX_TOKEN + 1));
        assert!(!faults.is_empty());
    }

    /// A list of 1000 numbers; the token is the next one.
    async fn numbers(page: PageRequest) -> Result<Page<u32>, Error> {
        let from: u32 = page.token.map_or(Ok(0), |t| t.parse()).map_err(|_| Error::PageTokenInvalid)?;
        let until = (from + page.size).min(1000);
        Ok(Page { items: (from..until).collect(), next: (until < 1000).then(|| until.to_string()) })
    }

    fn message(number: u32, bytes: usize) -> pb::Part {
        pb::Part { id: number.to_string(), message: "x".repeat(bytes), ..Default::default() }
    }

    #[tokio::test]
    async fn portions_make_the_page_that_was_asked_for() {
        let page = PageRequest { size: 120, token: Some("30".to_owned()) };
        let page = bounded(page, numbers, |n| message(n, 1)).await.unwrap();
        assert_eq!(page.items.len(), 120);
        assert_eq!((page.items[0].id.as_str(), page.items[119].id.as_str()), ("30", "149"));
        assert_eq!(page.next.as_deref(), Some("150"));
        let rest = PageRequest { size: 1000, token: Some("990".to_owned()) };
        let rest = bounded(rest, numbers, |n| message(n, 1)).await.unwrap();
        assert_eq!((rest.items.len(), rest.next), (10, None));
    }

    #[tokio::test]
    async fn large_entries_end_the_page_early_and_none_is_lost() {
        let mut token = None;
        let mut seen = Vec::new();
        loop {
            let page = PageRequest { size: 1000, token };
            let page = bounded(page, numbers, |n| message(n, 20_000)).await.unwrap();
            let bytes: usize = page.items.iter().map(Message::encoded_len).sum();
            assert!(bytes < 4 << 20, "{bytes}");
            seen.extend(page.items.into_iter().map(|m| m.id));
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..1000).map(|n: u32| n.to_string()).collect::<Vec<_>>());
    }
}
