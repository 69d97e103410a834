//! What must not be told: the database's password to anybody, a row's values to the log and INFO.

use serde_json::{json, Value};

use crate::support::*;

/// In the URL it is written with %, so that both spellings are looked for.
const SECRET: &str = "Pa5s%w0rd+Xq";
const WRITTEN: &str = "Pa5s%25w0rd+Xq";
/// A value in rows.
const VALUE: &str = "V4lu3-0f-a-r0w";

/// A stack without the module, whose database takes the role `secretive` with the password.
fn with_password() -> Stack {
    let server = std::sync::Arc::new(PostgresServer::start_new());
    let role = format!("create role secretive login superuser password '{SECRET}'");
    let s = Stack::users()
        .postgres(&server)
        .sql(&role)
        .redis_conf("loglevel debug")
        .redis_conf("slowlog-log-slower-than 0")
        .redis_conf("slowlog-max-len 10000")
        .without_module()
        .start();
    server.require_password("secretive");
    s
}

/// The document with this role and password.
fn document(s: &Stack) -> Value {
    s.document_with(|d| d["url"] = url(s, WRITTEN).into())
}

fn url(s: &Stack, password: &str) -> String {
    let db = s.database.url();
    format!("postgres://secretive:{password}@{}", db.split_once('@').expect("a user").1)
}

/// All that an operator can read, each with its name.
fn shown(s: &Stack) -> Vec<(String, String)> {
    let asked = [
        "INFO everything",
        "INFO modules",
        "CONFIG GET *",
        "SLOWLOG GET 10000",
        "MODULE LIST",
        "ACL LOG",
        "CLIENT LIST",
        "LATENCY LATEST",
        "WT.STATUS",
        "WT.MAPPINGS",
    ];
    let mut shown: Vec<_> =
        asked.iter().map(|line| (line.to_string(), s.run(line).text())).collect();
    assert_eq!(s.run("CONFIG REWRITE"), ok());
    let conf = s.redis.dir().join("redis.conf");
    shown.push(("redis.conf".into(), std::fs::read_to_string(conf).expect("redis.conf")));
    shown.push(("the log".into(), s.log()));
    shown
}

#[track_caller]
fn assert_unsaid(shown: &[(String, String)], secrets: &[&str]) {
    for (place, text) in shown {
        for secret in secrets {
            if let Some(at) = text.find(secret) {
                let around: String = text[..at + secret.len()].chars().rev().take(300).collect();
                panic!("{place} shows `{secret}`: …{}", around.chars().rev().collect::<String>());
            }
        }
    }
}

/// Everything that can fail, fails once; the errors come back.
fn disturb(s: &Stack) -> Vec<(String, String)> {
    let mut errors = Vec::new();
    let mut run = |line: &str| errors.push((line.to_string(), s.run(line).text()));
    run("HSET __{users:1} username a email a@x pwhash h");
    run("HSET __{users:2} username a email b@x pwhash h");
    run("HSET __{users:2} dob never");
    run("HSET __{users:x} username a");
    run("HSET __{nobody:1} username a");
    run("MODULE UNLOAD writethrough");
    // The password is not the role's any more, and the sessions end.
    s.execute("alter role secretive password 'another'");
    eventually("the password is refused", || {
        // Again each time: a session may have been on its way in.
        s.database.terminate_sessions();
        s.run("HSET __{users:1} username b").text().contains("28P01")
    });
    run("HSET __{users:1} username b");
    errors
}

#[test]
fn the_password_is_shown_nowhere() {
    type Load = fn(&Stack, Value) -> Reply;
    let by_config: Load = |s, document| {
        let path = s.file("document.json", &document.to_string());
        s.load_with(&["CONFIG", &path])
    };
    let by_url_file: Load = |s, mut document| {
        let path = s.file("url", &format!("{}\n", document["url"].as_str().expect("a text")));
        document.as_object_mut().expect("an object").remove("url");
        document["url_file"] = path.into();
        s.load_with(&["JSON", &document.to_string()])
    };
    for load in [by_config, by_url_file] {
        let s = with_password();
        assert_eq!(load(&s, document(&s)), ok());
        assert!(!s.log().contains("the load arguments hold"));
        let errors = disturb(&s);
        assert_eq!(errors[0].1, "3", "it worked at first");
        assert_unsaid(&errors, &[SECRET, WRITTEN]);
        assert_unsaid(&shown(&s), &[SECRET, WRITTEN]);
    }
}

/// Redis keeps the arguments of MODULE LOAD, and no module can hide them.
#[test]
fn a_password_in_the_load_arguments_is_warned_of() {
    let s = with_password();
    assert_eq!(s.load_with(&["JSON", &document(&s).to_string()]), ok());
    s.wait_for_log("the load arguments hold the database's password, and MODULE LIST");
    let theirs = ["MODULE LIST", "SLOWLOG GET 10000", "redis.conf"];
    let ours: Vec<_> =
        shown(&s).into_iter().filter(|(place, _)| !theirs.contains(&&**place)).collect();
    assert_unsaid(&ours, &[SECRET, WRITTEN]);
    assert_unsaid(&disturb(&s), &[SECRET, WRITTEN]);
}

#[test]
fn a_load_that_fails_tells_no_password() {
    let s = with_password();
    let mappings = json!([users_mapping()]);
    let wrong_table = json!([{ "table": "nobody" }]);
    let good = url(&s, WRITTEN);
    for (url, mappings) in [
        (good.replace("127.0.0.1:", "127.0.0.1:x"), &mappings),
        (format!("{good}?sslmode=sometimes"), &mappings),
        (format!("{good}?secret={WRITTEN}"), &mappings),
        (format!("{good}?sslrootcert=/nowhere"), &mappings),
        (format!("host=h user=u password=a {WRITTEN}"), &mappings),
        (format!("mysql://u:{WRITTEN}@h/d"), &mappings),
        (good.clone(), &wrong_table),
    ] {
        // A database that doesn't answer in time is no reason to refuse the load.
        let document = s.document_with(|d| {
            d["url"] = url.into();
            d["mappings"] = mappings.clone();
        });
        let path = s.file("d.json", &document.to_string());
        s.load_with(&["CONFIG", &path]).assert_error("ERR Error loading the extension");
    }
    // Nor does a document that is no JSON, at the place where it ends.
    let path = s.file("d.json", &format!("{{ \"url\": \"{good}\", "));
    s.load_with(&["CONFIG", &path]).assert_error("ERR ");
    let path = s.file("d.json", &json!({ "url": [good], "mappings": mappings }).to_string());
    s.load_with(&["CONFIG", &path]).assert_error("ERR ");
    let asked = shown(&s).into_iter().filter(|(place, _)| !place.starts_with("WT."));
    assert_unsaid(&asked.collect::<Vec<_>>(), &[SECRET, WRITTEN]);
}

#[test]
fn a_file_with_the_url_that_cant_be_read_is_named() {
    let s = Stack::users().without_module().start();
    let folder = s.redis.dir().display().to_string();
    for (path, why) in [
        ("/nowhere/url", "url_file: /nowhere/url: No such file or directory"),
        (&*folder, "Is a directory"),
        (&*s.file("empty", "\n"), "empty: it is empty"),
    ] {
        let document = json!({ "url_file": path, "mappings": [users_mapping()] });
        s.load_with(&["JSON", &document.to_string()]).assert_error("ERR ");
        s.wait_for_log(why);
    }
}

/// A module can't keep them from SLOWLOG, which shows every command's arguments.
#[test]
fn a_rows_values_are_in_no_log_and_not_in_info() {
    let sql = "
create table orders (id int primary key, what text unique check (what <> 'bad'), n int, at date);
create function told() returns trigger language plpgsql as $$ begin
    if new.n = 13 then raise exception 'no: %', new.what using detail = new.what, hint = new.what; end if;
    if new.n = 14 then raise notice 'look: %', new.what; end if;
    if new.n = 15 then raise exception 'try: %', new.what using errcode = '40001'; end if;
    return new;
end $$;
create trigger told before insert or update on orders for each row execute function told();
create table small (id int primary key, v varchar(3))";
    let s = Stack::users()
        .sql(sql)
        .mapping(json!({ "table": "orders" }))
        .mapping(json!({ "table": "small" }))
        .redis_conf("loglevel debug")
        .start();
    let run = |line: &str| s.run(&line.replace("@V@", VALUE));
    assert_eq!(run("HSET __{orders:1} what @V@ n 1"), int(2));
    assert_eq!(run("HSET __{orders:2} what @V@-14 n 14"), int(2));
    for (line, code) in [
        ("HSET __{orders:3} what @V@", "WTERR 23505"),
        ("HSET __{orders:3} at @V@", "WTERR 22007"),
        ("HSET __{orders:@V@} n 1", "WTERR 22P02"),
        ("HSET __{small:1} v @V@", "WTERR 22001"),
        ("HSET __{orders:3} what @V@-13 n 13", "WTERR P0001"),
        ("HSET __{orders:3} what @V@-15 n 15", "W"),
        ("HSET __{orders:3} @V@ 1", "ERR writethrough"),
        ("HSET __{@V@:3} n 1", "ERR writethrough"),
    ] {
        // The one that fails again and again is late.
        let reply = s.run_late(&line.replace("@V@", VALUE));
        reply.assert_error(code);
        let info = s.run("INFO everything").text() + &s.run("WT.STATUS").text();
        assert!(!info.contains(VALUE), "{line}: {info}");
    }
    let lock = s.database.hold("lock table orders");
    s.run_late(&format!("HSET __{{orders:1}} what {VALUE}-late")).assert_error("WTTIMEOUT ");
    lock.rollback();
    s.database.terminate_sessions();
    run("HSET __{orders:1} what @V@-later");
    s.restart_redis("TERM");
    assert_unsaid(&[("the log".into(), s.log())], &[VALUE]);
}

/// A piece of the password would be taken for the host, which CONFIG GET shows.
#[test]
fn a_password_with_an_at_sign_fails_the_load() {
    for url in [
        "postgres://u:pa@s3cret@127.0.0.1:1/d",
        "postgres://u:pa@s3cret/x@127.0.0.1:1/d",
        "host=@s3cret",
    ] {
        let Err(log) = Stack::users().option("url", url).try_start() else {
            panic!("{url}: loaded")
        };
        assert!(log.contains("write '@' as %40") && !log.contains("s3cret"), "{url}: {log}");
    }
    let Err(log) = Stack::users()
        .option("url", Value::Null)
        .option("url_file", "postgres://u:s3cret@h/d")
        .try_start()
    else {
        panic!("loaded")
    };
    assert!(log.contains("url_file: postgres://…") && !log.contains("s3cret"), "{log}");
}
