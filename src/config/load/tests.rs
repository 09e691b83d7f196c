use std::fs;

use super::*;

const PROVIDER: &str = "
    [providers.zstack-lab]
    vendor = 'zstack'
    endpoint = 'https://zstack.example'
    account = 'admin'
";

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment(variables.iter().map(|&(name, value)| (name.to_owned(), Ok(value.to_owned()))).collect())
}

/// Loads `text` as a file, under `variables`.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, Faults> {
    load_both(text, variables, Table::new())
}

#[expect(clippy::unwrap_in_result, reason = "a test's own directory is not what is tested")]
fn load_both(text: &str, variables: &[(&str, &str)], given: Table) -> Result<Config, Faults> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("drydock.toml");
    fs::write(&file, text).unwrap();
    load_with(Some(&file), &environment(variables), given)
}

/// A good configuration, with more text and variables.
fn good(text: &str, variables: &[(&str, &str)]) -> Result<Config, Faults> {
    let mut all = vec![("DRYDOCK__PROVIDERS__ZSTACK_LAB__PASSWORD", "canary")];
    all.extend(variables);
    load_text(&format!("{PROVIDER}{text}"), &all)
}

fn fault(outcome: Result<Config, Faults>) -> String {
    let list = outcome.unwrap_err().list;
    assert_eq!(list.len(), 1, "{list:?}");
    list[0].to_string()
}

#[test]
fn the_environment_sets_any_key_and_wins_over_the_file() {
    let config = good(
        "[engine]\nheartbeat_ms = 1000\nqueue_limit = 3",
        &[
            ("DRYDOCK__ENGINE__HEARTBEAT_MS", "2000"),
            ("DRYDOCK__GRPC__ADDRESS", "127.0.0.1:6000"),
            ("DRYDOCK__PROVIDERS__ZSTACK_LAB__LIMITS__REQUESTS_PER_SECOND", "2.5"),
            ("DRYDOCK__PROVIDERS__ZSTACK_LAB__LABELS__SITE", "\"12\""),
        ],
    )
    .unwrap();
    assert_eq!((config.engine.heartbeat_ms, config.engine.queue_limit), (2000, 3));
    assert_eq!(config.grpc.address.port(), 6000);
    let common = &config.providers[0].common;
    assert_eq!(common.limits.requests_per_second, 2.5);
    assert_eq!(common.labels["site"], "12", "a quoted number is text");
}

#[test]
fn where_only_text_fits_it_is_text_whatever_it_looks_like() {
    // A label, a key of a vendor's own, a whole section's key; `account` replaces what the file says.
    let names = ["LABELS__SITE", "ACCOUNT", "LABELS__RACK"];
    for looks in ["12345", "1.10", "true", "[1, 2]", "{ a = 1 }", "0x10"] {
        let variables: Vec<_> =
            names.iter().map(|name| (format!("DRYDOCK__PROVIDERS__ZSTACK_LAB__{name}"), looks)).collect();
        let mut variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        variables.push(("DRYDOCK__ENGINE__REPLICA_NAME", looks));
        let config = good("", &variables).unwrap_or_else(|faults| panic!("{looks}: {faults}"));
        let labels = &config.providers[0].common.labels;
        assert_eq!((&*labels["site"], &*labels["rack"]), (looks, looks));
        assert_eq!(config.engine.replica_name, looks);
    }
}

#[test]
fn what_fits_neither_as_it_looks_nor_as_text_is_told_as_it_looks() {
    let number = ("DRYDOCK__ENGINE__QUEUE_LIMIT", "-5");
    let told = fault(good("", &[number]));
    assert!(
        told.starts_with("engine.queue_limit: must be a whole number, 0 or more, is integer `-5`"),
        "{told}"
    );
    // Beside one that is a text.
    let told = fault(good("", &[number, ("DRYDOCK__PROVIDERS__ZSTACK_LAB__LABELS__SITE", "12")]));
    assert!(
        told.starts_with("engine.queue_limit: must be a whole number, 0 or more, is integer `-5`"),
        "{told}"
    );
    let told = fault(good("", &[("DRYDOCK__GRPC__ADDRESS", "6000")]));
    assert!(told.starts_with("grpc.address: ") && told.contains("6000"), "{told}");
}

#[test]
fn what_the_program_gives_wins_over_all() {
    let given = "grpc.address = '127.0.0.1:7'\n[providers.zstack-lab]\npassword = 'given'".parse().unwrap();
    let config = load_both(PROVIDER, &[("DRYDOCK__GRPC__ADDRESS", "127.0.0.1:6")], given).unwrap();
    assert_eq!(config.grpc.address.port(), 7);
}

#[test]
fn a_fault_from_the_environment_names_its_variable() {
    assert_eq!(
        fault(good("", &[("DRYDOCK__ENGINE__HEARTBEAT", "1")])),
        "engine.heartbeat: there is no such key; did you mean `heartbeat_ms`? (set by DRYDOCK__ENGINE__HEARTBEAT)"
    );
    assert_eq!(
        fault(good("", &[("DRYDOCK__ENGINE__QUEUE_LIMIT", "many")])),
        "engine.queue_limit: must be a whole number, 0 or more, is string \"many\" (set by DRYDOCK__ENGINE__QUEUE_LIMIT)"
    );
    assert_eq!(
        fault(good("", &[("DRYDOCK__ENGIN__QUEUE_LIMIT", "1")])),
        "engin: there is no such key; did you mean `engine`? (set by DRYDOCK__ENGIN__QUEUE_LIMIT)"
    );
    assert!(fault(good("", &[("DRYDOCK__ENGINE____X", "1")])).contains("two underscores"));
}

#[test]
fn a_secret_is_text_whatever_it_looks_like() {
    // With TOML's eyes, the first is a number and the second a list.
    for secret in ["0123", "[1]", "'quoted'", " spaced "] {
        let config = load_text(PROVIDER, &[("DRYDOCK__PROVIDERS__ZSTACK_LAB__PASSWORD", secret)]);
        assert!(config.is_ok(), "{secret}: {}", config.unwrap_err());
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let text = format!("{PROVIDER}\npassword = 'hunter2'\n[secrets]\npassword_key = 'hunter2'");
    let faults = load_text(&text, &[]).unwrap_err();
    let keys: Vec<&str> = faults.list.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["providers.zstack-lab.password", "secrets.password_key"]);
    assert!(faults.list[0].message.contains("DRYDOCK__PROVIDERS__ZSTACK_LAB__PASSWORD"));
    assert!(!faults.to_string().contains("hunter2"), "{faults}");
}

#[cfg(unix)]
#[test]
fn a_secret_file_is_read_without_its_line_end_and_guarded() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    let text = format!("{PROVIDER}\npassword_file = '{}'", path.display());
    let write = |secret: &[u8], mode| {
        fs::write(&path, secret).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };

    write(b"secret\r\n", 0o600);
    assert_eq!(load_text(&text, &[]).unwrap().warnings, [""; 0]);
    write(b"secret\n", 0o644);
    let warnings = load_text(&text, &[]).unwrap().warnings;
    assert!(warnings[0].starts_with("providers.zstack-lab.password_file: every user"), "{warnings:?}");

    for (content, why) in
        [(&b"\n"[..], "is empty"), (&[b'x'; 65 * 1024][..], "larger than"), (b"\xff", "as text")]
    {
        write(content, 0o600);
        let fault = fault(load_text(&text, &[]));
        assert!(fault.starts_with("providers.zstack-lab.password_file: ") && fault.contains(why), "{fault}");
    }
    // The environment wins over the file's word; both from the environment is a mistake.
    let variable = ("DRYDOCK__PROVIDERS__ZSTACK_LAB__PASSWORD", "x");
    assert!(load_text(&text, &[variable]).is_ok());
    let both = [variable, ("DRYDOCK__PROVIDERS__ZSTACK_LAB__PASSWORD_FILE", "/x")];
    assert!(fault(load_text(PROVIDER, &both)).contains("not both"));
}

#[test]
fn the_key_for_waiting_passwords_is_checked_and_not_repeated() {
    let key = "c2hvcnQtY2FuYXJ5";
    let fault = fault(good("", &[("DRYDOCK__SECRETS__PASSWORD_KEY", key)]));
    assert!(
        fault.starts_with("secrets.password_key: the key must be 32 bytes") && !fault.contains(key),
        "{fault}"
    );
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(good("", &[("DRYDOCK__SECRETS__PASSWORD_KEY", key)]).unwrap().sealer.is_some());
    assert!(good("", &[]).unwrap().sealer.is_none());
}

#[test]
fn debug_shows_no_secret() {
    let config =
        good("", &[("DRYDOCK__SECRETS__PASSWORD_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]);
    let text = format!("{:?}", config.unwrap());
    assert!(text.contains("zstack-lab") && !text.contains("canary") && !text.contains("AAAA"), "{text}");
}

#[test]
fn a_file_that_is_no_toml_is_told_by_line_without_its_words() {
    let faults = load_text("[grpc]\n\npassword = hunter2", &[]).unwrap_err();
    assert!(faults.to_string().contains("line 3") && !faults.to_string().contains("hunter2"), "{faults}");
}

#[test]
fn no_provider_is_a_fault() {
    assert!(fault(load_text("", &[])).starts_with("providers: there is none"));
}

#[test]
fn export_is_on_where_an_endpoint_is_named() {
    let otlp = |variables: &[(&str, &str)]| {
        let mut faults = Vec::new();
        let otlp = environment(variables).otlp(&mut faults);
        (otlp.traces, otlp.metrics, faults.len())
    };
    let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
    assert_eq!(otlp(&[]), (false, false, 0));
    assert_eq!(otlp(&[all]), (true, true, 0));
    assert_eq!(otlp(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), (false, false, 0));
    assert_eq!(otlp(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4317")]), (true, false, 0));
    assert_eq!(otlp(&[all, ("OTEL_METRICS_EXPORTER", "none")]), (true, false, 0));
    assert_eq!(otlp(&[("OTEL_TRACES_EXPORTER", "otlp")]), (true, false, 0));
    assert_eq!(otlp(&[all, ("OTEL_SDK_DISABLED", "true")]), (false, false, 0));
    assert_eq!(otlp(&[all, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]), (true, true, 1));
    assert_eq!(otlp(&[all, ("OTEL_TRACES_EXPORTER", "zipkin")]), (false, true, 1));
}

#[test]
fn variables_and_keys_name_each_other() {
    let path = ["providers".to_owned(), "vcenter-ams".to_owned()];
    assert_eq!(variable(&path, "password"), "DRYDOCK__PROVIDERS__VCENTER_AMS__PASSWORD");
}

#[test]
fn a_certificate_that_cannot_be_read_is_a_fault() {
    let faults = good("[grpc.tls]\ncert_file = '/no/such.crt'\nkey_file = '/no/such.key'", &[]).unwrap_err();
    let keys: Vec<_> = faults.list.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["grpc.tls.cert_file", "grpc.tls.key_file"]);
}

#[test]
fn what_the_program_gives_can_stand_alone() {
    let environment = environment(&[
        ("DRYDOCK__PROVIDERS__OTHER__PASSWORD", "canary"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
    ]);
    let given = PROVIDER.parse::<Table>().unwrap();
    let told = load_with(None, &environment.without_ours(), given).map(|config| config.otlp.traces);
    // The demo's provider lacks its password here; of the other one nothing is said.
    assert!(
        fault_text(&told.unwrap_err()).contains("providers.zstack-lab.password"),
        "only its own provider"
    );
}

/// A key of 32 bytes, for what is shared between replicas.
const SHARED_KEY: (&str, &str) =
    ("DRYDOCK__SECRETS__PASSWORD_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");

#[test]
fn a_store_url_with_a_password_is_kept_out_of_the_file_and_of_what_is_printed() {
    let text = "[store]\nurl = 'postgres://dock:hunter2@db/jobs'";
    let told = fault(good(text, &[SHARED_KEY]));
    assert!(told.starts_with("store.url: a secret must not stand"), "{told}");
    assert!(told.contains("url_file") && told.contains("DRYDOCK__STORE__URL"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");

    let by_variable = ("DRYDOCK__STORE__URL", "postgres://dock:hunter2@db/jobs");
    let config = good("", &[SHARED_KEY, by_variable]).unwrap();
    assert!(config.store.is_postgres());
    assert!(!format!("{config:?}").contains("hunter2"));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    fs::write(&file, "postgres://dock:hunter2@db/jobs\n").unwrap();
    let config = good(&format!("[store]\nurl_file = '{}'", file.display()), &[SHARED_KEY]).unwrap();
    assert_eq!(config.store.url, "postgres://dock:hunter2@db/jobs");

    // Without a password it is no secret.
    assert!(good("[store]\nurl = 'postgres://dock@db/jobs'", &[SHARED_KEY]).is_ok());
}

#[test]
fn replicas_must_share_the_key_of_passwords() {
    let told = fault(good("[store]\nurl = 'postgres://dock@db/jobs'", &[]));
    assert!(told.starts_with("secrets.password_key_file: must be given"), "{told}");
}

fn fault_text(faults: &Faults) -> String {
    assert_eq!(faults.list.len(), 1, "{faults}");
    faults.to_string()
}
