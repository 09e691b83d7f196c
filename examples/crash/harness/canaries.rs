//! Secrets that must be nowhere, and where they were found.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The secrets of one round. Clones share what was found.
#[derive(Clone, Default)]
pub struct Canaries {
    secrets: Arc<Vec<(String, String)>>,
    found: Arc<Mutex<Vec<String>>>,
}

impl Canaries {
    /// Looks for these: what each is, and its text.
    pub fn new(secrets: Vec<(String, String)>) -> Self {
        Self { secrets: Arc::new(secrets), found: Arc::default() }
    }

    /// Looks into something that was answered.
    pub fn look_at(&self, place: &str, what: &impl std::fmt::Debug) {
        self.look(place, format!("{what:?}").as_bytes());
    }

    /// Looks into every file below a folder.
    pub fn look_below(&self, folder: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.look_below(&path)?;
            } else {
                self.look(&path.display().to_string(), &std::fs::read(&path)?);
            }
        }
        Ok(())
    }

    /// Looks into bytes.
    pub fn look(&self, place: &str, bytes: &[u8]) {
        for (what, secret) in self.secrets.iter() {
            if bytes.windows(secret.len().max(1)).any(|window| window == secret.as_bytes()) {
                let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                found.push(format!("{what} stands in {place}"));
            }
        }
    }

    /// What was found.
    pub fn found(&self) -> Vec<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_answers_and_in_files_of_folders() {
        let canaries = Canaries::new(vec![("the password".to_owned(), "hunter2".to_owned())]);
        canaries.look_at("an answer", &"nothing");
        assert!(canaries.found().is_empty());
        canaries.look_at("an answer", &vec!["x hunter2 y"]);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        std::fs::write(folder.path().join("logs/a.json"), b"\0\0hunter2\0").unwrap();
        canaries.look_below(folder.path()).unwrap();
        assert_eq!(canaries.found().len(), 2, "{:?}", canaries.found());
    }
}
