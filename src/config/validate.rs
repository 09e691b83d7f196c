//! Checks the merged layers whole and names every fault, each by its full key.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::fault::Fault;
use super::layers::{Layers, Origin};
use super::{Config, ProviderConfig, grace, secrets};
use crate::api::settings::GrpcSettings;
use crate::domain::id::ProviderId;
use crate::engine::settings::EngineSettings;
use crate::kit::seal::Sealer;
use crate::kit::secret::Secret;
use crate::kit::table::{self, Misread, Rule};
use crate::store::settings::{StoreSettings, carries_password};
use crate::telemetry::settings::Otlp;
use crate::vendors::settings::{COMMON_KEYS, CommonSettings, VendorEntry};
use crate::vendors::{self, VENDORS};

/// See [`Check::shared_leases`].
const SHORTEST_SHARED_LEASE_MS: u64 = 3_000;
/// The sections, in the order of the example file.
const SECTIONS: &[&str] = &["grpc", "admin", "store", "engine", "secrets", "telemetry", "providers"];
/// The secret keys of `[secrets]`.
pub(super) const SECRET_KEYS: &[&str] = &["password_key"];
/// The secret keys of `[store]`.
const STORE_SECRET_KEYS: &[&str] = &["url"];

/// What is left of `[secrets]` once its files are read.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SecretsSettings {
    password_key: Option<String>,
}

/// Checks everything. `faults` holds what was found while reading.
pub(super) fn check(layers: Layers, otlp: Otlp, faults: Vec<Fault>) -> Result<Config, Vec<Fault>> {
    let mut check = Check { layers, faults, warnings: Vec::new() };
    let grpc = check.section("grpc", |grpc: &GrpcSettings| {
        let mut faults: Vec<_> = grpc.faults().into_iter().map(|fault| (fault.key, fault.message)).collect();
        if let Some(tls) = &grpc.tls {
            for (key, file) in [("tls.cert_file", &tls.cert_file), ("tls.key_file", &tls.key_file)] {
                if let Err(error) = std::fs::File::open(file) {
                    faults.push((key, format!("{} cannot be read: {error}", file.display())));
                }
            }
        }
        faults
    });
    let admin = check.section("admin", crate::app::admin::AdminSettings::faults);
    let store = check.store();
    let engine = check.section("engine", EngineSettings::faults);
    let telemetry = check.section("telemetry", crate::telemetry::settings::TelemetrySettings::faults);
    let sealer = check.sealer();
    let shared = store.as_ref().is_some_and(StoreSettings::is_postgres);
    if shared {
        check.shared_key(sealer.is_some());
        check.shared_leases(engine.as_ref());
    }
    let lease = engine.as_ref().filter(|_| shared).map(|engine| Duration::from_millis(engine.lease_ms));
    let providers = check.providers(lease);
    check.nothing_is_left();

    let Check { mut faults, warnings, .. } = check;
    if let (true, Some(grpc), Some(admin), Some(store), Some(engine), Some(telemetry)) =
        (faults.is_empty(), grpc, admin, store, engine, telemetry)
    {
        return Ok(Config { grpc, admin, store, engine, telemetry, otlp, sealer, providers, warnings });
    }
    faults.sort_by(|a, b| (&a.key, &a.variable).cmp(&(&b.key, &b.variable)));
    faults.dedup();
    Err(faults)
}

struct Check {
    layers: Layers,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

impl Check {
    fn fault(&mut self, path: &[String], message: impl Into<String>) {
        let variable = match self.layers.origin(path) {
            Origin::Variable(name) => Some(name.clone()),
            Origin::File | Origin::Given => None,
        };
        self.faults.push(Fault { key: table::dotted(path), variable, message: message.into() });
    }

    /// A fault at `key` (dots between its parts) below `path`.
    fn fault_below(&mut self, path: &[String], key: &str, message: impl Into<String>) {
        let path = path.iter().cloned().chain(key.split('.').map(ToOwned::to_owned)).collect::<Vec<_>>();
        self.fault(&path, message);
    }

    /// Takes a section out as a table; an absent one is empty.
    fn table(&mut self, name: &str) -> Table {
        match self.layers.take(name) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.fault(&[name.to_owned()], format!("must be a table: `[{name}]`"));
                Table::new()
            }
        }
    }

    fn section<T: DeserializeOwned>(
        &mut self,
        name: &str,
        faults: impl Fn(&T) -> Vec<(&'static str, String)>,
    ) -> Option<T> {
        let table = self.table(name);
        self.section_of(name, table, faults)
    }

    fn section_of<T: DeserializeOwned>(
        &mut self,
        name: &str,
        table: Table,
        faults: impl Fn(&T) -> Vec<(&'static str, String)>,
    ) -> Option<T> {
        let path = [name.to_owned()];
        let (value, misread) = table::read::<T>(table);
        // A value that was repaired for reading on must not be blamed for what the repair did.
        let told: Vec<String> = misread.iter().map(Misread::key).collect();
        self.misread(&path, misread, &[]);
        for (key, message) in value.as_ref().map(faults).unwrap_or_default() {
            if !told.iter().any(|t| t == key) {
                self.fault_below(&path, key, message);
            }
        }
        value
    }

    fn misread(&mut self, path: &[String], misread: Vec<Misread>, secret_keys: &[&str]) {
        for fault in misread {
            let secret = fault.path.iter().any(|key| secret_keys.contains(&key.as_str()));
            let message = match &fault.rule {
                // Serde's own words repeat the value.
                Rule::Unfit(_) if secret => "must be text".to_owned(),
                Rule::Unfit(_) | Rule::Unknown { .. } | Rule::Missing => fault.message(),
            };
            let path: Vec<String> = path.iter().cloned().chain(fault.path).collect();
            self.fault(&path, message);
        }
    }

    fn secrets(&mut self, table: &mut Table, path: &[String], keys: &[&str]) {
        let said = secrets::resolve(table, path, keys, &self.layers);
        self.warnings.extend(said.warnings);
        for (key, message) in said.faults {
            self.fault_below(path, &key, message);
        }
    }

    /// The store's url is a secret only when a password stands in it.
    fn store(&mut self) -> Option<StoreSettings> {
        let mut table = self.table("store");
        let secret = table.get("url").and_then(Value::as_str).is_some_and(carries_password);
        if secret || table.contains_key("url_file") {
            self.secrets(&mut table, &["store".to_owned()], STORE_SECRET_KEYS);
        }
        self.section_of("store", table, |store: &StoreSettings| {
            store.faults().into_iter().map(|fault| (fault.key, fault.message)).collect()
        })
    }

    /// With replicas, a password that one accepted another may have to send.
    fn shared_key(&mut self, given: bool) {
        let told = self.faults.iter().any(|fault| fault.key.starts_with("secrets"));
        if !given && !told {
            self.fault_below(
                &["secrets".to_owned()],
                "password_key_file",
                "must be given when `store.url` is a PostgreSQL database, the same on every replica: another replica \
                 may have to send a password that this one accepted",
            );
        }
    }

    /// A replica that is stopped in the middle of a transaction is cut off after two seconds: leases must be longer.
    fn shared_leases(&mut self, engine: Option<&EngineSettings>) {
        if engine.is_some_and(|engine| engine.lease_ms < SHORTEST_SHARED_LEASE_MS) {
            self.fault_below(
                &["engine".to_owned()],
                "lease_ms",
                format!(
                    "must be at least {SHORTEST_SHARED_LEASE_MS} when `store.url` is a PostgreSQL database"
                ),
            );
        }
    }

    fn sealer(&mut self) -> Option<Sealer> {
        let path = ["secrets".to_owned()];
        let mut table = self.table("secrets");
        self.secrets(&mut table, &path, SECRET_KEYS);
        let (value, misread) = table::read::<SecretsSettings>(table);
        self.misread(&path, misread, SECRET_KEYS);
        match Sealer::from_base64(&Secret::from(value?.password_key?)) {
            Ok(sealer) => Some(sealer),
            Err(error) => {
                self.fault_below(&path, "password_key", error.to_string());
                None
            }
        }
    }

    fn providers(&mut self, lease: Option<Duration>) -> Vec<ProviderConfig> {
        let table = self.table("providers");
        if table.is_empty() {
            self.fault(
                &["providers".to_owned()],
                "there is none; Drydock needs at least one table `[providers.<id>]`",
            );
        }
        table.into_iter().filter_map(|(id, table)| self.provider(&id, table, lease)).collect()
    }

    fn provider(&mut self, id: &str, table: Value, lease: Option<Duration>) -> Option<ProviderConfig> {
        let path = ["providers".to_owned(), id.to_owned()];
        let Value::Table(mut own) = table else {
            self.fault(&path, format!("must be a table: `[providers.{id}]`"));
            return None;
        };
        let provider = ProviderId::parse(id).map_err(|rule| self.fault(&path, rule.to_string())).ok();
        let entry = self.vendor(&path, own.remove("vendor"));
        let mut common = Table::new();
        for key in COMMON_KEYS {
            if let Some(value) = own.remove(*key) {
                common.insert((*key).to_owned(), value);
            }
        }
        let (common, misread) = table::read::<CommonSettings>(common);
        let told: Vec<String> = misread.iter().map(Misread::key).collect();
        self.misread(&path, misread, &[]);
        if let Some(common) = &common {
            for fault in common.faults() {
                if !told.contains(&fault.key) {
                    self.fault_below(&path, &fault.key, fault.message);
                }
            }
        }
        // Which keys are left and what they may hold, only the vendor knows.
        let (mut common, entry) = (common?, entry?);
        if let Some(told) = grace::raise(&mut common.limits, lease) {
            self.warnings.push(format!("{}: {told}", table::dotted(&path)));
        }
        self.secrets(&mut own, &path, entry.secret_keys);
        let build = match (entry.configure)(&common, own) {
            Ok(build) => build,
            Err(faults) => {
                for fault in faults {
                    self.vendor_fault(&path, &fault.key, fault.message);
                }
                return None;
            }
        };
        Some(ProviderConfig { id: provider?, vendor: entry.name, common, build })
    }

    /// A vendor's own fault. It need not repeat what was said about a secret already.
    fn vendor_fault(&mut self, path: &[String], key: &str, message: String) {
        let full = format!("{}.{key}", table::dotted(path));
        let told = |fault: &Fault| fault.key == full || fault.key == format!("{full}_file");
        if !self.faults.iter().any(told) {
            self.fault_below(path, key, message);
        }
    }

    fn vendor(&mut self, path: &[String], name: Option<Value>) -> Option<&'static VendorEntry> {
        let known: Vec<&str> = VENDORS.iter().map(|entry| entry.name).collect();
        let list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match name {
            None => self.fault_below(path, "vendor", format!("must be given: {list}")),
            Some(Value::String(name)) => match vendors::entry(&name) {
                Some(entry) => return Some(entry),
                None => {
                    let near = table::nearest(&name, known.iter().copied());
                    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                    self.fault_below(path, "vendor", format!("must be {list}; it is {name:?}{hint}"));
                }
            },
            Some(_) => self.fault_below(path, "vendor", format!("must be text: {list}")),
        }
        None
    }

    fn nothing_is_left(&mut self) {
        let left: Vec<String> = self.layers.left().cloned().collect();
        for section in left {
            let known = SECTIONS.iter().map(|&name| name.to_owned()).collect();
            let fault = Misread { path: vec![section], rule: Rule::Unknown { known } };
            let message = fault.message();
            self.fault_whole(&fault.path, message);
        }
    }

    /// A fault of a whole section: the variable is named when the section came from one variable alone.
    fn fault_whole(&mut self, path: &[String], message: String) {
        let variable = self.layers.variable_below(path).map(ToOwned::to_owned);
        self.faults.push(Fault { key: table::dotted(path), variable, message });
    }
}
