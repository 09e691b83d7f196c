//! How long "it did not arrive" is not believed, at the least.
//!
//! Who looks a lost start up must not send it again while the first request can still arrive. Of one's own call only what
//! lies in the kernel is left. A replica that took a provider over knows less: the earlier holder's last call may have
//! begun just before its permit ended.

use std::time::Duration;

use crate::vendors::settings::Limits;

/// Raises `limits.lost_answer_grace_ms` to what is safe, and the limit with it. `lease` is given where another replica may
/// have driven the provider. The answer tells a person of it.
pub(super) fn raise(limits: &mut Limits, lease: Option<Duration>) -> Option<String> {
    let (least, why) = match lease {
        Some(lease) => (
            limits.over_after().saturating_add(lease),
            "`limits.request_timeout_ms` + `limits.connect_timeout_ms` + `engine.lease_ms`: until then a start that \
             another replica sent may still arrive",
        ),
        None => (
            limits.unacknowledged(),
            "`limits.connect_timeout_ms`: until then a start may still be on its way",
        ),
    };
    let least = u64::try_from(least.as_millis()).unwrap_or(u64::MAX);
    let set = limits.lost_answer_grace_ms;
    if set >= least {
        return None;
    }
    limits.lost_answer_grace_ms = least;
    limits.lost_answer_limit_ms = limits.lost_answer_limit_ms.max(least);
    Some(format!("`limits.lost_answer_grace_ms` is {set}, and {least} is used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    #[test]
    fn the_defaults_are_long_enough() {
        let mut limits = Limits::default();
        assert_eq!(raise(&mut limits, None), None);
        assert_eq!(raise(&mut limits, Some(LEASE)), None);
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn a_start_of_an_earlier_holder_is_over_before_it_is_sent_again() {
        let slow = Limits { request_timeout_ms: 600_000, lost_answer_limit_ms: 90_000, ..Limits::default() };
        let mut limits = slow;
        let told = raise(&mut limits, Some(LEASE)).unwrap();
        assert_eq!(limits.lost_answer_grace_ms, 600_000 + 5_000 + 10_000);
        assert!(limits.lost_answer_limit_ms >= limits.lost_answer_grace_ms);
        for key in ["lost_answer_grace_ms", "limits.request_timeout_ms", "engine.lease_ms", "615000"] {
            assert!(told.contains(key), "{told}");
        }
        // Where one process has the store, no call of an earlier one outlives it.
        assert_eq!(raise(&mut slow.clone(), None), None);
    }

    #[test]
    fn what_lies_in_the_kernel_is_waited_for() {
        let mut limits = Limits { lost_answer_grace_ms: 10, ..Limits::default() };
        assert!(raise(&mut limits, None).is_some());
        assert_eq!(limits.lost_answer_grace_ms, limits.connect_timeout_ms);
    }
}
