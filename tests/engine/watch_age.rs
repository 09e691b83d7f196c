//! The server itself ends watches at some age, each at its own, so that their clients do not all come back at once.

use std::collections::BTreeSet;
use std::time::Duration;

use drydock::domain::error::Error;
use drydock::engine::EngineSettings;
use drydock::engine::calls::{WatchBody, WatchRequest};
use futures_util::{FutureExt as _, StreamExt as _};

use crate::stage::Stage;

#[tokio::test]
async fn watches_end_at_an_age_spread_by_a_tenth() {
    let stage = Stage::new().await;
    let settings =
        EngineSettings { watch_max_age_ms: 1_000_000, lease_ms: 600_000, ..EngineSettings::default() };
    let engine = stage.replica_with(settings).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(engine.watch(WatchRequest::default()).await.unwrap());
    }
    let step = Duration::from_secs(10);
    let mut ages = Vec::new();
    for passed in 1..=120 {
        stage.pass(step, step).await;
        let mut still = Vec::new();
        for mut watch in open {
            let end = loop {
                match watch.next().now_or_never() {
                    None => break None,
                    Some(Some(Ok(item))) => {
                        assert!(matches!(item.body, WatchBody::Heartbeat) && item.resume_token.is_some());
                    }
                    Some(end) => break Some(end.map(Result::unwrap_err)),
                }
            };
            match end {
                None => still.push(watch),
                Some(end) => {
                    assert_eq!(end, Some(Error::WatchAged));
                    assert!(watch.next().await.is_none());
                    ages.push(step * passed);
                }
            }
        }
        open = still;
    }
    assert_eq!(ages.len(), 20, "all have ended");
    let (least, most) = (Duration::from_secs(900), Duration::from_secs(1_110));
    assert!(ages.iter().all(|age| (least..=most).contains(age)), "{ages:?}");
    assert!(ages.iter().collect::<BTreeSet<_>>().len() >= 3, "not all at once: {ages:?}");
}
