//! Where the gateways keep their jobs: the one place of the harness that tells stores apart.

use std::path::Path;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// One file, one gateway.
    Sqlite,
}

impl Backend {
    /// How many gateways share it unless the caller says.
    pub const fn replicas(self) -> usize {
        match self {
            Self::Sqlite => 1,
        }
    }

    /// The most gateways that may share it.
    pub const fn most_replicas(self) -> usize {
        match self {
            Self::Sqlite => 1,
        }
    }

    /// The `store` section for a round that has `folder` to itself.
    pub fn section(self, folder: &Path) -> toml::Table {
        match self {
            Self::Sqlite => {
                let url = format!("sqlite://{}", folder.join("jobs.db").display());
                toml::Table::from_iter([("url".to_owned(), url.into())])
            }
        }
    }
}
