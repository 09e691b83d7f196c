//! TLS to the database: what is encrypted, whom is trusted, and what is told when it is not.

use std::path::PathBuf;

use drydock::store::postgres::PostgresStore;
use drydock::store::settings::StoreSettings;
use drydock::store::{Leases as _, Store as _, StoreError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::Postgres;
use super::opening::{CANARY, refusal};
use super::support::server::Server;
use super::support::with_password;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server whose certificate is for `localhost` alone, and a database on it.
struct Secured {
    folder: tempfile::TempDir,
    database: Postgres,
    _server: Server,
}

impl Secured {
    async fn start() -> Self {
        let (folder, trusted) = (tempfile::tempdir().unwrap(), authority("ours"));
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &trusted).unwrap();
        let files = [
            ("server.crt", leaf.pem()),
            ("server.key", key.serialize_pem()),
            ("ca.pem", trusted.pem()),
            ("other-ca.pem", authority("theirs").pem()),
            ("namesake-ca.pem", authority("ours").pem()),
        ];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let place = folder.path().to_owned();
        let server = tokio::task::spawn_blocking(move || Server::with_certificate(&place)).await.unwrap();
        let database = Postgres::on(server.url.clone());
        database.made().await;
        Self { folder, database, _server: server }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The url by this host name, with these parameters and a password that is not asked for.
    fn url(&self, host: &str, parameters: &str) -> String {
        let place = self.database.place().replace("127.0.0.1", host);
        let url = with_password(&self.database.url(Some(&place)), &self.database.user, CANARY);
        format!("{url}?{parameters}")
    }

    /// `verify-full` against an authority's certificate.
    fn verified(&self, host: &str, authority: &str) -> String {
        self.url(host, &format!("sslmode=verify-full&sslrootcert={}", self.file(authority).display()))
    }

    /// Opens a store and uses all its connections; whether each of its sessions is encrypted.
    async fn sessions(&self, url: String) -> Vec<bool> {
        let settings = StoreSettings { url, poll_ms: Some(10), ..StoreSettings::default() };
        let store = PostgresStore::open(&settings).await.unwrap();
        let mut changes = store.lease_changes();
        store.ping().await.unwrap();
        // The listener has connected.
        tokio::time::timeout(std::time::Duration::from_secs(20), changes.changed()).await.unwrap().unwrap();
        let mut admin = self.database.admin().await;
        let found = sqlx::query_scalar(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = $1",
        );
        let found: Vec<bool> = found.bind(&self.database.user).fetch_all(&mut admin).await.unwrap();
        store.close().await;
        assert!(found.len() >= 3, "the writer, the listener, and one that reads: {found:?}");
        found
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_session_is_encrypted_where_tls_is_wanted() {
    let secured = Secured::start().await;
    let wanted = [
        secured.verified("localhost", "ca.pem"),
        // Nobody is asked who the server is.
        secured.url("127.0.0.1", "sslmode=require"),
        // The default.
        secured.url("127.0.0.1", "sslmode=prefer"),
    ];
    for url in wanted {
        let sessions = secured.sessions(url).await;
        assert!(sessions.iter().all(|encrypted| *encrypted), "{sessions:?}");
    }
    let plain = secured.sessions(secured.url("127.0.0.1", "sslmode=disable")).await;
    assert!(plain.iter().all(|encrypted| !*encrypted), "the check must be able to see it: {plain:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_prove_who_it_is_gets_no_password() {
    let secured = Secured::start().await;
    let place = secured.database.place();
    let wrong_name = secured.verified("127.0.0.1", "ca.pem");
    let advice = "must call the server by a name that its certificate is for";
    let refused = refusal(wrong_name, &["no TLS with the database at", &place, "localhost", advice]).await;
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");

    let advice = "must name the certificate of the authority that issued it";
    let others = [("other-ca.pem", "UnknownIssuer"), ("namesake-ca.pem", "BadSignature")];
    for (other, fault) in others {
        let refused = refusal(secured.verified("localhost", other), &["no TLS with", fault, advice]).await;
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    }
    // Without a file, the public authorities alone are trusted.
    refusal(secured.url("localhost", "sslmode=verify-full"), &["UnknownIssuer", advice]).await;
}
