//! Brings each secret from where it is kept to the key that its room reads.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml::{Table, Value};

use super::layers::{Layers, Origin};

/// The largest secret file that is read.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// What is to be said about the secrets of one table: faults by key, and warnings.
#[derive(Default)]
pub(super) struct Said {
    pub(super) faults: Vec<(String, String)>,
    pub(super) warnings: Vec<String>,
}

/// Puts each secret of `table` (found at `path`) under its own key: `{key}_file` is read and replaced by `key`.
/// A secret that stands in the configuration file is refused, and is taken out so that nothing later repeats it.
pub(super) fn resolve(table: &mut Table, path: &[String], secret_keys: &[&str], layers: &Layers) -> Said {
    let mut said = Said::default();
    for key in secret_keys {
        let file_key = format!("{key}_file");
        let origin_of = |key: &str| {
            let mut path = path.to_vec();
            path.push(key.to_owned());
            layers.origin(&path)
        };
        let from_file = table.remove(&file_key);
        if let Some(secret) = table.get_mut(*key) {
            match origin_of(key) {
                Origin::File => {
                    table.remove(*key);
                    said.faults.push(((*key).to_owned(), not_in_the_file(path, key)));
                }
                Origin::Variable(_) | Origin::Given => {
                    // The nearer one wins, as for every other key; both from the environment is a mistake.
                    if from_file.is_some() && matches!(origin_of(&file_key), Origin::Variable(_)) {
                        said.faults.push((file_key, format!("give either this or `{key}`, not both")));
                    }
                    if let Value::String(text) = secret
                        && text.is_empty()
                    {
                        table.remove(*key);
                        said.faults.push(((*key).to_owned(), "must not be empty".to_owned()));
                    }
                }
            }
            continue;
        }
        let Some(file) = from_file else { continue };
        let Value::String(file) = file else {
            said.faults.push((file_key, "must be the path of a file".to_owned()));
            continue;
        };
        match read(Path::new(&file)) {
            Ok((secret, readable_by_all)) => {
                if readable_by_all {
                    said.warnings.push(format!(
                        "{}.{file_key}: every user of this machine can read {file}; take that right away (`chmod o-r`)",
                        crate::kit::table::dotted(path)
                    ));
                }
                table.insert((*key).to_owned(), Value::String(secret));
            }
            Err(message) => said.faults.push((file_key, message)),
        }
    }
    said
}

fn not_in_the_file(path: &[String], key: &str) -> String {
    let variable = super::load::variable(path, key);
    format!(
        "a secret must not stand in the configuration file; put it into a file of its own and give `{key}_file`, \
         or set {variable}"
    )
}

/// Reads a secret file: its text without the line end, and whether every user can read it.
fn read(path: &Path) -> Result<(String, bool), String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let readable_by_all = readable_by_all(&file);
    let mut text = String::new();
    file.take(MAX_SECRET_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("{shown} cannot be read as text: {error}"))?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(format!("{shown} is larger than {MAX_SECRET_BYTES} bytes; is it the right file?"));
    }
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
    if secret.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    Ok((secret.to_owned(), readable_by_all))
}

#[cfg(unix)]
fn readable_by_all(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn readable_by_all(_: &File) -> bool {
    false
}
