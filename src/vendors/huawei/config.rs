//! A Huawei provider's own keys.
//!
//! | key | needed | meaning |
//! |---|---|---|
//! | `project_id` | no | the id of the project that owns the instances; tokens are scoped to it |
//! | `project` | no | its name instead, which IAM is asked about once for each login. Without either, the region's own project is meant, which has the region's name |
//! | `region` | unless every endpoint used and the project is given | such as `cn-east-3`; gives the endpoints below their default |
//! | `iam_endpoint` | no | default `https://iam.{region}.myhuaweicloud.com` (a token for that region); `https://iam.myhuaweicloud.com` gives one for all regions. Used with `user`, and for a project's name |
//! | `ims_endpoint` | no | default `https://ims.{region}.myhuaweicloud.com`; images come from there |
//! | `user`, `password`, `domain` | one of the two | an IAM user (a HUAWEI ID gets no token) and its account |
//! | `access_key`, `secret_key` | ways to log in | an access key pair, the way that the vendor recommends |
//! | `security_token` | no | with a temporary access key pair |

use url::Url;

use super::sign::Keys;
use crate::kit::secret::Secret;
use crate::vendors::settings::ConfigFault;

/// Keys that hold secrets.
pub(super) const SECRET_KEYS: &[&str] = &["password", "secret_key", "security_token"];

/// A checked configuration.
#[derive(Debug)]
pub(super) struct Config {
    /// The project that owns the instances.
    pub project: Project,
    /// The image service.
    pub ims: Url,
    /// How to prove who we are.
    pub credentials: Credentials,
}

/// A project, as it was named.
#[derive(Debug)]
pub(super) enum Project {
    /// By its id.
    Id(String),
    /// By its name, which the identity service knows.
    Name {
        /// The name.
        name: String,
        /// The identity service.
        iam: Url,
    },
}

impl Config {
    /// The keys that say who we are and whose instances these are.
    pub(super) const fn credential_keys(&self) -> &'static [&'static str] {
        match (&self.credentials, &self.project) {
            (Credentials::Token(_), Project::Id(_)) => &["user", "password", "domain", "project_id"],
            (Credentials::Token(_), Project::Name { .. }) => &["user", "password", "domain", "project"],
            (Credentials::Keys(keys), Project::Id(_)) if keys.security_token.is_some() => {
                &["access_key", "secret_key", "security_token"]
            }
            (Credentials::Keys(_), Project::Id(_)) => &["access_key", "secret_key"],
            (Credentials::Keys(keys), Project::Name { .. }) if keys.security_token.is_some() => {
                &["access_key", "secret_key", "security_token", "project"]
            }
            (Credentials::Keys(_), Project::Name { .. }) => &["access_key", "secret_key", "project"],
        }
    }
}

/// Whether `id` can be a project's id: it goes into paths.
pub(super) fn is_project_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// The two ways to prove who we are.
#[derive(Debug)]
pub(super) enum Credentials {
    /// A token from IAM, by user and password.
    Token(Login),
    /// Every request signed with an access key pair.
    Keys(Keys),
}

/// What a token is asked with.
#[derive(Debug)]
pub(super) struct Login {
    /// The identity service.
    pub iam: Url,
    /// The IAM user.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The account that the user belongs to.
    pub domain: String,
}

/// Reads and checks the vendor's own keys; every fault is reported.
pub(super) fn read(own: toml::Table) -> Result<Config, Vec<ConfigFault>> {
    let mut keys = Reader { own, faults: Vec::new() };
    let project_id = keys.text("project_id");
    let project = keys.text("project");
    let region = keys.text("region");
    let iam = keys.text("iam_endpoint");
    let ims = keys.text("ims_endpoint");
    let user = keys.text("user");
    let password = keys.text("password").map(Secret::from);
    let domain = keys.text("domain");
    let access_key = keys.text("access_key");
    let secret_key = keys.text("secret_key").map(Secret::from);
    let security_token = keys.text("security_token").map(Secret::from);
    if project_id.is_none() && project.is_none() && region.is_none() {
        let rule = "is needed: the id of the project that owns the instances; or `project`, its name; or `region`, whose \
                    own project is then meant";
        keys.rule_present("project_id", false, rule);
    }
    keys.refuse_rest();

    keys.rule(
        "project_id",
        project_id.as_deref(),
        "must be 1 to 64 letters, digits, `-` or `_`",
        is_project_id,
    );
    keys.rule("project", project.as_deref(), "must be a project's name, of at most 64 characters", |name| {
        name.chars().count() <= 64 && !name.chars().any(char::is_control)
    });
    if project_id.is_some() && project.is_some() {
        keys.fault("project", "give either `project_id` or `project`, not both");
    }
    keys.rule("region", region.as_deref(), "must be a region's name such as `cn-east-3`", |region| {
        region.len() <= 64
            && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    });
    keys.rule(
        "access_key",
        access_key.as_deref(),
        "must be the letters and digits of an access key",
        |key| key.len() <= 128 && key.bytes().all(|b| b.is_ascii_alphanumeric()),
    );

    let by_name = project_id.is_none() && (project.is_some() || region.is_some());
    let by_token = user.is_some() || password.is_some() || domain.is_some();
    let by_keys = access_key.is_some() || secret_key.is_some() || security_token.is_some();
    let ims = keys.endpoint("ims_endpoint", ims, region.as_deref(), "ims");
    let iam = if by_name || (by_token && !by_keys) {
        keys.endpoint("iam_endpoint", iam, region.as_deref(), "iam")
    } else {
        None
    };
    let credentials = match (by_token, by_keys) {
        (true, true) => {
            keys.fault(
                "access_key",
                "give either `user`, `password`, `domain` or an access key pair, not both",
            );
            None
        }
        (false, false) => {
            keys.fault("user", "give `user`, `password`, `domain`, or `access_key`, `secret_key`");
            None
        }
        (true, false) => {
            keys.rule_present("user", user.is_some(), "is needed with `password` and `domain`");
            keys.rule_present("password", password.is_some(), "is needed with `user`");
            keys.rule_present("domain", domain.is_some(), "is needed with `user`: the account's name");
            match (iam.clone(), user, password, domain) {
                (Some(iam), Some(user), Some(password), Some(domain)) => {
                    Some(Credentials::Token(Login { iam, user, password, domain }))
                }
                _ => None,
            }
        }
        (false, true) => {
            keys.rule_present("access_key", access_key.is_some(), "is needed with `secret_key`");
            keys.rule_present("secret_key", secret_key.is_some(), "is needed with `access_key`");
            access_key
                .zip(secret_key)
                .map(|(access, secret)| Credentials::Keys(Keys { access, secret, security_token }))
        }
    };
    let project = match (project_id, project.or(region), iam) {
        (Some(id), _, _) => Some(Project::Id(id)),
        (None, Some(name), Some(iam)) => Some(Project::Name { name, iam }),
        (None, _, _) => None,
    };
    match (project, ims, credentials) {
        (Some(project), Some(ims), Some(credentials)) if keys.faults.is_empty() => {
            Ok(Config { project, ims, credentials })
        }
        _ => Err(keys.faults),
    }
}

/// Takes keys out of the table; all of this vendor's keys are text. No fault quotes a value.
struct Reader {
    own: toml::Table,
    faults: Vec<ConfigFault>,
}

impl Reader {
    fn fault(&mut self, key: &str, message: &str) {
        self.faults.push(ConfigFault::new(key, message));
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.own.remove(key) {
            None => None,
            Some(toml::Value::String(text)) if !text.trim().is_empty() => Some(text),
            Some(toml::Value::String(_)) => {
                self.fault(key, "must not be empty");
                None
            }
            Some(_) => {
                self.fault(key, "must be text");
                None
            }
        }
    }

    fn rule(&mut self, key: &str, value: Option<&str>, rule: &str, fits: impl Fn(&str) -> bool) {
        if value.is_some_and(|v| !fits(v)) {
            self.fault(key, rule);
        }
    }

    fn rule_present(&mut self, key: &str, present: bool, rule: &str) {
        // A key that was given but is faulty has its fault already.
        if !present && !self.faults.iter().any(|f| f.key == key) {
            self.fault(key, rule);
        }
    }

    fn endpoint(
        &mut self,
        key: &str,
        given: Option<String>,
        region: Option<&str>,
        service: &str,
    ) -> Option<Url> {
        let text = match (given, region) {
            (Some(given), _) => given,
            (None, Some(region)) => format!("https://{service}.{region}.myhuaweicloud.com"),
            (None, None) => {
                self.rule_present(key, false, "is needed, or `region`, which gives it a default");
                return None;
            }
        };
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            Ok(_) | Err(_) => {
                self.rule_present(key, false, "must be an `https://` or `http://` address");
                None
            }
        }
    }

    fn refuse_rest(&mut self) {
        for key in std::mem::take(&mut self.own).keys() {
            self.fault(key, "is not a key of a `huawei` provider");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        read(text.parse().unwrap())
            .unwrap_err()
            .into_iter()
            .map(|f| format!("{}: {}", f.key, f.message))
            .collect()
    }

    #[test]
    fn a_region_gives_the_endpoints_their_default() {
        let config = read(
            r#"
            region = "cn-east-3"
            project_id = "0123456789abcdef0123456789abcdef"
            user = "svc"
            password = "canary-iam"
            domain = "acme"
            "#
            .parse()
            .unwrap(),
        )
        .unwrap();
        assert_eq!(config.ims.as_str(), "https://ims.cn-east-3.myhuaweicloud.com/");
        assert!(!format!("{config:?}").contains("canary"), "{config:?}");
        let Credentials::Token(login) = config.credentials else { panic!("not a token login") };
        assert_eq!(login.iam.as_str(), "https://iam.cn-east-3.myhuaweicloud.com/");
    }

    #[test]
    fn the_global_identity_service_can_be_chosen() {
        let config = read(
            r#"
            region = "cn-east-3"
            iam_endpoint = "https://iam.myhuaweicloud.com"
            project_id = "p"
            user = "svc"
            password = "canary-iam"
            domain = "acme"
            "#
            .parse()
            .unwrap(),
        )
        .unwrap();
        let Credentials::Token(login) = config.credentials else { panic!("not a token login") };
        assert_eq!(login.iam.as_str(), "https://iam.myhuaweicloud.com/");
        assert_eq!(config.ims.as_str(), "https://ims.cn-east-3.myhuaweicloud.com/");
    }

    #[test]
    fn every_fault_is_reported_at_once_and_no_value_is_quoted() {
        let faults = faults(
            r#"
            user = "svc"
            password = 17
            iam_endpoint = "ftp://x"
            projet_id = "canary"
            "#,
        );
        let keys: Vec<_> = faults.iter().map(|f| f.split(':').next().unwrap()).collect();
        assert_eq!(
            keys,
            ["password", "project_id", "projet_id", "ims_endpoint", "iam_endpoint", "domain"],
            "{faults:?}"
        );
        assert!(!faults.concat().contains("canary"), "{faults:?}");
    }

    #[test]
    fn a_project_is_named_by_its_id_its_name_or_its_region() {
        let keys = "access_key = \"AK\"\nsecret_key = \"SK\"\nims_endpoint = \"https://ims.example\"\n";
        let project = |text: &str| read(format!("{keys}{text}").parse().unwrap()).unwrap().project;
        assert!(matches!(project("project_id = \"p\""), Project::Id(id) if id == "p"));
        let named = "project = \"metal\"\niam_endpoint = \"https://iam.example\"";
        assert!(matches!(
            project(named),
            Project::Name { name, iam } if name == "metal" && iam.as_str() == "https://iam.example/"
        ));
        let Project::Name { name, iam } = project("region = \"cn-east-3\"") else { panic!("not by name") };
        assert_eq!((name.as_str(), iam.as_str()), ("cn-east-3", "https://iam.cn-east-3.myhuaweicloud.com/"));
        assert_eq!(
            faults(&format!("{keys}project_id = \"p\"\nproject = \"q\"")),
            ["project: give either `project_id` or `project`, not both"]
        );
        assert_eq!(
            faults(&format!("{keys}project = \"q\"")),
            ["iam_endpoint: is needed, or `region`, which gives it a default"]
        );
    }

    #[test]
    fn the_two_ways_to_log_in_exclude_each_other() {
        let base = "project_id = \"p\"\nims_endpoint = \"https://ims.example\"\n";
        assert_eq!(faults(&format!("{base}user = \"u\"\naccess_key = \"AK\"")).len(), 1);
        assert_eq!(faults(base).len(), 1);
        assert_eq!(
            faults(&format!("{base}access_key = \"AK\"")),
            ["secret_key: is needed with `access_key`"]
        );
        let keys =
            format!("{base}access_key = \"AK\"\nsecret_key = \"canary-sk\"\nsecurity_token = \"canary-st\"");
        let config = read(keys.parse().unwrap()).unwrap();
        assert!(!format!("{config:?}").contains("canary"), "{config:?}");
    }
}
