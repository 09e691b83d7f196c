//! Passwords that wait to be sent: sealed in the store when a key is configured, else in memory only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::id::JobId;
use crate::domain::job::PasswordState;
use crate::kit::seal::{SealError, Sealer};
use crate::kit::secret::Secret;
use crate::store::{Store, StoreError};

/// Keeps waiting passwords.
#[derive(Debug)]
pub struct Vault {
    sealer: Option<Sealer>,
    memory: Mutex<HashMap<JobId, Secret>>,
}

/// A kept password: what the job's row must remember of it.
pub struct Kept {
    /// Where it is.
    pub state: PasswordState,
    /// The sealed bytes for the store, when it is sealed.
    pub sealed: Option<Vec<u8>>,
}

impl Vault {
    /// A vault; without a sealer passwords stay in memory.
    pub fn new(sealer: Option<Sealer>) -> Self {
        Self { sealer, memory: Mutex::default() }
    }

    /// Keeps a password for a job that is about to be accepted. Without the store's consent to the job, call
    /// [`Vault::forget`].
    pub fn keep(&self, job: JobId, password: Option<Secret>) -> Result<Kept, SealError> {
        let Some(password) = password else {
            return Ok(Kept { state: PasswordState::None, sealed: None });
        };
        match &self.sealer {
            Some(sealer) => {
                let sealed = sealer.seal(&password, job.uuid().as_bytes())?;
                Ok(Kept { state: PasswordState::Sealed, sealed: Some(sealed) })
            }
            None => {
                self.memory.lock().unwrap_or_else(PoisonError::into_inner).insert(job, password);
                Ok(Kept { state: PasswordState::InMemory, sealed: None })
            }
        }
    }

    /// Forgets a password kept in memory.
    pub fn forget(&self, job: JobId) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
    }

    /// The password of a job. `Ok(Err(Gone))`: it had one, and it cannot be had any more.
    pub async fn fetch(
        &self,
        store: &dyn Store,
        job: JobId,
        state: PasswordState,
    ) -> Result<Result<Option<Secret>, Gone>, StoreError> {
        match state {
            PasswordState::None => Ok(Ok(None)),
            PasswordState::InMemory => {
                let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(memory.get(&job).cloned().map(Some).ok_or(Gone))
            }
            PasswordState::Sealed => {
                let Some(sealer) = &self.sealer else { return Ok(Err(Gone)) };
                let Some(sealed) = store.sealed_password(job).await? else { return Ok(Err(Gone)) };
                Ok(sealer.open(&sealed, job.uuid().as_bytes()).map(Some).map_err(|_| Gone))
            }
            PasswordState::Erased => Ok(Err(Gone)),
        }
    }
}

/// The password is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;
