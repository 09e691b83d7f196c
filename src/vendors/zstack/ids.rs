//! The uuids under which a start is sent. All follow from the job's key, so that nothing has to be remembered
//! before it is needed, and a crash forgets none of them.

use aws_lc_rs::digest;
use uuid::Uuid;

/// How many `X-Job-UUID`s one job has, see [`job_ids`].
pub(super) const JOB_IDS: usize = 3;

/// The `X-Job-UUID`s of a job, in the order of their use. The first is the key itself.
///
/// ZStack refuses an `X-Job-UUID` that it has seen (`Duplicate job uuid`), which is what makes a start safe to
/// repeat. It also remembers one whose request died of an expired session before anything ran. Only then, when
/// ZStack itself shows that outcome for the earlier id, is the next one used.
pub(super) fn job_ids(key: Uuid) -> [String; JOB_IDS] {
    [simple(key), simple(derived("job", key, 0, 1)), simple(derived("job", key, 0, 2))]
}

/// The long job's uuid for one request, when the caller chose none: another for each attempt, since ZStack
/// damages an existing record whose uuid is used again.
pub(super) fn resource_uuid(key: Uuid, attempt: u32, nth: usize) -> String {
    simple(derived("resource", key, attempt, nth))
}

/// A v4-shaped uuid: ZStack refuses versions above 5.
fn derived(purpose: &str, key: Uuid, attempt: u32, nth: usize) -> Uuid {
    let text = format!("drydock/zstack/{purpose}/{key}/{attempt}/{nth}");
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()) {
        *to = *from;
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn simple(uuid: Uuid) -> String {
    uuid.simple().to_string()
}

/// Whether `text` is a uuid as ZStack writes them: 32 lower-case hex digits.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether ZStack takes `text` as a `resourceUuid`: `[0-9a-f]{12}[1-5][0-9a-f]{3}[89ab][0-9a-f]{15}`
/// (zstack `ApiMediatorImpl`, `StringDSL`): UUID v1 to v5 without hyphens.
pub(super) fn is_resource_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    is_uuid(text)
        && bytes.get(12).is_some_and(|b| (b'1'..=b'5').contains(b))
        && bytes.get(16).is_some_and(|b| b"89ab".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_the_key_alone_and_never_meet() {
        let key = Uuid::from_u128(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        let ids = job_ids(key);
        assert_eq!(ids, job_ids(key));
        assert_eq!(ids[0], "0af7651916cd43dd8448eb211c80319c");
        let resources: Vec<_> = (1..4)
            .flat_map(|attempt| (0..JOB_IDS).map(move |nth| resource_uuid(key, attempt, nth)))
            .collect();
        let mut all: Vec<_> = ids.iter().chain(&resources).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), JOB_IDS + 9);
        for id in all {
            assert!(is_resource_uuid(id), "{id}");
        }
    }

    #[test]
    fn only_versions_one_to_five_pass() {
        assert!(is_resource_uuid("932696598b64375ea4ae6226cc0c1407"));
        assert!(!is_resource_uuid("0197f36d8b64775ea4ae6226cc0c1407"), "v7");
        assert!(!is_resource_uuid("932696598b64375ec4ae6226cc0c1407"), "variant");
        assert!(!is_resource_uuid("932696598B64375EA4AE6226CC0C1407"), "upper case");
        assert!(!is_resource_uuid("93269659-8b64-375e-a4ae-6226cc0c1407"), "hyphens");
    }
}
