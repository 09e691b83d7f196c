//! A canary password and canary credentials: nowhere in logs, database, metrics, events or errors.

use drydock::api::pb;
use drydock::simulators::zstack::{self, SimZstack};
use drydock::simulators::{Fault, Route, Simulator, avisi, huawei, vsphere};
use drydock::vendors;

use crate::collector::Collector;
use crate::gateway::{Gateway, quick};

const PASSWORD: &str = "Canary=7f3a.Reinstall";

#[tokio::test(flavor = "multi_thread")]
async fn canaries_are_nowhere() {
    let collector = Collector::start().await;
    let (metal, cloud) = (huawei::start(quick(4)).await.unwrap(), SimZstack::start(quick(2)).await.unwrap());
    let (virtual_, managed) =
        (vsphere::start(quick(2)).await.unwrap(), avisi::start(quick(2)).await.unwrap());
    let simulators: [(&str, &dyn Simulator); 4] =
        [("hw", &metal), ("zs", &cloud), ("vc", &virtual_), ("av", &managed)];
    let mut gateway = Gateway::configure(&simulators)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address))
        .env("OTEL_BSP_SCHEDULE_DELAY", "100");
    gateway.up().await;
    // Faults make errors, and errors like to quote.
    metal.faults().arm(Some(Route::Submit), Fault::HtmlAfter(502), 1);
    metal.faults().arm(Some(Route::Login), Fault::Truncated, 1);
    cloud.faults().arm(Some(Route::Login), Fault::HtmlBefore(500), 1);
    let reinstall = |password: &str| pb::ReinstallInstancesRequest {
        targets: (0..3).map(|n| format!("providers/hw/instances/{}", huawei::instance_id(n))).collect(),
        password: password.to_owned(),
        ..Default::default()
    };
    let results =
        gateway.reinstalls().reinstall_instances(reinstall(PASSWORD)).await.unwrap().into_inner().results;
    let mut seen = format!("{results:?}");
    let upgrade = pb::UpgradeClusterRequest {
        target: format!("providers/zs/clusters/{}", zstack::target_id(0)),
        ..Default::default()
    };
    let other = gateway.upgrades().upgrade_cluster(upgrade).await.unwrap().into_inner().job.unwrap();
    let mut names = vec![other.name];
    for result in results {
        let Some(pb::start_result::Outcome::Job(job)) = result.outcome else { panic!("no job: {result:?}") };
        names.push(job.name);
    }
    for name in &names {
        seen += &format!("{:?}", gateway.ended(name).await);
        let events = pb::ListJobEventsRequest { parent: name.clone(), ..Default::default() };
        seen += &format!("{:?}", gateway.jobs().list_job_events(events).await.unwrap().into_inner());
    }
    // A refused request must not quote what it refuses.
    let weak = "Canary-weak";
    let refused = gateway.reinstalls().reinstall_instances(reinstall(&format!("{weak} "))).await.unwrap_err();
    assert!(!format!("{refused:?}").contains(weak), "{refused:?}");
    seen += &format!(
        "{:?}",
        gateway.providers().list_providers(pb::ListProvidersRequest::default()).await.unwrap()
    );
    let metrics = http_get(&format!("http://{}/metrics", gateway.admin)).await;
    assert!(metrics.contains("drydock_jobs"), "{metrics}");
    seen += &metrics;
    gateway.terminate().await;
    seen += &format!("{:?}", collector.spans());
    seen += &gateway.log();

    let mut canaries = vec![PASSWORD.to_owned(), weak.to_owned()];
    for (_, simulator) in simulators {
        let table = simulator.provider();
        let secrets = vendors::entry(simulator.vendor()).unwrap().secret_keys;
        canaries.extend(secrets.iter().filter_map(|k| table.get(*k)).map(|s| s.as_str().unwrap().to_owned()));
    }
    assert!(canaries.len() >= 6, "every vendor has a credential");
    for canary in canaries {
        assert!(!seen.contains(&canary), "{canary} was shown");
        for entry in std::fs::read_dir(gateway.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            // The files that the test itself wrote the credentials to.
            if path
                .extension()
                .is_some_and(|e| !["db", "db-wal", "db-shm", "json", "toml"].contains(&e.to_str().unwrap()))
            {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(canary.len()).any(|w| w == canary.as_bytes());
            assert!(!found, "{canary} stands in {}", path.display());
        }
    }
}

/// One GET without a client library: the admin port speaks plain HTTP/1.1.
async fn http_get(url: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
