//! temporary
/// `[grpc]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcSettings {
    /// Where.
    pub address: std::net::SocketAddr,
    /// Limit.
    pub max_message_bytes: u32,
    /// Danger.
    pub danger_plaintext_on_any_address: bool,
}
impl Default for GrpcSettings {
    fn default() -> Self {
        Self {
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 50051)),
            max_message_bytes: 4194304,
            danger_plaintext_on_any_address: false,
        }
    }
}
impl GrpcSettings {
    /// Faults.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
