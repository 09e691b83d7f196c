//! The fingerprint by which a person knows a server's certificate.

use std::fmt;

use aws_lc_rs::digest;

/// The SHA-256 of a certificate in DER: what vCenter and browsers call its SHA-256 thumbprint or fingerprint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The fingerprint of a certificate.
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        // SHA-256 always has 32 bytes.
        bytes
            .iter_mut()
            .zip(digest::digest(&digest::SHA256, der).as_ref())
            .for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// Reads 64 hex digits in any case, with or without a colon between every two of them.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits: String = if text.contains(':') {
            let pairs: Vec<_> = text.split(':').collect();
            if pairs.iter().any(|pair| pair.len() != 2) {
                return None;
            }
            pairs.concat()
        } else {
            text.to_owned()
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

/// As vCenter and `openssl` write it: capitals with colons.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_the_ways_to_write_one_fingerprint_are_the_same() {
        let pin = Pin::of(b"abc");
        let shown = pin.to_string();
        assert!(shown.starts_with("BA:78:16:BF") && shown.ends_with(":15:AD"), "{shown}");
        for text in [shown.clone(), shown.to_lowercase(), shown.replace(':', ""), format!(" {shown}\n")] {
            assert_eq!(Pin::parse(&text), Some(pin), "{text}");
        }
        for wrong in
            ["", "BA:78", "BA78:16", &shown[..94], &shown.replace(':', "-"), &shown.replace('B', "G")]
        {
            assert_eq!(Pin::parse(wrong), None, "{wrong}");
        }
    }
}
