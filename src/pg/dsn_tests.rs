use std::path::Path;

use super::super::tls::{Mode, Roots};
use super::*;

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
    assert!(problem("postgres://h/d?sslmod=require").contains("did you mean \"sslmode\"?"));
    assert!(problem("postgres://h:x/d").starts_with("url: invalid connection string: invalid"));
}

#[test]
fn no_error_holds_a_piece_of_the_password() {
    for text in [
        "postgres://u:se@cr?et=1@h/d",
        "postgres://u:p@h/d?secret",
        "postgres://u:p@h/d?secret=1",
        "host=h password=my secret user=u",
        "host=h password=my secret=x user=u",
        "host=h password='my secret",
        "mysql://u:secret@h/d",
        "secret",
        "postgres://u:secret@h:x/d",
    ] {
        let problem = problem(text);
        assert!(!problem.contains("secret") && !problem.contains("et=1"), "{text}: {problem}");
    }
}

#[test]
fn a_password_in_the_text_is_seen() {
    assert!(shows_password("postgres://u:p@h/d"));
    assert!(shows_password("host=h password=p"));
    assert!(!shows_password("postgres://u:${PGPASSWORD}@h/d"));
    assert!(!shows_password("postgres://u@h/d"));
    assert!(!shows_password("${URL}"));
}
