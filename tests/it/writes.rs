//! `HSET` and `HMSET` on a staged key: the reply, the row, and the cache that holds it.

use serde_json::json;

use crate::support::*;

#[test]
fn an_answered_write_is_in_the_table_and_in_the_cache() {
    let s = Stack::users().start();
    let line = "HSET __{users:1} username john email john@example.com pwhash s3cret \
                first John last Smith dob 1990-02-28";
    assert_eq!(s.run(line), int(6));
    let row = s.row("select id, username, email, password_hash, first_name, last_name, date_of_birth from users");
    let expected = hash(&[
        ("id", "1"),
        ("username", "john"),
        ("email", "john@example.com"),
        ("password_hash", "s3cret"),
        ("first_name", "John"),
        ("last_name", "Smith"),
        ("date_of_birth", "1990-02-28"),
    ]);
    assert_eq!(row, expected);
    s.assert_user_cached(1);
    assert_eq!(s.keys(), ["users:1"]);
}

/// How often the server has run a command.
fn calls(s: &Stack, command: &str) -> u64 {
    let stats = s.run("INFO commandstats").text();
    let line =
        stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

of_the_staged_key! {
#[test]
fn a_staged_hash_that_is_the_row_becomes_the_final_key() {
    let table = "create table items (id bigint primary key, name text, price numeric(10,2))";
    let s = Stack::new().sql(table).mapping(json!({ "table": "items" })).start();
    assert_eq!(s.run("HSET __{items:1} price 1.50 name pen"), int(2));
    assert_eq!(calls(&s, "rename"), 1, "one command does it");
    let row = hash(&[("id", "1"), ("name", "pen"), ("price", "1.50")]);
    assert_eq!(s.hgetall("items:1"), row);
    assert_eq!(s.run("HSET __{items:1} price 1.75 id 1 name ink"), int(0));
    assert_eq!(calls(&s, "rename"), 2);

    // What the database writes in another way, leaves out or does not have is not renamed.
    assert_eq!(s.run("HSET __{items:1} price 1.234 name ink"), int(0));
    assert_eq!(s.run("HSET __{items:2} name ink # ="), int(1));
    assert_eq!(s.run("HSET __{items:3} price 2.00 name ink # ="), int(2));
    assert_eq!(calls(&s, "rename"), 2);
    assert_eq!(s.hgetall("items:1"), hash(&[("id", "1"), ("name", "ink"), ("price", "1.23")]));
    assert_eq!(s.hgetall("items:2"), hash(&[("id", "2"), ("name", "ink")]));
    assert_eq!(s.hgetall("items:3"), hash(&[("id", "3"), ("name", "ink"), ("price", "2.00")]));
}
}

#[test]
fn the_reply_counts_the_named_fields_that_are_new_in_the_cache() {
    let s = Stack::users().start();
    assert_eq!(
        s.run("HSET __{users:1} username a email a@x pwhash h"),
        int(3),
        "defaults don't count"
    );
    assert_eq!(s.run("HSET __{users:1} username b email b@x"), int(0));
    assert_eq!(s.run("HSET __{users:1} username c first C"), int(1));
    assert_eq!(s.run("HSET __{users:1} last L last M"), int(1), "a field named twice is one field");
    assert_eq!(s.one("select last_name from users"), "M", "the last value wins");
    assert_eq!(s.run("HMSET __{users:1} username d"), ok());
    s.assert_user_cached(1);
}

#[test]
fn a_partial_write_changes_no_other_column() {
    let s = Stack::users().start();
    s.add_user(1);
    s.add_user(2);
    let before = s.row("select * from users where id = 1");
    assert_eq!(s.run("HSET __{users:1} username bar"), int(0));
    let mut expected = before;
    expected.insert("username".into(), "bar".into());
    assert_eq!(s.row("select * from users where id = 1"), expected);
    s.assert_user_cached(1);
    assert_eq!(s.one("select username from users where id = 2"), "u2");
}

#[test]
fn a_write_to_an_evicted_key_leaves_the_whole_row() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.run("DEL users:1"), int(1));
    assert_eq!(s.count("users"), 1, "evicting isn't deleting");
    assert_eq!(s.run("HSET __{users:1} first Ann"), int(1));
    assert_eq!(s.hgetall("users:1")["username"], "u1");
    s.assert_user_cached(1);
}

#[test]
fn a_row_that_another_program_wrote_is_updated_and_cached() {
    let s = Stack::users().start();
    s.execute("insert into users (id, username, email, password_hash) values (7, 'x', 'x@x', 'h')");
    assert_eq!(s.run("HSET __{users:7} last Y"), int(1));
    assert_eq!(s.hgetall("users:7")["email"], "x@x");
    s.assert_user_cached(7);
}

#[test]
fn a_null_is_an_absent_field() {
    let s = Stack::users().start();
    assert_eq!(s.run("HSET __{users:1} username a email a@x pwhash h first A"), int(4));
    assert!(!s.hgetall("users:1").contains_key("last"));
    s.execute("update users set first_name = null");
    assert_eq!(s.run("HSET __{users:1} username b"), int(0));
    assert!(
        !s.hgetall("users:1").contains_key("first"),
        "it was NULL when the write was committed"
    );
    s.assert_user_cached(1);
}

#[test]
fn an_empty_value_is_an_empty_text_not_null() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.cmd(&["HSET", "__{users:1}", "first", ""]), int(1));
    assert_eq!(s.hgetall("users:1")["first"], "");
    assert_eq!(s.one("select first_name is not null and first_name = '' from users"), "t");
}

#[test]
fn the_cache_holds_what_the_database_made_of_the_values() {
    let sql = "create table products (
        id int primary key,
        price numeric(10,2),
        discount numeric(10,2) default 0.5,
        total numeric(10,2) generated always as (price * 2) stored,
        code text,
        active boolean default true,
        seen int not null default 0
    );
    create function tidy() returns trigger language plpgsql as $$ begin
        new.code := upper(new.code);
        new.seen := new.seen + 1;
        return new;
    end $$;
    create trigger tidy before insert or update on products for each row execute function tidy()";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "products" })).start();
    assert_eq!(s.run("HSET __{products:1} price 1.005 code ab"), int(2));
    let expected = [
        ("id", "1"),
        ("price", "1.01"),
        ("discount", "0.50"),
        ("total", "2.02"),
        ("code", "AB"),
        ("active", "true"),
        ("seen", "1"),
    ];
    assert_eq!(s.hgetall("products:1"), hash(&expected));
    assert_eq!(s.run("HSET __{products:1} price 3"), int(0));
    let cached = s.hgetall("products:1");
    assert_eq!((&*cached["price"], &*cached["total"], &*cached["seen"]), ("3.00", "6.00", "2"));
}

#[test]
fn command_names_are_case_insensitive() {
    let s = Stack::users().start();
    assert_eq!(s.run("hSeT __{users:1} username a email a@x pwhash h"), int(3));
    assert_eq!(s.run("hmset __{users:1} username b"), ok());
    assert_eq!(s.one("select username from users"), "b");
}

of_the_staged_key! {
#[test]
fn keys_that_are_not_staged_are_redis_own() {
    let s = Stack::users().start();
    assert_eq!(s.run("HSET users:1 nosuchfield x"), int(1));
    assert_eq!(s.run("HSET __users f v"), int(1));
    assert_eq!(s.run("HSET {users:1} f v"), int(1));
    assert_eq!(s.run("HMSET other username x"), ok());
    assert_eq!(s.count("users"), 0);
    assert_eq!(s.keys(), ["__users", "other", "users:1", "{users:1}"]);
}
}

#[test]
fn a_pipeline_reads_its_own_writes() {
    let s = Stack::users().start();
    let mut conn = s.conn();
    conn.send_line("HSET __{users:1} username a email a@x pwhash h");
    conn.send_line("HGET users:1 username");
    conn.send_line("HSET __{users:1} username b");
    conn.send_line("HGET users:1 username");
    conn.send_line("EXISTS __{users:1}");
    let replies: Vec<Reply> = (0..5).map(|_| conn.receive()).collect();
    assert_eq!(replies, [int(3), bulk("a"), int(0), bulk("b"), int(0)]);
}

#[test]
fn a_resp3_client_is_answered_alike() {
    let s = Stack::users().start();
    let mut conn = s.conn();
    assert!(matches!(conn.run("HELLO 3"), Reply::Map(_)));
    assert_eq!(conn.run("HSET __{users:1} username a email a@x pwhash h"), int(3));
    conn.run("HSET __{users:2} username a email b@x pwhash h").assert_error("WTERR 23505 ");
}

#[test]
fn a_watched_final_key_is_seen_to_change() {
    let s = Stack::users().start();
    s.add_user(1);
    let mut watcher = s.conn();
    assert_eq!(watcher.run("WATCH users:1"), ok());
    assert_eq!(s.run("HSET __{users:1} username b"), int(0));
    assert_eq!(watcher.run("MULTI"), ok());
    watcher.run("PING");
    assert_eq!(watcher.run("EXEC"), Reply::Nil);
}

#[test]
fn a_key_column_may_be_named_when_it_agrees() {
    let sql = "create table items (id int primary key, name text)";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "items" })).start();
    assert_eq!(s.run("HSET __{items:1} id 1 name a"), int(2));
    assert_eq!(s.hgetall("items:1"), hash(&[("id", "1"), ("name", "a")]));
    s.assert_line_refused("HSET __{items:1} id 2 name b", "ERR writethrough: ");
    s.assert_line_refused("HSET __{items:3} id 4 name b", "ERR writethrough: ");
}

#[test]
fn the_server_refuses_first_what_it_refuses_of_any_write() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.run("CONFIG SET min-replicas-to-write 1"), ok());
    s.assert_line_refused("HSET __{users:1} username b", "NOREPLICAS ");
    assert_eq!(s.run("CONFIG SET min-replicas-to-write 0"), ok());
    assert_eq!(s.run("CONFIG SET maxmemory 1"), ok());
    s.assert_line_refused("HSET __{users:1} username b", "OOM ");
    assert_eq!(s.run("CONFIG SET maxmemory 0"), ok());
    assert_eq!(s.run("HSET __{users:1} username b"), int(0));
}

#[test]
fn deleting_or_expiring_the_cached_key_leaves_the_row() {
    let s = Stack::users().start();
    s.add_user(1);
    s.add_user(2);
    s.add_user(3);
    assert_eq!(s.run("UNLINK users:1"), int(1));
    assert_eq!(s.run("PEXPIRE users:2 1"), int(1));
    eventually("users:2 expires", || s.run("EXISTS users:2") == int(0));
    assert_eq!(s.run("RENAME users:3 elsewhere"), ok());
    assert_eq!(s.count("users"), 3);
}
