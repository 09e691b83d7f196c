//! Pages, and answers that stay small enough for every client.

use std::future::Future;

use prost::Message;

use super::Faults;
use crate::domain::error::Error;
use crate::domain::page::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Page, PageRequest};

/// A page of a list stops growing here. gRPC clients refuse messages above 4 MiB unless told otherwise.
const ENOUGH_BYTES: usize = 2 << 20;
/// No answer with more than one entry becomes larger than this; the rest is for what surrounds the entries.
const MOST_BYTES: usize = (4 << 20) - (64 << 10);
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
    let mut size = PORTION;
    out.next = page.token;
    loop {
        let from = out.next.take();
        let portion = read(PageRequest { size: left.min(size), token: from.clone() }).await?;
        let items: Vec<M> = portion.items.into_iter().map(&convert).collect();
        let grown = items.iter().map(Message::encoded_len).sum::<usize>();
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        if bytes + grown > MOST_BYTES && !out.items.is_empty() {
            out.next = from;
            return Ok(out);
        }
        if grown > MOST_BYTES && count > 1 {
            size = count / 2;
            out.next = from;
            continue;
        }
        left = left.saturating_sub(count);
        let empty = items.is_empty();
        bytes += grown;
        out.items.extend(items);
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
        // The last: small ones first, then some of which three fill an answer.
        let sizes: [fn(u32) -> usize; 3] =
            [|_| 20_000, |_| 70_000, |n| if n < 980 { 20_000 } else { 1_300_000 }];
        for size in sizes {
            let mut token = Some("900".to_owned()).filter(|_| size(999) > 100_000);
            let first: u32 = token.as_deref().map_or(0, |t| t.parse().unwrap());
            let mut seen = Vec::new();
            loop {
                let page = PageRequest { size: 1000, token };
                let page = bounded(page, numbers, |n| message(n, size(n))).await.unwrap();
                let bytes: usize = page.items.iter().map(Message::encoded_len).sum();
                assert!(bytes < 4 << 20, "{bytes}");
                seen.extend(page.items.into_iter().map(|m| m.id));
                token = page.next;
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(seen, (first..1000).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    }
}
