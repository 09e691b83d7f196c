//! placeholder
/// The `[admin]` section.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub address: std::net::SocketAddr,
    /// Lets anyone who reaches the address read the metrics, which name providers and hosts.
    pub danger_expose_on_any_address: bool,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 9464)),
            danger_expose_on_any_address: false,
        }
    }
}

impl AdminSettings {
    /// Every value that is out of its rules: the key (relative to the section) and the rule.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        if self.address.ip().is_loopback() || self.danger_expose_on_any_address {
            return Vec::new();
        }
        let rule = format!(
            "{} is not a loopback address, and the admin pages have no TLS and ask for no credentials; \
             listen on loopback, or set `admin.danger_expose_on_any_address = true`",
            self.address
        );
        vec![("address", rule)]
    }
}
