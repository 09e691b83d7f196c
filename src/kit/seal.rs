//! Sealing of secrets that must wait on disk: AES-256-GCM with a random nonce.
//!
//! Sealed text is `nonce || ciphertext || tag`. The associated data binds it to its owner, so that sealed
//! bytes copied onto another row do not open there.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use zeroize::Zeroizing;

use super::secret::{ExposeSecret, Secret};

/// Seals and opens with one 256-bit key.
pub struct Sealer(LessSafeKey);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

/// Why sealing or opening failed. Says nothing about the content.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// The key text is not base64 of exactly 32 bytes.
    #[error("the key must be 32 bytes in base64 (for example from `openssl rand -base64 32`)")]
    BadKey,
    /// The bytes were not sealed by this key for this owner, or were changed.
    #[error("the sealed secret cannot be opened with the configured key")]
    CannotOpen,
    /// The cryptographic library refused to seal.
    #[error("the secret could not be sealed")]
    CannotSeal,
}

impl Sealer {
    /// A sealer from a base64 key of 32 bytes.
    pub fn from_base64(key: &Secret) -> Result<Self, SealError> {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(key.expose_secret().trim())
            .map(Zeroizing::new)
            .map_err(|_| SealError::BadKey)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| SealError::BadKey)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals `secret` for `owner`.
    pub fn seal(&self, secret: &Secret, owner: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut text = secret.expose_secret().as_bytes().to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(owner), &mut text)
            .map_err(|_| SealError::CannotSeal)?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Opens what [`Sealer::seal`] made for the same `owner`.
    pub fn open(&self, sealed: &[u8], owner: &[u8]) -> Result<Secret, SealError> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::CannotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::CannotOpen)?;
        let mut text = Zeroizing::new(text.to_vec());
        let plain =
            self.0.open_in_place(nonce, Aad::from(owner), &mut text).map_err(|_| SealError::CannotOpen)?;
        let plain = std::str::from_utf8(plain).map_err(|_| SealError::CannotOpen)?;
        Ok(Secret::from(plain.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        let key = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        Sealer::from_base64(&Secret::from(key)).unwrap()
    }

    #[test]
    fn opens_only_with_the_same_key_and_owner() {
        let sealed = sealer(1).seal(&Secret::from("hunter2"), b"job-1").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        assert_eq!(sealer(1).open(&sealed, b"job-1").unwrap().expose_secret(), "hunter2");
        assert_eq!(sealer(1).open(&sealed, b"job-2").unwrap_err(), SealError::CannotOpen);
        assert_eq!(sealer(2).open(&sealed, b"job-1").unwrap_err(), SealError::CannotOpen);
        assert_eq!(sealer(1).open(&sealed[..5], b"job-1").unwrap_err(), SealError::CannotOpen);
    }

    #[test]
    fn refuses_a_short_key() {
        let key = base64::engine::general_purpose::STANDARD.encode([7; 16]);
        assert_eq!(Sealer::from_base64(&Secret::from(key)).unwrap_err(), SealError::BadKey);
    }
}
