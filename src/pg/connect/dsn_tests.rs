use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::limits::Limits;
use crate::config::settings::Settings;
use crate::config::Config;
use crate::engine::Terms;
use crate::pg::connect::pool::Manager;
use crate::pg::connect::timeline::Timeline;
use crate::pg::connect::tls::{Mode, Roots};

fn tls(text: &str) -> TlsOptions {
    parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).1
}

fn problem(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn tls_is_taken_out_of_a_url() {
    let url = "postgres://u:p%3F@h/d?sslmode=verify-ca&options=-c%20x&sslrootcert=%2Fa%20b.pem";
    let (config, tls) = parse(url).unwrap();
    assert_eq!((config.get_user(), config.get_options()), (Some("u"), Some("-c x")));
    assert_eq!((config.get_password(), config.get_dbname()), (Some(&b"p?"[..]), Some("d")));
    assert_eq!(tls.mode, Mode::VerifyCa);
    assert_eq!(tls.roots, Some(Roots::File("/a b.pem".into())));
    assert_eq!(parse("postgresql://h?sslmode=disable").unwrap().1.mode, Mode::Disable);
}

#[test]
fn tls_is_taken_out_of_pairs() {
    let text = r"host=h sslcert = '/c d\'.pem' sslmode=require password='a\' sslmode=x' sslkey=/k\ y user=u";
    let (config, tls) = parse(text).unwrap();
    assert_eq!((config.get_user(), config.get_password()), (Some("u"), Some(&b"a' sslmode=x"[..])));
    let (cert, key) = tls.identity.expect("both");
    assert_eq!((&*cert, &*key), (Path::new("/c d'.pem"), Path::new("/k y")));
    assert_eq!(tls.mode, Mode::Require);
}

#[test]
fn defaults_are_libpqs() {
    assert_eq!(tls("postgres://h/d").mode, Mode::Prefer);
    // No authority is named, so the system's; and for those the name has to be checked.
    assert_eq!(tls("postgres://h/d?sslmode=verify-full").roots, Some(Roots::System));
    assert_eq!(tls("postgres://h/d?sslrootcert=system").mode, Mode::VerifyFull);
    let weak = problem("postgres://h/d?sslrootcert=system&sslmode=verify-ca");
    assert!(weak.contains("sslrootcert=system") && weak.contains("verify-full"), "{weak}");
    assert!(problem("postgres://h/d?sslmode=verify-ca").contains("sslrootcert"));
    assert!(problem("postgres://h/d?sslcert=/c").contains("sslkey"));
    assert!(problem("postgres://h/d?sslkey=/k").contains("sslcert"));
    assert!(problem("postgres://h/d?sslmode=allow").contains("expected disable, prefer, require"));
}

#[test]
fn an_address_without_a_name_is_its_name() {
    let (config, _) = parse("hostaddr=127.0.0.1 user=u").unwrap();
    assert_eq!(config.get_hosts(), [postgres::config::Host::Tcp("127.0.0.1".into())]);
}

#[test]
fn parameters_are_named_where_that_gives_nothing_away() {
    assert_eq!(problem("postgres://h/d?sslcrl=/x"), "url: the parameter sslcrl is not supported");
    let near = "url: the parameter sslmod is unknown; did you mean \"sslmode\"?";
    assert_eq!(problem("postgres://h/d?sslmod=require"), near);
    assert_eq!(problem("host=h sslmod=require"), near);
    assert!(
        problem("postgres://u:p@h/d?zzz=1").starts_with("url: the parameter zzz is unknown; in ")
    );
    assert!(problem("postgres://h:x/d").starts_with("url: invalid connection string: invalid"));
}

#[test]
fn no_error_holds_a_piece_of_the_password() {
    for text in [
        "postgres://u:se@cr?et=1@h/d",
        "postgres://h/d?password=my&secret=1",
        "postgres://u@h/d?password=my&sslmode=disable&secret",
        "postgres://u@h/d?my+secret=1",
        "host=h password=my secret user=u",
        "host=h password=my secret=x user=u",
        "host=h password='my secret",
        "mysql://u:secret@h/d",
        "secret",
        "postgres://u:secret@h:x/d",
        "postgres://u:pa@secret@h/d",
        "postgres://u:pa@secret/x@h/d",
        "postgres://u:pa@secret?user=secret@h/d",
        "postgres://us@er:secret@h/d",
        "host=h@secret user=u",
        "postgres://u:p@h%40secret/d",
        "password=my sslcrl=secret host=h",
    ] {
        let problem = problem(text);
        assert!(!problem.contains("secret") && !problem.contains("et=1"), "{text}: {problem}");
    }
}

#[test]
fn what_other_programs_call_so_is_said_in_our_words() {
    for (parameter, word) in [
        ("pgbouncer=true", "pool_mode=session"),
        ("schema=shop", "name the schema in the mapping"),
        ("currentSchema=shop", "name the schema in the mapping"),
        ("connection_limit=5", "pool_size in the document"),
        ("ssl=true", "sslmode=require"),
        ("socket_timeout=3", "timeout_ms"),
        ("ApplicationName=x", "did you mean \"application_name\"?"),
    ] {
        let name = parameter.split('=').next().unwrap();
        for text in [format!("postgres://u:p@h/d?{parameter}"), format!("host=h {parameter}")] {
            let problem = problem(&text);
            assert!(problem.contains(name) && problem.contains(word), "{text}: {problem}");
        }
    }
}

#[test]
fn what_libpq_has_and_is_done_anyway_is_taken() {
    let url = "postgres://u@h/d?gssencmode=disable&target_session_attrs=primary&sslsni=1\
               &fallback_application_name=shop%201&keepalives_count=7&client_encoding=UTF8";
    let (config, _) = parse(url).unwrap();
    assert_eq!(config.get_application_name(), Some("shop 1"));
    assert_eq!(config.get_keepalives_retries(), Some(7));
    let pairs = "host=h gssencmode=prefer target_session_attrs=any application_name=a \
                 fallback_application_name='b c'";
    assert_eq!(parse(pairs).unwrap().0.get_application_name(), Some("a"));
    for (parameter, word) in [
        ("gssencmode=require", "disable or prefer"),
        ("target_session_attrs=standby", "takes no writes"),
        ("target_session_attrs=prefer-standby", "takes no writes"),
        ("target_session_attrs=read-only", "takes no writes"),
        ("target_session_attrs=master", "expected read-write, primary or any"),
        ("client_encoding=latin1", "UTF8"),
        ("keepalives_count=x", "a number"),
    ] {
        assert!(problem(&format!("postgres://h/d?{parameter}")).contains(word), "{parameter}");
    }
}

#[test]
fn blanks_around_it_are_no_part_of_it() {
    let (config, tls) = parse("\n postgres://u@h/d?sslmode=require \r\n").unwrap();
    assert_eq!((config.get_dbname(), tls.mode), (Some("d"), Mode::Require));
    assert_eq!(parse("  host=h dbname=d \n").unwrap().0.get_dbname(), Some("d"));
    assert!(shows_password(" postgres://u:p@h/d\n"));
}

#[test]
fn a_password_in_the_text_is_seen() {
    assert!(shows_password("postgres://u:p@h/d"));
    assert!(shows_password("host=h password=p"));
    assert!(!shows_password("postgres://u:${PGPASSWORD}@h/d"));
    assert!(!shows_password("postgres://u@h/d"));
    assert!(!shows_password("${URL}"));
}

#[test]
fn an_at_sign_too_many_is_told_with_what_to_write() {
    for text in ["postgres://u:a@b@h/d", "host=a@b user=u", "postgres://u@h/d?options=a@b"] {
        assert!(problem(text).contains("write '@' as %40"), "{text}");
    }
    let (config, _) = parse("postgres://u%40x:a%40b@h/d%40e").unwrap();
    assert_eq!((config.get_user(), config.get_password()), (Some("u@x"), Some(&b"a@b"[..])));
    let (config, _) = parse("user=u@x password=a@b host=h dbname=d@e").unwrap();
    assert_eq!((config.get_user(), config.get_dbname()), (Some("u@x"), Some("d@e")));
}

/// The URL that CONFIG GET shows, or the error that the log has.
fn shown(url: &str) -> String {
    let document = r#"{"mappings":[{"table":"t"}]}"#;
    let config = Config::parse(document, vec![]).unwrap();
    let limits = Limits::new(|limit| config.limit(limit));
    let (timeline, terms) = (Arc::new(Timeline::new(|| ())), Arc::new(Terms::new(true)));
    let manager = Manager::new(Arc::new(limits), url, timeline, Settings::default(), terms, false);
    manager.map_or_else(|error| error.to_string(), |manager| manager.shown())
}

proptest::proptest! {
    /// However it is written, and however wrongly.
    #[test]
    fn no_piece_of_a_password_is_ever_shown(password in r"[A-Z0-9@/:#?\[\]%&=+,;. '\\$_é-]{3,24}") {
        use percent_encoding::{utf8_percent_encode, NON_ALPHANUMERIC};
        let encoded = utf8_percent_encode(&password, NON_ALPHANUMERIC).to_string();
        let quoted = password.replace('\\', r"\\").replace('\'', r"\'");
        let right = [format!("postgres://u:{encoded}@h/d"), format!("password='{quoted}' host=h user=u dbname=d")];
        for text in &right {
            let (config, _) = parse(text).expect("a good one");
            proptest::prop_assert_eq!(config.get_password(), Some(password.as_bytes()));
        }
        let wrong = [
            format!("postgres://u:{password}@h/d"),
            format!("postgres://u:{password}@h,i:5433/d?sslmode=disable"),
            format!("postgres://h/d?password={password}"),
            format!("postgres://h/d?user=u&password={password}&sslmode=disable"),
            format!("password={password} host=h user=u"),
            format!("host=h password='{password}' user=u"),
            format!("host=h user=u password={password}"),
        ];
        let hints = [AT_SIGN, "write '@' as %40, '?' as %3F, '&' as %26, '%' as %25", "postgres://u@h:5432,i:5433/d", "postgres://u@h:5432/d", "postgres://h:5432/d", "no postgres:// URL, nor libpq's host=… user=…"];
        for text in right.iter().chain(&wrong) {
            let shown = shown(text);
            for piece in password.as_bytes().windows(3).chain(encoded.as_bytes().windows(3)) {
                let Ok(piece) = std::str::from_utf8(piece) else { continue };
                let is_said_anyway = hints.iter().any(|hint| hint.contains(piece));
                proptest::prop_assert!(is_said_anyway || !shown.contains(piece), "{}: {}", text, shown);
            }
        }
    }
}
