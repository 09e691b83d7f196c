//! `demo`: the five operations, end to end, in a hurry.

use crate::program::{drydock, run};

#[test]
fn all_operations_succeed_and_nothing_stays_behind() {
    let dir = tempfile::tempdir().unwrap();
    let said =
        run(drydock(&["demo", "--port", "0", "--admin-port", "0", "--speed", "2000", "--exit-when-done"])
            .env("TMPDIR", dir.path()));
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    for title in
        ["UpdateClusterOS", "upgradeMultiple", "supervisor upgrade", "scheduled upgrade", "OS reinstall"]
    {
        let end = said.out.lines().rfind(|line| line.contains(title) && line.contains("SUCCEEDED"));
        assert!(end.is_some(), "{title} in\n{}", said.out);
    }
    assert!(said.out.contains("grpcurl -plaintext"), "{}", said.out);
    assert!(!said.out.contains('\u{1b}'), "no terminal, no escape codes");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the database is gone");
}
