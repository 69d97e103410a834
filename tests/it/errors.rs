//! What the database refuses: the client reads its words, and nothing changes.

use serde_json::json;

use crate::support::*;

const ITEMS_SQL: &str = "
create table items (
    id int primary key,
    owner int references users,
    stock int check (stock >= 0),
    small smallint,
    code char(3),
    price numeric(5,2),
    name text not null default 'thing',
    twice int generated always as (stock * 2) stored
)";

fn users_and_items() -> Stack {
    let s = Stack::users().sql(ITEMS_SQL).mapping(json!({ "table": "items" })).start();
    s.add_user(1);
    s.add_user(2);
    assert_eq!(s.run("HSET __{items:1} stock 5 owner 1"), int(2));
    s
}

#[test]
fn a_refused_write_changes_nothing() {
    let s = users_and_items();
    for (line, start) in [
        ("HSET __{users:2} username u1", "WTERR 23505 duplicate key value violates unique constraint \"users_username_key\""),
        ("HSET __{users:3} username u1 email x@x pwhash h", "WTERR 23505 duplicate key value violates unique constraint \"users_username_key\""),
        ("HSET __{users:3} username new", "WTERR 23502 null value in column \"email\" of relation \"users\" violates not-null constraint"),
        ("HMSET __{users:1} dob soon", "WTERR 22007 invalid input syntax for type date: \"soon\""),
        ("HSET __{users:1} dob 2023-02-31", "WTERR 22008 date/time field value out of range: \"2023-02-31\""),
        ("HSET __{items:1} stock -1", "WTERR 23514 new row for relation \"items\" violates check constraint \"items_stock_check\""),
        ("HSET __{items:2} stock -1", "WTERR 23514 "),
        ("HSET __{items:1} owner 99", "WTERR 23503 insert or update on table \"items\" violates foreign key constraint \"items_owner_fkey\""),
        ("HSET __{items:1} stock many", "WTERR 22P02 invalid input syntax for type integer: \"many\""),
        ("HSET __{items:1} stock 99999999999", "WTERR 22003 "),
        ("HSET __{items:1} small 70000", "WTERR 22003 "),
        ("HSET __{items:1} price 1000", "WTERR 22003 numeric field overflow"),
        // An explicit cast would cut it off in silence.
        ("HSET __{items:1} code abcd", "WTERR 22001 value too long for type character(3)"),
    ] {
        s.assert_line_refused(line, start);
    }
    s.assert_user_cached(1);
    assert_eq!(s.run("HSET __{items:1} stock 6"), int(0), "the connections still serve");
}

#[test]
fn an_error_names_the_constraint_the_column_and_the_detail() {
    let s = users_and_items();
    let text = s.assert_line_refused("HSET __{users:2} username u1", "WTERR 23505 ");
    assert!(text.contains(" constraint=users_username_key"), "{text}");
    assert!(text.contains(" detail=Key (username)=(u1) already exists."), "{text}");
    let text = s.assert_line_refused("HSET __{users:3} username new", "WTERR 23502 ");
    assert!(text.contains(" column=email"), "{text}");
    let text = s.assert_line_refused("HSET __{items:1} stock -1", "WTERR 23514 ");
    assert!(text.contains(" constraint=items_stock_check"), "{text}");
}

#[test]
fn a_megabyte_doesnt_fit_in_255_characters() {
    let s = Stack::users().start();
    s.add_user(1);
    let megabyte = "x".repeat(1 << 20);
    let text = s.assert_refused(
        &["HSET", "__{users:1}", "first", &megabyte],
        "WTERR 22001 value too long for type character varying(255)",
    );
    assert!(text.len() < 10_000, "the error doesn't carry the value");
    let longest = "x".repeat(255);
    assert_eq!(s.cmd(&["HSET", "__{users:1}", "first", &longest]), int(1));
}

#[test]
fn a_megabyte_fits_in_text() {
    let sql = "create table notes (id int primary key, body text)";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "notes" })).start();
    let megabyte = "ä".repeat(1 << 19);
    assert_eq!(s.cmd(&["HSET", "__{notes:1}", "body", &megabyte]), int(1));
    assert_eq!(s.one("select octet_length(body) from notes"), "1048576");
    assert_eq!(s.cmd(&["HGET", "notes:1", "body"]), bulk(&megabyte));
}

#[test]
fn a_generated_column_cannot_be_written() {
    let s = users_and_items();
    let text = s.assert_line_refused("HSET __{items:1} twice 7", "");
    assert!(text.starts_with("WTERR 428C9 ") || text.starts_with("ERR writethrough: "), "{text}");
}

/// A trigger that refuses, in words that printf, RESP and the server's log stumble over.
const WEIRD_SQL: &str = r#"
create table weird (id int primary key, what text);
create function refuse() returns trigger language plpgsql as $$ begin
    case new.what
    when 'percent' then raise exception 'weird %% %s%% %%n %%', 'x';
    when 'lines' then raise exception E'one\r\ntwo\n+OK' using detail = E'three\nfour';
    when 'own' then raise exception 'mine' using errcode = 'WT001', constraint = 'c', column = 'k';
    when 'letters' then raise exception 'käse ☃';
    when 'long' then raise exception '%', repeat('long ', 20000);
    else return new;
    end case;
end $$;
create trigger refuse before insert or update on weird for each row execute function refuse()
"#;

#[test]
fn a_triggers_words_reach_the_client_whole() {
    let s = Stack::new().sql(WEIRD_SQL).mapping(json!({ "table": "weird" })).start();
    let refused =
        |what: &str, start: &str| s.assert_refused(&["HSET", "__{weird:1}", "what", what], start);
    refused("percent", "WTERR P0001 weird % xs% %n %");
    refused("letters", "WTERR P0001 käse ☃");
    refused("own", "WTERR WT001 mine constraint=c column=k");
    let lines = refused("lines", "WTERR P0001 one");
    // Its detail may hold columns that the client must not read.
    assert!(lines.contains("two") && !lines.contains("four"), "{lines}");
    assert!(!lines.contains(['\r', '\n']), "{lines}");
    refused("long", "WTERR P0001 long long");
    assert_eq!(s.run("HSET __{weird:1} what else"), int(1));
    assert!(s.redis.is_alive());
}

#[test]
fn the_same_error_in_a_script_and_in_a_transaction() {
    let s = Stack::new().sql(WEIRD_SQL).mapping(json!({ "table": "weird" })).start();
    for what in ["percent", "lines", "letters", "long"] {
        let direct = s.cmd(&["HSET", "__{weird:1}", "what", what]);
        direct.assert_error("WTERR P0001 ");
        assert_eq!(s.run("MULTI"), ok());
        s.cmd(&["HSET", "__{weird:1}", "what", what]);
        assert_eq!(s.run("EXEC"), Reply::Array(vec![direct.clone()]));
        let script = "return redis.pcall('HSET', KEYS[1], 'what', ARGV[1]).err";
        let caught = s.cmd(&["EVAL", script, "1", "__{weird:1}", what]);
        assert_eq!(caught.text(), direct.text());
    }
    assert_eq!(s.count("weird"), 0);
}

#[test]
fn only_the_writer_reads_the_error() {
    let s = Stack::users().start();
    s.add_user(1);
    s.add_user(2);
    let mut other = s.conn();
    s.assert_line_refused("HSET __{users:2} username u1", "WTERR 23505 ");
    assert_eq!(other.run("HSET __{users:2} username free"), int(0));
}

/// The database says so only when it commits.
#[test]
fn a_deferred_constraint_reaches_its_client() {
    let sql = "create table parts (
        id int primary key,
        parent int references parts deferrable initially deferred)";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "parts" })).start();
    s.assert_line_refused("HSET __{parts:1} parent 9", "WTERR 23503 ");
    assert_eq!(s.run("HSET __{parts:1} parent 1"), int(1));
}
