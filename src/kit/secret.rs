//! A secret is a type from the first byte to the header that carries it.
//!
//! [`Secret`] cannot be printed or serialised; the one way to its text is [`ExposeSecret::expose_secret`],
//! which is easy to grep for. Its memory is wiped when it is dropped.

pub use secrecy::ExposeSecret;

/// A password, token or key. `Debug` prints a placeholder; there is no `Display` and no `Serialize`.
pub type Secret = secrecy::SecretString;
