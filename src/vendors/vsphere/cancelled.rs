//! After our cancel, a task that ended FAILED: the cancel's doing, or a failure of its own?
//!
//! vCenter has no status for "cancelled", and which error type a cancelled upgrade ends with could not be verified. So a
//! reason that names a cancel is one; a reason that names something else is a failure, cancel or not; and with no reason
//! at all, the target tells: ready on its old version, the upgrade was called off.

use super::judge::{Mood, Stand, Terms, lasted, mood};
use super::map::{Outcome, Sight, task_error};
use super::notes::Notes;
use super::wire::{ErrorBody, Localizable};

/// What became of a task that ended FAILED after a cancel was asked for. `result_read`: the task was read with its
/// result, where a reason may stand as well.
pub(super) fn after_cancel(
    sight: Sight<'_>,
    result_read: bool,
    notes: &mut Notes,
    terms: Terms<'_>,
) -> Outcome {
    if let Some(reason) = task_error(sight.task).filter(says_anything) {
        return if names_a_cancel(&reason) { Outcome::TaskCancelled } else { Outcome::TaskFailed };
    }
    if !result_read {
        return Outcome::Target(Stand::Open);
    }
    let target = sight.summary;
    let current = target.and_then(|s| s.current_version.as_deref());
    match mood(target.and_then(|s| s.state.as_deref())) {
        Mood::Ready if current.is_some_and(|version| version != terms.desired) => Outcome::TaskEndedByCancel,
        // It has what was asked for, or needs a person: no cancel leaves a target like that.
        Mood::Ready if current.is_some() => Outcome::TaskFailed,
        Mood::Error => Outcome::TaskFailed,
        // Being put back, or not known: not yet.
        Mood::Ready | Mood::Busy | Mood::Unknown if !lasted(notes, terms) => Outcome::Target(Stand::Open),
        Mood::Ready | Mood::Busy | Mood::Unknown => Outcome::TaskFailed,
    }
}

fn says_anything(reason: &ErrorBody) -> bool {
    reason.error_type.is_some() || reason.messages.iter().any(|message| !message.text().is_empty())
}

/// Both spellings, in the type, an id or a text.
fn names_a_cancel(reason: &ErrorBody) -> bool {
    let ids = reason.messages.iter().filter_map(|message| message.id.as_deref());
    let texts = reason.messages.iter().map(Localizable::text);
    reason
        .error_type
        .as_deref()
        .into_iter()
        .chain(ids)
        .chain(texts)
        .any(|words| words.to_ascii_lowercase().contains("cancel"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::vendors::vsphere::wire::{Summary, Task, read};

    const OLD: &str = "v1.29.7";
    const NEW: &str = "v1.30.5";

    fn judged(
        task: Value,
        state: &str,
        version: &str,
        result_read: bool,
        second: i64,
        notes: &mut Notes,
    ) -> Outcome {
        let mut task: Task = read(&task).unwrap();
        task.status = Some("FAILED".to_owned());
        let summary: Summary = read(&json!({"state": state, "current_version": version})).unwrap();
        let now = Timestamp::from_second(second).unwrap();
        let terms = Terms { desired: NEW, now, settle: Duration::from_secs(300), cancel_requested: true };
        after_cancel(
            Sight { summary: Some(&summary), info: None, task: Some(&task) },
            result_read,
            notes,
            terms,
        )
    }

    fn once(task: Value, state: &str, version: &str) -> Outcome {
        judged(task, state, version, true, 0, &mut Notes::default())
    }

    #[test]
    fn a_reason_decides_whatever_the_target_shows() {
        let text = json!({"error": {"error_type": "ERROR", "messages": [{"default_message": "Cancelled by the user."}]}});
        assert_eq!(once(text.clone(), "ERROR", OLD), Outcome::TaskCancelled);
        assert_eq!(judged(text, "READY", OLD, false, 0, &mut Notes::default()), Outcome::TaskCancelled);
        let real =
            json!({"error": {"error_type": "ERROR", "messages": [{"default_message": "No space on cp-2."}]}});
        assert_eq!(once(real, "READY", OLD), Outcome::TaskFailed);
        let hidden = json!({"result": {"messages": [{"default_message": "No space on cp-2."}]}});
        assert_eq!(once(hidden, "READY", OLD), Outcome::TaskFailed);
    }

    #[test]
    fn without_a_reason_the_target_tells_and_nothing_is_guessed_early() {
        let silent = || json!({"error": {"messages": []}});
        assert_eq!(once(silent(), "READY", OLD), Outcome::TaskEndedByCancel);
        assert_eq!(once(json!({}), "READY", OLD), Outcome::TaskEndedByCancel);
        assert_eq!(once(silent(), "READY", NEW), Outcome::TaskFailed);
        assert_eq!(once(silent(), "ERROR", OLD), Outcome::TaskFailed);
        let open = Outcome::Target(Stand::Open);
        assert_eq!(judged(json!({}), "READY", OLD, false, 0, &mut Notes::default()), open);
        let mut notes = Notes::default();
        assert_eq!(judged(silent(), "INPROGRESS", OLD, true, 0, &mut notes), open);
        assert_eq!(judged(silent(), "INPROGRESS", OLD, true, 301, &mut notes), Outcome::TaskFailed);
    }
}
