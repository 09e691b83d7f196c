//! A ZStack provider's own keys.
//!
//! One way to prove who we are must be given: `account` and `password`; or `user` and `password` beside the
//! `account` or `account_uuid` that the user belongs to; or `access_key_id` and `access_key_secret`.

use jiff::tz::Offset;
use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

use crate::kit::secret::Secret;
use crate::vendors::settings::{CommonSettings, ConfigFault, read_own};

/// Keys that hold secrets.
pub(super) const SECRET_KEYS: &[&str] = &["password", "access_key_secret"];
/// How ZStack's code spells the body key of `UpdateClusterOS`. Its web page writes it in lower case.
const BODY_KEY: &str = "updateClusterOS";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    account: Option<String>,
    account_uuid: Option<String>,
    user: Option<String>,
    access_key_id: Option<String>,
    body_key: Option<String>,
    server_utc_offset: Option<String>,
}

/// A ZStack provider's settings, checked.
#[derive(Clone, Debug)]
pub(super) struct ZstackSettings {
    /// The API's root, ending in `/zstack/v1` (or the proxy's path and `/v1`).
    pub base: Url,
    /// Who we are.
    pub credentials: Credentials,
    /// The body key of `UpdateClusterOS`.
    pub body_key: String,
    /// The management node's time zone, when it need not be learnt.
    pub server_offset: Option<Offset>,
}

/// Who we are.
#[derive(Clone, Debug)]
pub(super) enum Credentials {
    /// An account's login.
    Account { account: String, password: Secret },
    /// A user's login within an account.
    User { account: AccountRef, user: String, password: Secret },
    /// Each request is signed.
    AccessKey { id: String, secret: Secret },
}

impl Credentials {
    /// The keys that they were read from.
    pub(super) const fn keys(&self) -> &'static [&'static str] {
        match self {
            Self::Account { .. } => &["account", "password"],
            Self::User { account: AccountRef::Name(_), .. } => &["account", "user", "password"],
            Self::User { account: AccountRef::Uuid(_), .. } => &["account_uuid", "user", "password"],
            Self::AccessKey { .. } => &["access_key_id", "access_key_secret"],
        }
    }
}

/// The account that a user belongs to.
#[derive(Clone, Debug)]
pub(super) enum AccountRef {
    Name(String),
    Uuid(String),
}

impl ZstackSettings {
    /// Reads a provider's own keys and reports every fault.
    pub fn read(common: &CommonSettings, mut own: Table) -> Result<Self, Vec<ConfigFault>> {
        let mut faults = Vec::new();
        // Taken out first: a fault of the table may quote what it read.
        let password = take_secret(&mut own, "password", &mut faults);
        let access_key_secret = take_secret(&mut own, "access_key_secret", &mut faults);
        let own: Own = match read_own(own) {
            Ok(own) => own,
            Err(more) => {
                faults.extend(more);
                return Err(faults);
            }
        };
        let base = base(&common.endpoint, &mut faults);
        let body_key = own.body_key.clone().unwrap_or_else(|| BODY_KEY.to_owned());
        if body_key.is_empty() || !body_key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            faults.push(ConfigFault::new(
                "body_key",
                format!("must be letters and digits, such as `{BODY_KEY}`"),
            ));
        }
        let server_offset = own.server_utc_offset.as_deref().and_then(|text| {
            let offset = parse_offset(text);
            if offset.is_none() {
                faults.push(ConfigFault::new("server_utc_offset", "must be such as `+08:00` or `-03:30`"));
            }
            offset
        });
        let credentials = credentials(own, password, access_key_secret, &mut faults);
        match credentials {
            Some(credentials) if faults.is_empty() => Ok(Self { base, credentials, body_key, server_offset }),
            _ => Err(faults),
        }
    }
}

fn credentials(
    own: Own,
    password: Option<Secret>,
    access_key_secret: Option<Secret>,
    faults: &mut Vec<ConfigFault>,
) -> Option<Credentials> {
    for (key, value) in [
        ("account", &own.account),
        ("account_uuid", &own.account_uuid),
        ("user", &own.user),
        ("access_key_id", &own.access_key_id),
    ] {
        if value.as_deref().is_some_and(|v| v.trim().is_empty()) {
            faults.push(ConfigFault::new(key, "must not be empty"));
        }
    }
    if own.account_uuid.as_deref().is_some_and(|uuid| !super::ids::is_uuid(uuid)) {
        faults.push(ConfigFault::new("account_uuid", "must be 32 lower-case hex digits"));
    }
    let mut fault = |key: &str, text: &str| faults.push(ConfigFault::new(key, text));
    if own.access_key_id.is_some() || access_key_secret.is_some() {
        for (key, given) in [
            ("account", own.account.is_some()),
            ("account_uuid", own.account_uuid.is_some()),
            ("user", own.user.is_some()),
            ("password", password.is_some()),
        ] {
            if given {
                fault(key, "must not stand beside an access key: choose one way to log in");
            }
        }
        return match (own.access_key_id, access_key_secret) {
            (Some(id), Some(secret)) if !id.contains(':') && id.bytes().all(|b| b.is_ascii_graphic()) => {
                Some(Credentials::AccessKey { id, secret })
            }
            (Some(_), Some(_)) => {
                fault("access_key_id", "must be printable, without `:` and spaces");
                None
            }
            (None, _) => {
                fault("access_key_id", "is needed beside `access_key_secret`");
                None
            }
            (_, None) => {
                fault("access_key_secret", "is needed beside `access_key_id`: set `access_key_secret_file`");
                None
            }
        };
    }
    if password.is_none() {
        fault("password", "is needed (set `password_file`), or an `access_key_id` with its secret");
    }
    let account = match (own.account, own.account_uuid) {
        (Some(_), Some(_)) => {
            fault("account_uuid", "must not stand beside `account`: one of them is enough");
            None
        }
        (Some(name), None) => Some(AccountRef::Name(name)),
        (None, Some(uuid)) => Some(AccountRef::Uuid(uuid)),
        (None, None) => {
            fault("account", "is needed, such as `admin`; cluster updates need an administrator");
            None
        }
    };
    match (account?, own.user, password?) {
        (account, Some(user), password) => Some(Credentials::User { account, user, password }),
        (AccountRef::Name(account), None, password) => Some(Credentials::Account { account, password }),
        (AccountRef::Uuid(_), None, _) => {
            fault("account", "is needed for a login without `user`: accounts log in by name");
            None
        }
    }
}

/// The API's root. A bare address gets ZStack's own context path.
fn base(endpoint: &Url, faults: &mut Vec<ConfigFault>) -> Url {
    let path = endpoint.path().trim_end_matches('/');
    if path.ends_with("/v1") {
        faults.push(ConfigFault::new(
            "endpoint",
            "must end before `/v1`, such as `http://10.0.0.1:8080/zstack`",
        ));
    }
    if !endpoint.username().is_empty() || endpoint.password().is_some() || endpoint.query().is_some() {
        faults.push(ConfigFault::new("endpoint", "must hold no credentials and no query"));
    }
    let mut base = endpoint.clone();
    base.set_path(&format!("{}/v1", if path.is_empty() { "/zstack" } else { path }));
    base
}

fn take_secret(own: &mut Table, key: &str, faults: &mut Vec<ConfigFault>) -> Option<Secret> {
    match own.remove(key)? {
        Value::String(text) if !text.is_empty() => Some(Secret::from(text)),
        Value::String(_) => {
            faults.push(ConfigFault::new(key, "must not be empty"));
            None
        }
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => {
            faults.push(ConfigFault::new(key, "must be a text"));
            None
        }
    }
}

/// Reads `+08:00`.
fn parse_offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |part: &str, max: i32| {
        (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<i32>().ok())
            .flatten()
            .filter(|n| *n <= max)
    };
    Offset::from_seconds(sign * (two(hours, 18)? * 3600 + two(minutes, 59)? * 60)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(endpoint: &str, own: &str) -> Result<ZstackSettings, Vec<ConfigFault>> {
        let common = CommonSettings {
            endpoint: Url::parse(endpoint).map_err(|e| vec![ConfigFault::new("endpoint", e.to_string())])?,
            labels: std::collections::BTreeMap::new(),
            limits: crate::vendors::settings::Limits::default(),
            poll: crate::vendors::settings::Poll::default(),
            tls: crate::vendors::settings::Tls::default(),
        };
        let own: Table = toml::from_str(own).map_err(|e| vec![ConfigFault::new("toml", e.to_string())])?;
        ZstackSettings::read(&common, own)
    }

    fn keys(own: &str) -> Vec<String> {
        read("http://mn:8080", own).unwrap_err().into_iter().map(|f| f.key).collect()
    }

    #[test]
    fn three_ways_to_log_in() {
        let account = read("http://mn:8080", "account = 'admin'\npassword = 'p'").unwrap();
        assert!(matches!(account.credentials, Credentials::Account { .. }));
        assert_eq!(account.base.as_str(), "http://mn:8080/zstack/v1");
        assert_eq!(account.body_key, "updateClusterOS");
        let user = "account_uuid = '36c27e8ff05c4780bf6d2fa65700f22e'\nuser = 'u'\npassword = 'p'";
        assert!(matches!(read("http://mn/", user).unwrap().credentials, Credentials::User { .. }));
        let signed = read("https://proxy/dc1/zs/", "access_key_id = 'i'\naccess_key_secret = 's'").unwrap();
        assert!(matches!(signed.credentials, Credentials::AccessKey { .. }));
        assert_eq!(signed.base.as_str(), "https://proxy/dc1/zs/v1");
    }

    #[test]
    fn all_faults_at_once() {
        assert_eq!(
            keys("body_key = 'a b'\nserver_utc_offset = '8'"),
            ["body_key", "server_utc_offset", "password", "account"]
        );
        assert_eq!(keys("access_key_id = 'i'\npassword = 'p'"), ["password", "access_key_secret"]);
        assert_eq!(keys("account = 'a'\npassword = ''"), ["password", "password"]);
        assert_eq!(keys("account = 'a'\npassword = 'p'\nsurprise = 1"), ["surprise"]);
        assert_eq!(keys("account_uuid = '36c27e8ff05c4780bf6d2fa65700f22e'\npassword = 'p'"), ["account"]);
        let endpoint = read("http://u:w@mn/zstack/v1", "account = 'a'\npassword = 'p'").unwrap_err();
        assert_eq!(endpoint.len(), 2);
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_not_quoted() {
        let faults = read("http://mn", "account = 'a'\npassword = 77112233").unwrap_err();
        assert!(!format!("{faults:?}").contains("77112233"), "{faults:?}");
        let settings = read("http://mn", "account = 'a'\npassword = 'canary-77'").unwrap();
        assert!(!format!("{settings:?}").contains("canary-77"));
    }

    #[test]
    fn offsets_read() {
        assert_eq!(parse_offset("+08:00").unwrap().seconds(), 28_800);
        assert_eq!(parse_offset("-03:30").unwrap().seconds(), -12_600);
        for bad in ["", "8", "+8:00", "+08", "+99:00", "+08:60", "é08:00"] {
            assert_eq!(parse_offset(bad), None, "{bad}");
        }
    }
}
