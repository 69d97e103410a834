//! TLS to PostgreSQL: what each `sslmode` takes and refuses, and the words for it.

use crate::support::*;

const WRITE: &str = "HSET __{users:1} username a email a@x pwhash h";

/// The module, on a database that is there already, with time enough for a busy machine.
#[track_caller]
fn start(database: Database, url: &str) -> Stack {
    builder(url).try_start_on(database).unwrap_or_else(|log| panic!("{url}: not loaded:\n{log}"))
}

fn builder(url: &str) -> Builder {
    Stack::users().option("url", url).option("connect_timeout_ms", 20_000).patient()
}

/// Whether the module's sessions are encrypted.
#[track_caller]
fn encrypted(s: &Stack) -> bool {
    let sql = "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid)
               where application_name = 'writethrough' and datname = current_database()";
    s.one(sql) == "t"
}

#[track_caller]
fn works(pg: &TlsPostgres, user: &str, parameters: &str) -> Stack {
    let database = pg.users_database();
    let url = pg.url(user, &database, parameters);
    let s = start(database, &url);
    assert_eq!(s.run(WRITE), int(3), "{url}: {}", s.info()["writethrough_last_error"]);
    s
}

/// No connection is made, and the client, INFO and the log say why.
#[track_caller]
fn refused(pg: &TlsPostgres, user: &str, parameters: &str, why: &[&str]) {
    let database = pg.users_database();
    let url = pg.url(user, &database, parameters);
    let s = start(database, &url);
    let told = s.run(WRITE).assert_error("WTDOWN ").to_string();
    for words in why {
        assert!(told.contains(words), "{url}: `{words}` is missing in `{told}`");
        assert!(s.info()["writethrough_last_error"].contains(words), "{url}");
        assert!(s.log().contains(words), "{url}");
    }
    assert_eq!(s.count("users"), 0);
}

#[test]
fn each_mode_takes_the_right_certificate() {
    let pg = TlsPostgres::start();
    let roots = pg.roots();
    for parameters in [
        "".to_string(),
        "sslmode=prefer".into(),
        "sslmode=require".into(),
        format!("sslmode=require&{roots}"),
        format!("sslmode=verify-ca&{roots}"),
        format!("sslmode=verify-full&{roots}"),
    ] {
        assert!(encrypted(&works(&pg, "postgres", &parameters)), "{parameters}");
    }
    assert!(!encrypted(&works(&pg, "postgres", "sslmode=disable")));
    // By address, and as libpq's pairs.
    let database = pg.users_database();
    let (port, name) = (pg.server.port(), database.name());
    let root = roots.replace("sslrootcert=", "");
    let pairs = format!(
        "hostaddr=127.0.0.1 port={port} user=postgres dbname={name} sslmode = verify-full \
         sslrootcert='{root}'"
    );
    let s = start(database, &pairs);
    assert_eq!(s.run(WRITE), int(3));
    assert!(encrypted(&s));
}

#[test]
fn the_systems_authorities_are_trusted_when_none_is_named() {
    let pg = TlsPostgres::start();
    let store = pg.file("store.pem", &pg.authority.cert);
    for parameters in ["sslmode=verify-full", "sslrootcert=system"] {
        let database = pg.users_database();
        let url = pg.url("postgres", &database, parameters);
        let s =
            builder(&url).env("SSL_CERT_FILE", &store).try_start_on(database).expect("it loads");
        assert_eq!(s.run(WRITE), int(3), "{parameters}");
        assert!(encrypted(&s));
    }
    refused(&pg, "postgres", "sslmode=verify-full", &["signed by", "the system's store"]);
}

#[test]
fn a_server_with_the_wrong_certificate_is_refused_with_the_reason() {
    let pg = TlsPostgres::start();
    let roots = pg.roots();
    let checking: Vec<String> = ["require", "verify-ca", "verify-full"]
        .map(|mode| format!("sslmode={mode}&{roots}"))
        .to_vec();

    // An authority that isn't known.
    pg.present(&pg.stranger.server(&["localhost"]));
    for parameters in &checking {
        let why = ["the server's certificate is not signed by an authority in", &roots];
        refused(&pg, "postgres", parameters, &why);
    }
    assert!(encrypted(&works(&pg, "postgres", "sslmode=require")), "it asks for no check");

    // Another name: only verify-full looks at it.
    pg.present(&pg.authority.server(&["db.example.com", "10.1.2.3"]));
    let why = ["db.example.com, 10.1.2.3, not for localhost", "sslmode=verify-full"];
    refused(&pg, "postgres", &checking[2], &why);
    works(&pg, "postgres", &checking[1]);

    // A date in the past.
    pg.present(&pg.authority.expired_server(&["localhost"]));
    for parameters in &checking {
        refused(&pg, "postgres", parameters, &["the server's certificate has expired", "days ago"]);
    }

    // No TLS at all: an attacker in the middle can say so.
    pg.without_tls();
    for parameters in &checking {
        refused(
            &pg,
            "postgres",
            parameters,
            &["the server does not support TLS", &parameters[..15]],
        );
    }
    refused(&pg, "postgres", "sslmode=require", &["the server does not support TLS"]);
    assert!(!encrypted(&works(&pg, "postgres", "sslmode=prefer")));
}

/// `openssl req -x509`, which PostgreSQL's manual begins with.
#[test]
fn a_certificate_may_be_its_own_authority() {
    let pg = TlsPostgres::start();
    let own = self_signed(&["localhost"]);
    pg.present(&own);
    let roots = format!("sslmode=verify-full&sslrootcert={}", pg.file("own.pem", &own.cert));
    assert!(encrypted(&works(&pg, "postgres", &roots)));
    pg.present(&self_signed(&["localhost"]));
    refused(&pg, "postgres", &roots, &["the server's certificate"]);
    let other = self_signed(&["db.example.com"]);
    pg.present(&other);
    let roots = format!("sslmode=verify-full&sslrootcert={}", pg.file("own.pem", &other.cert));
    refused(&pg, "postgres", &roots, &["db.example.com, not for localhost"]);
}

#[test]
fn a_client_is_known_by_its_certificate() {
    let pg = TlsPostgres::start();
    let full = format!("sslmode=verify-full&{}", pg.roots());
    let with = |name: &str, pair: &Pair| format!("{full}&{}", pg.identity(name, pair));
    let good = pg.authority.client("by_certificate");
    assert!(encrypted(&works(&pg, "by_certificate", &with("good", &good))));

    let other_role = with("other_role", &pg.authority.client("somebody"));
    let why = ["28000 certificate authentication failed for user \"by_certificate\""];
    refused(&pg, "by_certificate", &other_role, &why);
    let why = ["28000 connection requires a valid client certificate: give sslcert and sslkey"];
    refused(&pg, "by_certificate", &full, &why);
    // The server's alert may be lost: then the words say where to look.
    let wrong = with("wrong", &pg.stranger.client("by_certificate"));
    refused(
        &pg,
        "by_certificate",
        &wrong,
        &["refused the client certificate in sslcert", "wrong.pem"],
    );
}

#[test]
fn files_that_cant_be_used_fail_the_load() {
    let pg = TlsPostgres::start();
    let (good, other) = (pg.authority.client("a"), pg.authority.client("b"));
    let mixed = Pair { cert: good.cert.clone(), key: other.key };
    let text = pg.file("text", "no PEM\n");
    let encrypted = pg.file("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n");
    let cert = pg.file("good.pem", &good.cert);
    for (parameters, why) in [
        (
            "sslrootcert=/nowhere/ca.pem".to_string(),
            "url: sslrootcert=/nowhere/ca.pem: No such file",
        ),
        ("sslrootcert=/".into(), "url: sslrootcert=/: Is a directory"),
        (format!("sslrootcert={text}"), "expected a certificate in PEM"),
        ("sslcert=/nowhere/c&sslkey=/nowhere/k".into(), "url: sslcert=/nowhere/c: No such file"),
        (format!("sslcert={cert}&sslkey=/nowhere/k"), "url: sslkey=/nowhere/k: No such file"),
        (format!("sslcert={cert}&sslkey={text}"), "expected a private key in PEM"),
        (format!("sslcert={cert}&sslkey={encrypted}"), "encrypted.key: the key is encrypted"),
        (pg.identity("mixed", &mixed), "mixed.key is not the key of sslcert="),
        ("sslmode=verify-ca".into(), "url: sslmode=verify-ca: give sslrootcert"),
        ("sslmode=allow".into(), "expected disable, prefer, require, verify-ca or verify-full"),
        (format!("sslcert={cert}"), "url: sslcert is given without sslkey"),
    ] {
        let database = pg.users_database();
        let url = pg.url("postgres", &database, &parameters);
        let log = builder(&url).try_start_on(database).err().expect(&url);
        assert!(log.contains(why), "{url}: `{why}` is missing in\n{log}");
    }
}

#[test]
fn renewed_files_are_used_by_new_connections() {
    let pg = TlsPostgres::start();
    let identity = pg.identity("client", &pg.authority.client("by_certificate"));
    let parameters = format!("sslmode=verify-full&{}&{identity}", pg.roots());
    let s = works(&pg, "by_certificate", &parameters);

    // The server's side moves to another authority, and what the module has is worth nothing.
    let next = Authority::new("next year's");
    pg.trust(&next);
    pg.present(&next.server(&["localhost"]));
    eventually("the old certificates are refused", || {
        s.run("HSET __{users:1} username b").is_error()
    });

    pg.file("roots.pem", &next.cert);
    pg.identity("client", &next.client("by_certificate"));
    eventually("the new ones are read", || s.run("HSET __{users:1} username c") == int(0));
    assert!(encrypted(&s));
    s.assert_user_cached(1);
}

/// As libpq does.
#[test]
fn prefer_goes_on_without_tls_where_the_server_refuses_it() {
    let pg = TlsPostgres::start();
    assert!(!encrypted(&works(&pg, "in_the_clear", "sslmode=prefer")));
    let why = ["28000 pg_hba.conf rejects connection", "SSL encryption"];
    refused(&pg, "in_the_clear", "sslmode=require", &why);
    let why = ["28000 pg_hba.conf rejects connection", "no encryption"];
    refused(&pg, "by_certificate", "sslmode=disable", &why);
    let why = ["connection requires a valid client certificate", "; and without TLS: 28000"];
    refused(&pg, "by_certificate", "sslmode=prefer", &why);
}

#[test]
fn scram_is_bound_to_the_channel() {
    let pg = TlsPostgres::start();
    let user = format!("by_password:{PASSWORD}");
    let full = format!("sslmode=verify-full&{}", pg.roots());
    works(&pg, &user, &full);
    let s = works(&pg, &user, &format!("{full}&channel_binding=require"));
    assert!(encrypted(&s));
    let password =
        s.one("select left(rolpassword, 13) from pg_authid where rolname = 'by_password'");
    assert_eq!(password, "SCRAM-SHA-256");
    refused(&pg, "by_password:wrong", &full, &["28P01 password authentication failed"]);
    // Without TLS there is nothing to bind to.
    let why = ["SCRAM", "channel binding"];
    let user = format!("{PASSWORD_USER}:{PASSWORD}");
    refused(&pg, &user, "sslmode=disable&channel_binding=require", &why[1..]);
}
