//! INFO, WT.STATUS, WT.MAPPINGS, and what none of them may show.

use crate::support::*;

#[test]
fn info_counts_what_happened() {
    let s = Stack::users().start();
    s.add_user(1);
    s.add_user(2);
    s.run("HSET __{users:2} username u1").assert_error("WTERR ");
    s.run("MULTI");
    s.run("HSET __{users:2} first x");
    s.run("EXEC");
    let lock = s.lock_user(1);
    s.run_late("HSET __{users:1} first x").assert_error("WTTIMEOUT ");
    lock.rollback();
    eventually("the late write is settled", || s.run("EXISTS __{users:1}") == int(0));
    let info = s.info();
    assert_eq!(info["writethrough_writes_acknowledged"], "3", "{info:?}");
    assert_eq!(info["writethrough_writes_refused"], "1", "{info:?}");
    assert_eq!(info["writethrough_writes_timed_out"], "1", "{info:?}");
    assert_eq!(info["writethrough_sync_writes"], "1", "{info:?}");
    assert_eq!(info["writethrough_in_flight"], "0", "{info:?}");
    assert_eq!(info["writethrough_waiting"], "0", "{info:?}");
    assert_eq!(info["writethrough_database"], "up");
    assert!(info["writethrough_last_error"].contains("23505"), "{info:?}");
    assert!(s.info_int("batches") >= 3 && s.info_int("rows") >= 3, "{info:?}");
}

#[test]
fn info_shows_what_is_in_flight() {
    let s = Stack::users().one_worker().start();
    s.add_user(1);
    let held = s.hold();
    let mut writer = s.send("HSET __{users:1} first x");
    s.wait_for_blocked(2);
    assert_eq!(s.info_int("in_flight"), 2);
    assert_eq!(s.info_int("waiting"), 1);
    held.release();
    assert_eq!(writer.receive(), int(1));
    assert_eq!((s.info_int("in_flight"), s.info_int("waiting")), (0, 0));
}

#[test]
fn info_has_its_sections_in_everything_and_modules() {
    let s = Stack::users().start();
    for section in ["everything", "modules", "writethrough"] {
        let text = s.cmd(&["INFO", section]).text();
        assert!(text.contains("# writethrough"), "INFO {section}");
        assert!(text.contains("\r\nwritethrough_database:up\r\n"), "INFO {section}");
    }
}

#[test]
fn the_last_error_is_told_by_its_sqlstate() {
    let s = Stack::users().start();
    s.execute(
        r"create function refuse() returns trigger language plpgsql as
          $$ begin raise exception E'one\r\ntwo: %', 3; end $$",
    );
    s.execute(
        "create trigger refuse before insert on users for each row execute function refuse()",
    );
    s.run("HSET __{users:1} username a email a pwhash h").assert_error("WTERR P0001 one");
    // Not the message: it may hold a row's values.
    assert!(s.info()["writethrough_last_error"].contains("P0001"), "{:?}", s.info());
}

#[test]
fn status_is_a_map() {
    let s = Stack::users().start();
    s.add_user(1);
    let flat = s.run("WT.STATUS");
    let pairs = flat.array();
    assert!(!pairs.is_empty() && pairs.len().is_multiple_of(2), "{flat:?}");
    assert!(pairs.iter().step_by(2).all(|name| matches!(name, Reply::Bulk(_) | Reply::Status(_))));
    let mut conn = s.conn();
    conn.run("HELLO 3");
    assert!(matches!(conn.run("WT.STATUS"), Reply::Map(_)));
    s.run("WT.STATUS extra").assert_error("ERR wrong number of arguments");
}

#[test]
fn mappings_shows_columns_types_and_nullability() {
    let s = Stack::users().start();
    let text = s.run("WT.MAPPINGS").text();
    for word in ["users", "username", "pwhash", "password_hash", "character varying(255)", "date"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let end = "plain_writes allow on_delete evict id_pattern any write through";
    assert!(text.ends_with(end), "{text}");
    s.run("WT.MAPPINGS extra more").assert_error("ERR wrong number of arguments");
}

#[test]
fn the_password_is_nowhere_to_be_seen() {
    let url = format!("postgres://{PASSWORD_USER}:{PASSWORD}@@DB@");
    let s = Stack::users().option("url", url).start();
    s.add_user(1);
    s.database.terminate_sessions();
    s.execute(&format!(
        "alter role {PASSWORD_USER} in database {} set search_path to nowhere",
        s.database.name()
    ));
    s.database.terminate_sessions();
    let writes = ["HSET __{users:1} first x", "HSET __{users:1} dob x"];
    let mut seen = writes.map(|line| s.run_late(line).text()).to_vec();
    for line in ["INFO everything", "CONFIG GET *", "WT.STATUS", "WT.MAPPINGS", "SLOWLOG GET"] {
        seen.push(s.run(line).text());
    }
    seen.push(s.log());
    for text in seen {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn the_password_of_a_database_out_of_reach_is_not_shown() {
    let url = format!("postgres://u:{PASSWORD}@127.0.0.1:1/none?connect_timeout=1");
    let s = Stack::users().option("url", url).start();
    let mut seen = vec![s.run("HSET __{users:1} first x").text()];
    for line in ["INFO everything", "CONFIG GET *", "WT.STATUS"] {
        seen.push(s.run(line).text());
    }
    seen.push(s.log());
    for text in seen {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn the_password_of_a_wrong_document_is_not_shown() {
    let s = Stack::users().without_module().start();
    for url in [
        format!("postgres://u:{PASSWORD}@h:port/d"),
        format!("postgres://u:{PASSWORD}@h/d?sslmode=perhaps"),
        format!("postgres//u:{PASSWORD}@h/d"),
        format!("u={PASSWORD} password={PASSWORD}"),
    ] {
        let document = serde_json::json!({ "url": url, "mappings": [users_mapping()] });
        assert!(s.load_with(&["JSON", &document.to_string()]).is_error(), "{url}");
        assert!(s.load_with(&["JSON", &document.to_string()[1..]]).is_error());
        assert!(!s.log().contains(PASSWORD), "{}", s.log());
    }
}

#[test]
fn a_values_text_is_not_logged() {
    let s = Stack::users().redis_conf("loglevel debug").start();
    assert_eq!(s.run("HSET __{users:1} username a email a pwhash very-private-hash"), int(3));
    s.run("HSET __{users:2} username a email b pwhash very-private-hash")
        .assert_error("WTERR 23505 ");
    // This error's detail is the whole row: for nobody.
    s.run("HSET __{users:2} username b pwhash very-private-hash").assert_error("WTERR 23502 ");
    assert!(!s.log().contains("very-private-hash"), "{}", s.log());
}
