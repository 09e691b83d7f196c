//! `check-config`, and the exit codes of arguments.

use std::fs;
use std::path::Path;

use crate::program::{drydock, run, text};

const MANY_FAULTS: &str = r#"
[grpc]
adress = "127.0.0.1:50051"
address = "0.0.0.0:50051"
max_message_bytes = "4 MiB"

[admin]
address = "[::]:9464"

[store]
url = "postgres://drydock:hunter2@db/drydock"

[engin]
queue_limit = 4

[engine]
heartbeat_ms = 5
queue_limit = -1

[telemetry]
log_format = "xml"
log_filter = "drydock=loud"

[secrets]
password_key = "hunter2"

[providers.Lab_1]
vendor = "zstak"
endpoint = "https://zstack.example"

[providers.zstack-lab]
vendor = "zstack"
endpoint = "ftp://zstack.example"
acount = "admin"
password = "hunter2"

[providers.zstack-lab.limits]
burst = 0
requests_per_secnd = 3

[providers.avisi]
vendor = "avisi"
token_file = "/no/such/file"
"#;

#[test]
fn every_fault_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("drydock.toml");
    fs::write(&file, MANY_FAULTS).unwrap();
    let said = run(drydock(&["check-config", "--config", "drydock.toml"])
        .current_dir(dir.path())
        .env("DRYDOCK__ENGINE__WATCH_MAX_AGE", "1")
        .env("DRYDOCK__PROVIDERS__ZSTACK_LAB__POLL__MIN_MS", "soon")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"));
    assert_eq!((said.code, said.out.as_str()), (64, ""));
    assert!(!said.err.contains("hunter2"), "{}", said.err);
    insta::assert_snapshot!("many_faults", said.err);
}

#[test]
fn a_good_configuration_is_summed_up_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("drydock.toml");
    fs::write(
        &file,
        "[providers.lab]\nvendor = 'avisi'\nendpoint = 'https://a.example'\norganisation = 'acme'",
    )
    .unwrap();
    let said = run(drydock(&["check-config"])
        .env("DRYDOCK_CONFIG", text(&file))
        .env("DRYDOCK__PROVIDERS__LAB__TOKEN", "acpat_canary"));
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "good: 1 provider: lab (avisi)\n", ""));
}

/// What would only be found at the start otherwise.
#[test]
fn certificates_and_keys_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (file, empty) = (dir.path().join("drydock.toml"), dir.path().join("empty.pem"));
    let (cert, key, other_key) =
        (dir.path().join("a.pem"), dir.path().join("a.key"), dir.path().join("b.key"));
    let made = rcgen::generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
    fs::write(&empty, "no certificate\n").unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    for (path, key) in
        [(&key, made.signing_key.serialize_pem()), (&other_key, other.signing_key.serialize_pem())]
    {
        fs::write(path, key).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let provider =
        "[providers.lab]\nvendor = 'avisi'\nendpoint = 'https://a.example'\norganisation = 'acme'\n";
    let check = |bundle: &Path, key: &Path| {
        let tls = format!("[providers.lab.tls]\nca_bundle_file = '{}'\n", text(bundle));
        let door = format!("[grpc.tls]\ncert_file = '{}'\nkey_file = '{}'\n", text(&cert), text(key));
        fs::write(&file, format!("{provider}{tls}{door}")).unwrap();
        run(drydock(&["check-config", "--config", text(&file)])
            .env("DRYDOCK__PROVIDERS__LAB__TOKEN", "acpat_canary"))
    };
    let good = check(&cert, &key);
    assert_eq!((good.code, good.err.as_str()), (0, ""));
    let bad = check(&empty, &other_key);
    assert_eq!((bad.code, bad.out.as_str()), (64, ""));
    let lines: Vec<_> = bad.err.lines().collect();
    let [bundle, door] = lines.as_slice() else { panic!("{}", bad.err) };
    assert!(
        bundle.starts_with("drydock: the client of providers/lab could not be built: ")
            && bundle.contains("empty.pem"),
        "{bundle}"
    );
    assert!(door.starts_with("drydock: certificate and key of [grpc.tls] cannot be used"), "{door}");
}

#[test]
fn a_secret_that_everybody_can_read_is_worth_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let (file, token) = (dir.path().join("drydock.toml"), dir.path().join("token"));
    fs::write(&token, "acpat_canary\n").unwrap();
    let mut rights = fs::metadata(&token).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o644);
    fs::set_permissions(&token, rights).unwrap();
    let provider =
        "[providers.lab]\nvendor = 'avisi'\nendpoint = 'https://a.example'\norganisation = 'acme'\n";
    fs::write(&file, format!("{provider}token_file = '{}'", text(&token))).unwrap();
    let said = run(&mut drydock(&["check-config", "--config", text(&file)]));
    assert_eq!(said.code, 0);
    assert!(said.err.contains("warning: providers.lab.token_file: every user"), "{}", said.err);
    assert!(!said.err.contains("canary"));
}

#[test]
fn a_file_that_is_not_there_is_bad_usage() {
    let said = run(&mut drydock(&["check-config", "--config", "/no/such/drydock.toml"]));
    assert_eq!(said.code, 64);
    assert!(said.err.contains("/no/such/drydock.toml has 1 fault:\n  cannot be read: "), "{}", said.err);
}

#[test]
fn arguments_have_exit_codes() {
    let code = |arguments: &[&str]| run(&mut drydock(arguments)).code;
    assert_eq!(code(&["--version"]), 0);
    assert_eq!(code(&["help"]), 0);
    assert_eq!(code(&[]), 64);
    assert_eq!(code(&["sreve"]), 64);
    assert_eq!(code(&["serve", "--prot", "1"]), 64);
    // Without the simulators there is no such command, which is bad usage too.
    assert_eq!(code(&["demo", "--speed", "-1"]), 64);
}

#[test]
fn the_example_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/drydock.example.toml");
    let example = fs::read_to_string(&path).unwrap();
    let mut command = drydock(&["check-config", "--config", text(&path)]);
    for name in
        example.lines().filter_map(|line| line.strip_prefix("#   ")).filter(|l| l.starts_with("DRYDOCK__P"))
    {
        command.env(name, "an-example-secret");
    }
    let said = run(&mut command);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.starts_with("good: 4 providers: "), "{}", said.out);
}

/// The variables and flags of `deploy/compose.yaml` and its image, on the configuration that `prepare` makes. Files that
/// compose mounts lie elsewhere here.
#[test]
fn what_compose_sets_is_accepted() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let compose = fs::read_to_string(deploy.join("compose.yaml")).unwrap();
    let image = fs::read_to_string(deploy.join("Dockerfile")).unwrap();
    assert!(image.contains(r#"CMD ["serve", "--config", "/etc/drydock/drydock.toml"]"#), "{image}");
    assert!(compose.contains("./compose/drydock.toml:/etc/drydock/drydock.toml:ro"), "{compose}");
    let dir = tempfile::tempdir().unwrap();
    let secret = |name: &str, value: &str| {
        let path = dir.path().join(name);
        fs::write(&path, value).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    let url = secret("store_url", "postgres://drydock:00ff@postgres/drydock\n");
    let key = secret("password_key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    let file = secret(
        "drydock.toml",
        "[providers.lab]\nvendor = 'avisi'\nendpoint = 'https://a.example'\norganisation = 'acme'",
    );
    let mut command = drydock(&["check-config", "--config", text(&file)]);
    command.env("DRYDOCK__PROVIDERS__LAB__TOKEN", "acpat_canary");
    let mut set = Vec::new();
    for line in compose.lines().map(str::trim) {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if name.starts_with("DRYDOCK__") || name.starts_with("OTEL_") {
            let value = match value.trim_matches('"') {
                "/run/secrets/store_url" => text(&url),
                "/run/secrets/password_key" => text(&key),
                other => other,
            };
            command.env(name, value);
            set.push(name);
        }
    }
    assert!(set.len() >= 7, "{set:?}");
    let said = run(&mut command);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{set:?}");
    assert_eq!(said.out, "good: 1 provider: lab (avisi)\n");
}
