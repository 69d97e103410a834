//! What `make` runs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::readme::repository;

/// Says what cargo and the test binaries say: of one run that succeeds, and of one in which a test
/// fails, a binary dies, and a fault scene fails.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
  *--no-default-features*)
    cat <<'SAID'
     Running unittests src/lib.rs (target/debug/deps/writethrough-1)
test config::tests::defaults ... ok
test result: ok. 133 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out
SAID
    ;;
  *--no-fail-fast*)
    cat <<'SAID'
     Running unittests src/lib.rs (target/debug/deps/writethrough-2)
thread 'engine' has overflowed its stack
error: test failed, to rerun pass `--lib`

Caused by:
  process didn't exit successfully: `target/debug/deps/writethrough-2` (signal: 6, SIGABRT)
     Running tests/faults/main.rs (target/debug/deps/faults-1)
fault scene checker … ok, 0 faults, 0.0 s
fault scene database … FAILED, 41 faults, 30.1 s
failed: database (SEED=1)
error: test failed, to rerun pass `--test faults`
     Running tests/it/main.rs (target/debug/deps/it-1)
test writes::a_row ... ok
test config::sync_timeout_ms_counts_from_now_on ... FAILED

failures:
    config::sync_timeout_ms_counts_from_now_on

test result: FAILED. 468 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out
error: test failed, to rerun pass `--test it`
error: 3 targets failed:
    `--lib`
    `--test faults`
    `--test it`
SAID
    exit 101
    ;;
esac
"#;

const SUMMARY: &str = "
602 tests passed, 3 failed:
  cargo test --test faults -- database
  cargo test --test it -- --exact config::sync_timeout_ms_counts_from_now_on
  cargo test --lib   # it ended in the midst of its tests
";

#[test]
fn make_test_goes_on_after_a_failure_and_lists_what_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let cargo = folder.path().join("cargo");
    std::fs::write(&cargo, CARGO).expect("a program");
    std::fs::set_permissions(&cargo, Permissions::from_mode(0o755)).expect("permissions");
    let path = std::env::var("PATH").expect("a PATH");
    let path = format!("{}:{path}", folder.path().display());
    let run = |script: &str| {
        std::fs::write(&cargo, script).expect("a program");
        let output =
            Command::new("bash").arg(repository("scripts/test")).env("PATH", &path).output();
        let output = output.expect("bash");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    };
    let (said, status) = run(CARGO);
    assert!(said.ends_with(SUMMARY), "{said}");
    assert_eq!(status, Some(1));
    let (said, status) = run("#!/bin/sh\necho 'test result: ok. 3 passed; 0 failed'\n");
    assert!(said.ends_with("\n6 tests passed, 0 failed\n"), "{said}");
    assert_eq!(status, Some(0));
}
