//! The configuration: defaults, below a TOML file, below the environment, below what the program itself gives.
//!
//! * [`load`] is the one place that reads the environment.
//! * [`validate`] names every fault at once, each by its full key.
//! * Each room's section is defined beside that room's code: `api::settings`, `store::settings`, and so on.
//!
//! A secret never stands in the file: it comes from the environment, or from a file of its own named by
//! `{key}_file`. The layers are merged here by hand, because two rules need to know where each value came from.

pub mod fault;
mod grace;
mod layers;
pub mod load;
mod secrets;
mod texts;
pub mod validate;

use crate::api::settings::GrpcSettings;
use crate::app::admin::AdminSettings;
use crate::domain::id::ProviderId;
use crate::engine::settings::EngineSettings;
use crate::kit::seal::Sealer;
use crate::store::settings::StoreSettings;
use crate::telemetry::settings::{Otlp, TelemetrySettings};
use crate::vendors::settings::{Build, CommonSettings};

/// A configuration without faults.
#[derive(Debug)]
pub struct Config {
    /// The gRPC door.
    pub grpc: GrpcSettings,
    /// The admin door.
    pub admin: AdminSettings,
    /// Where jobs are kept.
    pub store: StoreSettings,
    /// How jobs are driven and watched.
    pub engine: EngineSettings,
    /// Logs, traces, metrics.
    pub telemetry: TelemetrySettings,
    /// What is exported by OTLP.
    pub otlp: Otlp,
    /// Seals passwords that must wait; without it they are kept in memory only.
    pub sealer: Option<Sealer>,
    /// The providers, in the order of their ids; at least one.
    pub providers: Vec<ProviderConfig>,
    /// What is allowed but worth a word at start-up.
    pub warnings: Vec<String>,
}

/// A provider, checked and ready to be built.
pub struct ProviderConfig {
    /// Its id.
    pub id: ProviderId,
    /// The vendor's name.
    pub vendor: &'static str,
    /// What every provider has.
    pub common: CommonSettings,
    /// Builds the vendor from its own settings, which hold the credentials.
    pub build: Build,
}

impl std::fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderConfig")
            .field("id", &self.id)
            .field("vendor", &self.vendor)
            .field("common", &self.common)
            .finish_non_exhaustive()
    }
}
