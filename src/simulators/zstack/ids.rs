//! Uuids that follow from an index, so that people can predict them, in the order of the index.

/// The uuid of the `n`th cluster, from 0.
pub fn target_id(n: usize) -> String {
    format!("c1a57e40000040008000{n:012x}")
}

/// The uuid of the `h`th host of the `n`th cluster, from 0.
pub fn host_id(n: usize, h: usize) -> String {
    format!("40570000000040008000{n:08x}{h:04x}")
}

/// Which cluster it is, of `count`.
pub(super) fn cluster_of(uuid: &str, count: usize) -> Option<usize> {
    let n = usize::from_str_radix(uuid.strip_prefix("c1a57e40000040008000")?, 16).ok()?;
    (n < count && target_id(n) == uuid).then_some(n)
}

/// Which host of which cluster it is.
pub(super) fn host_of(uuid: &str) -> Option<(usize, usize)> {
    let rest = uuid.strip_prefix("40570000000040008000")?;
    let (n, h) = rest.split_at_checked(8)?;
    let found = (usize::from_str_radix(n, 16).ok()?, usize::from_str_radix(h, 16).ok()?);
    (host_id(found.0, found.1) == uuid).then_some(found)
}

/// A fresh v4 uuid.
pub(super) fn fresh() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Whether ZStack takes it for a resource: version 1 to 5, lower case, no hyphens.
pub(super) fn is_resource_uuid(text: &str) -> bool {
    text.len() == 32
        && text.char_indices().all(|(at, c)| match at {
            12 => matches!(c, '1'..='5'),
            16 => matches!(c, '8' | '9' | 'a' | 'b'),
            _ => matches!(c, '0'..='9' | 'a'..='f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_pass_zstacks_own_rule() {
        for n in [0, 1, 255, 70_000] {
            assert!(is_resource_uuid(&target_id(n)), "{}", target_id(n));
            assert!(is_resource_uuid(&host_id(n, 2)), "{}", host_id(n, 2));
            assert_eq!(cluster_of(&target_id(n), 100_000), Some(n));
            assert_eq!(host_of(&host_id(n, 2)), Some((n, 2)));
        }
        assert_eq!(cluster_of(&target_id(7), 7), None);
        assert!(target_id(9) < target_id(10) && target_id(255) < target_id(256));
    }
}
