//! Pages (AIP-158): bounded lists and the opaque tokens that continue them.

/// How many entries a page may hold.
pub const MAX_PAGE_SIZE: u32 = 1000;
/// How many entries a page holds when the caller does not say.
pub const DEFAULT_PAGE_SIZE: u32 = 50;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries, in the list's order.
    pub items: Vec<T>,
    /// What continues the list after the last entry; `None` at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The last page of a list.
    pub fn last(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    /// The same page with other entries.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

/// Which page is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many entries: 1 to [`MAX_PAGE_SIZE`].
    pub size: u32,
    /// What an earlier page gave in `next`; `None` for the first page.
    pub token: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { size: DEFAULT_PAGE_SIZE, token: None }
    }
}
