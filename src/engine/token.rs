//! Resume tokens: where a watch stands, as opaque text that any replica on the same store understands.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::domain::error::Error;

const VERSION: u8 = 1;

/// A place between two commits of one store. Written as text only where text is needed: most messages share theirs.
///
/// It holds no filter: a token says how far its stream had come, whatever the stream was about, so it may be used with
/// another filter and then means "all that matches from here on".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeToken {
    store: Uuid,
    position: u64,
}

impl ResumeToken {
    /// The place after `position` in the store `store`.
    pub const fn new(store: Uuid, position: u64) -> Self {
        Self { store, position }
    }

    /// Reads a token of the store `store`.
    ///
    /// # Errors
    /// `ResumeTokenInvalid` for anything that was not made for this store.
    pub fn read(store: Uuid, token: &str) -> Result<Self, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::ResumeTokenInvalid)?;
        let (&[VERSION], rest) = bytes.split_first_chunk::<1>().ok_or(Error::ResumeTokenInvalid)? else {
            return Err(Error::ResumeTokenInvalid);
        };
        let (id, position) = rest.split_first_chunk::<16>().ok_or(Error::ResumeTokenInvalid)?;
        if Uuid::from_bytes(*id) != store {
            return Err(Error::ResumeTokenInvalid);
        }
        let position: [u8; 8] = position.try_into().map_err(|_| Error::ResumeTokenInvalid)?;
        Ok(Self { store, position: u64::from_be_bytes(position) })
    }

    /// Another place in the same store.
    pub const fn at(self, position: u64) -> Self {
        Self { position, ..self }
    }

    /// The position after which it resumes.
    pub const fn position(&self) -> u64 {
        self.position
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [VERSION; 25];
        bytes[1..17].copy_from_slice(self.store.as_bytes());
        bytes[17..].copy_from_slice(&self.position.to_be_bytes());
        let mut text = [0; 34];
        let length = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(text.get(..length).and_then(|t| std::str::from_utf8(t).ok()).ok_or(fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_on_the_same_store_only() {
        let (here, there) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let token = ResumeToken::new(here, 42).to_string();
        assert_eq!(ResumeToken::read(here, &token), Ok(ResumeToken::new(here, 42)));
        assert_eq!(ResumeToken::read(there, &token), Err(Error::ResumeTokenInvalid));
        for bad in ["", "x", "AAAA", &token[..10], &format!("{token}AA")] {
            assert_eq!(ResumeToken::read(here, bad), Err(Error::ResumeTokenInvalid), "{bad}");
        }
    }
}
