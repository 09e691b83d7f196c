//! Resume tokens: where a watch stands, as opaque text that any replica on the same store understands.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::domain::error::Error;

const VERSION: u8 = 1;

/// Writes a token for `position` in the store `store`.
pub fn write(store: Uuid, position: u64) -> String {
    let mut bytes = Vec::with_capacity(25);
    bytes.push(VERSION);
    bytes.extend_from_slice(store.as_bytes());
    bytes.extend_from_slice(&position.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a token of the store `store`.
///
/// # Errors
/// `ResumeTokenInvalid` for anything that [`write()`] did not make for this store.
pub fn read(store: Uuid, token: &str) -> Result<u64, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::ResumeTokenInvalid)?;
    let (&[VERSION], rest) = bytes.split_first_chunk::<1>().ok_or(Error::ResumeTokenInvalid)? else {
        return Err(Error::ResumeTokenInvalid);
    };
    let (id, position) = rest.split_first_chunk::<16>().ok_or(Error::ResumeTokenInvalid)?;
    if Uuid::from_bytes(*id) != store {
        return Err(Error::ResumeTokenInvalid);
    }
    let position: [u8; 8] = position.try_into().map_err(|_| Error::ResumeTokenInvalid)?;
    Ok(u64::from_be_bytes(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_on_the_same_store_only() {
        let (here, there) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let token = write(here, 42);
        assert_eq!(read(here, &token), Ok(42));
        assert_eq!(read(there, &token), Err(Error::ResumeTokenInvalid));
        for bad in ["", "x", "AAAA", &token[..10], &format!("{token}AA")] {
            assert_eq!(read(here, bad), Err(Error::ResumeTokenInvalid), "{bad}");
        }
    }
}
