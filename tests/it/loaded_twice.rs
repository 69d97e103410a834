//! A second `loadmodule` line, which CONFIG REWRITE writes where the first one is in an included file;
//! and MODULE LOAD once more.

use crate::support::*;

/// A stack whose redis-server has ended and has these lines for its next start. `@LOAD@` is the
/// line that loads the module.
fn stopped(lines: &[&str]) -> Stack {
    let s = Stack::users().without_module().start();
    let load = format!("loadmodule {} CONFIG {}", module_path(), s.config.display());
    let included = s.file("writethrough.conf", &format!("{load}\n"));
    let fill = |line: &&str| line.replace("@LOAD@", &load).replace("@INCLUDED@", &included);
    s.redis.stop("TERM");
    s.redis.write_conf(&lines.iter().map(fill).collect::<Vec<_>>());
    s
}

fn loadmodule_lines(s: &Stack) -> usize {
    let conf = s.redis.dir().join("redis.conf");
    let conf = std::fs::read_to_string(conf).expect("redis.conf");
    conf.lines().filter(|line| line.starts_with("loadmodule")).count()
}

/// The server ends, and what the log says of it.
#[track_caller]
fn refused(s: &Stack) -> String {
    assert!(!s.redis.starts_again(), "it started: {}", s.log());
    let log = s.log();
    let line = log.lines().find(|line| line.contains("not loaded: loaded twice: "));
    line.unwrap_or_else(|| panic!("no reason: {log}")).to_string()
}

/// The module's names in MODULE LIST.
fn listed(s: &Stack) -> usize {
    s.run("MODULE LIST").text().matches("name writethrough").count()
}

#[test]
fn a_rewrite_with_an_included_line_is_no_obstacle() {
    let s = stopped(&["include @INCLUDED@"]);
    s.start_again();
    s.add_user(1);
    for round in 1..=3 {
        s.set("pool-size", round);
        assert_eq!(s.run("CONFIG REWRITE"), ok());
        assert_eq!(loadmodule_lines(&s), 1, "the included one isn't counted");
        let seen = s.log().len();
        s.redis.stop("TERM");
        s.start_again();
        let log = s.log()[seen..].to_string();
        assert!(log.contains("loaded twice: "), "{log}");
        assert!(log.contains("CONFIG REWRITE"), "it says where the line comes from: {log}");
        eventually("one module is left", || listed(&s) == 1);
        assert_eq!(s.info_int("pool_size"), round);
        s.add_user(10 + round);
        s.assert_user_cached(10 + round);
    }
    // And it ends in order.
    s.redis.stop("TERM");
    assert!(!s.log().contains("crashed by signal"), "{}", s.log());
}

#[test]
fn three_lines_that_say_the_same_are_one() {
    // Whatever their spelling.
    let s = stopped(&["@LOAD@ POOL-SIZE 3", "@LOAD@ pool-size 3", "@LOAD@ Pool_Size 3"]);
    s.start_again();
    eventually("one module is left", || listed(&s) == 1);
    assert_eq!(s.info_int("pool_size"), 3);
    s.add_user(1);
}

#[test]
fn lines_that_differ_end_the_server_with_the_reason() {
    for (second, told) in [
        ("@LOAD@ POOL-SIZE 8", "POOL-SIZE 8"),
        ("@LOAD@ URL postgres://u:s3cret@h/d", "URL"),
        ("@LOAD@ POOL-SIZES 8", "unknown argument"),
        ("@LOAD@.missing", "missing"),
    ] {
        let s = stopped(&["include @INCLUDED@", second]);
        let line = refused(&s);
        assert!(line.contains(told) && line.contains("CONFIG REWRITE"), "{second}: {line}");
        assert!(!s.log().contains("s3cret"), "{}", s.log());
    }
}

#[test]
fn another_file_of_it_is_told_apart() {
    let s = stopped(&["@LOAD@"]);
    let copy = s.redis.dir().join("copy.so");
    std::fs::copy(module_path(), &copy).expect("a copy");
    let lines = [
        format!("loadmodule {} CONFIG {}", module_path(), s.config.display()),
        format!("loadmodule {} CONFIG {}", copy.display(), s.config.display()),
    ];
    s.redis.write_conf(&lines);
    let line = refused(&s);
    assert!(line.contains("another file"), "{line}");
}

#[test]
fn a_load_at_run_time_changes_nothing_and_says_so() {
    let s = Stack::users().start();
    s.add_user(1);
    s.load().assert_error("ERR Error loading the extension");
    s.wait_for_log("not loaded: loaded twice: ");
    s.load_with(&["CONFIG", "/nowhere"]).assert_error("ERR Error loading the extension");
    assert_eq!(listed(&s), 1);
    s.add_user(2);
    s.assert_user_cached(1);
    s.run("MODULE UNLOAD writethrough").assert_error("ERR ");
}

/// Nothing that an operator need not know is a warning.
#[test]
fn a_start_warns_of_nothing() {
    let s = Stack::users().start();
    let log = s.log();
    let ours: Vec<&str> = log.lines().filter(|line| line.contains("<writethrough>")).collect();
    assert!(!ours.is_empty() && ours.iter().all(|line| !line.contains(" # ")), "{ours:?}");
    assert!(!log.contains("defrag"), "{log}");
}
