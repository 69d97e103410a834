//! DEL and then HSET of a plain key in one transaction: the row is replaced, where the server tells whose
//! commands it queues (7.2 and later).

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table notes (
    id int primary key,
    title text not null,
    body text,
    stars int default 3,
    made timestamp not null default now(),
    hidden text default 'h'
);
create table replies (id int primary key, note int references notes on delete cascade);
create function count_deleted() returns trigger language plpgsql as $$ begin
    raise exception 'a row is deleted';
end $$;
create trigger no_deletions before delete on notes for each row execute function count_deleted()";

fn notes(on_delete: &str) -> Stack {
    let fields = json!({ "title": "title", "body": "body", "stars": "stars" });
    Stack::new()
        .sql(SQL)
        .mapping(json!({
            "table": "notes", "fields": fields, "unmapped": "keep",
            "plain_writes": "through", "on_delete": on_delete,
        }))
        .start()
}

/// Whether this server tells; on one that doesn't, both commands are what they are.
fn tells(s: &Stack) -> bool {
    s.redis_version() >= (7, 2)
}

const FILL: &str = "HSET notes:1 title old body text stars 5 kept x";

fn row(s: &Stack) -> Hash {
    s.row("select title, body, stars, hidden from notes")
}

#[test]
fn what_the_new_hash_does_not_name_gets_its_default() {
    for on_delete in ["evict", "delete"] {
        let s = notes(on_delete);
        assert!(s.run(FILL).is_int());
        s.execute("update notes set hidden = 'mine'");
        s.execute("insert into replies values (1, 1)");
        if on_delete == "delete" {
            s.assert_line_refused("DEL notes:1", "WTERR P0001 ");
        }
        if !tells(&s) {
            continue;
        }
        for delete in ["DEL", "unlink"] {
            let lines = [&format!("{delete} notes:1")[..], "HSET notes:1 title new", "TTL notes:1"];
            let replies = transaction(&mut s.conn(), &lines);
            assert_eq!(replies, [int(1), int(1), int(-1)], "{on_delete}");
            // `hidden` is no column of the mapping.
            let expected = hash(&[("title", "new"), ("stars", "3"), ("hidden", "mine")]);
            assert_eq!(row(&s), expected, "{on_delete}");
            assert_eq!(s.hgetall("notes:1"), hash(&[("title", "new"), ("stars", "3")]));
            assert!(s.run(FILL).is_int());
        }
        assert_eq!(s.count("replies"), 1, "nothing was deleted");
    }
}

#[test]
fn a_missing_row_is_made() {
    for on_delete in ["evict", "delete"] {
        let s = notes(on_delete);
        let lines = ["DEL notes:1", "HMSET notes:1 title new", "HGETALL notes:1"];
        let replies = transaction(&mut s.conn(), &lines);
        assert_eq!(replies[..2], [int(0), ok()]);
        assert_eq!(row(&s), hash(&[("title", "new"), ("stars", "3"), ("hidden", "h")]));
    }
}

#[test]
fn a_refused_replacement_leaves_the_row() {
    let s = notes("delete");
    assert!(s.run(FILL).is_int());
    if !tells(&s) {
        return;
    }
    let before = row(&s);
    let replies = transaction(&mut s.conn(), &["DEL notes:1", "HSET notes:1 body new"]);
    assert_eq!(replies[0], int(1));
    replies[1].assert_error("WTERR 23502 ");
    assert_eq!(row(&s), before);
    assert_eq!(s.run("HSET notes:1 body b"), int(1), "a missing hash is never wrong");
    assert_eq!(s.hgetall("notes:1"), hash(&[("title", "old"), ("body", "b"), ("stars", "5")]));
}

/// What may stand between the two, or is not what it seems.
#[test]
fn only_the_next_command_of_the_key_replaces() {
    let s = notes("evict");
    if !tells(&s) {
        return;
    }
    let cases: &[&[&str]] = &[
        &["DEL notes:1", "GET x", "HSET notes:1 title new"],
        &["DEL notes:1 x", "HSET notes:1 title new"],
        &["DEL notes:2", "HSET notes:1 title new"],
        &["DEL notes:1", "HINCRBY notes:1 stars 1"],
        &["DEL notes:1", "HSET __{notes:1} title new"],
        &["HSET notes:1 title new", "DEL notes:1"],
    ];
    for lines in cases {
        assert!(s.run(FILL).is_int());
        transaction(&mut s.conn(), lines);
        assert_eq!(row(&s)["body"], "text", "{lines:?}");
    }
    // Each of several, on one connection, after transactions that came to nothing.
    let mut conn = s.conn();
    for end in ["DISCARD", "RESET"] {
        conn.run("MULTI");
        conn.run("DEL notes:1");
        conn.run("HSET notes:1 title new");
        conn.run(end);
        assert!(conn.run("HSET notes:1 title same").is_int());
        assert_eq!(row(&s)["body"], "text", "{end}");
    }
    conn.run("WATCH notes:1");
    assert_eq!(s.run("HSET notes:1 title watched"), int(0));
    conn.run("MULTI");
    conn.run("DEL notes:1");
    conn.run("HSET notes:1 title new");
    assert_eq!(conn.run("EXEC"), Reply::Nil);
    assert!(conn.run("DEL notes:1").is_int());
    assert!(conn.run("HSET notes:1 title same").is_int());
    assert_eq!(row(&s)["body"], "text");
    assert!(s.run("HSET notes:2 title two body text").is_int());
    let lines = [
        "DEL notes:2",
        "HSET notes:2 title new",
        "DEL notes:1",
        "GET x",
        "DEL notes:1",
        "HSET notes:1 title new",
        "DEL notes:2",
        "HINCRBY notes:2 stars 1",
    ];
    transaction(&mut conn, &lines);
    let rows =
        "select string_agg(concat(title, ' ', body, ' ', stars), ', ' order by id) from notes";
    assert_eq!(s.one(rows), "new  3, new  4");
}

/// Two clients whose commands are queued by turns.
#[test]
fn each_client_has_its_own() {
    let s = notes("evict");
    if !tells(&s) {
        return;
    }
    assert!(s.run(FILL).is_int());
    let (mut a, mut b) = (s.conn(), s.conn());
    for conn in [&mut a, &mut b] {
        assert_eq!(conn.run("MULTI"), ok());
    }
    a.run("DEL notes:1");
    b.run("HSET notes:1 title b");
    a.run("SET x y");
    b.run("DEL notes:1");
    a.run("HSET notes:1 title a");
    assert!(!b.run("EXEC").is_error());
    assert!(!a.run("EXEC").is_error());
    assert_eq!(row(&s)["body"], "text");
}

#[test]
fn on_a_table_whose_statements_are_watched() {
    let s = Stack::new()
        .sql(
            "create table watched (id int primary key, a text, b text default 'd');
             create function seen() returns trigger language plpgsql as $$ begin
                 new.a := coalesce(new.a, '') || '!'; return new; end $$;
             create trigger seen before insert or update on watched
                 for each row execute function seen()",
        )
        .mapping(json!({ "table": "watched", "plain_writes": "through" }))
        .start();
    assert!(s.run("HSET watched:1 a x b y").is_int());
    if tells(&s) {
        transaction(&mut s.conn(), &["UNLINK watched:1", "HSET watched:1 a z"]);
        assert_eq!(s.hgetall("watched:1"), hash(&[("id", "1"), ("a", "z!"), ("b", "d")]));
        s.assert_row_cached("watched", 1);
    }
}

/// An EXEC that runs nothing, since a watched key has changed, leaves nothing to the next MULTI.
#[test]
fn what_was_queued_in_vain_is_forgotten() {
    let s = Stack::new()
        .sql("create table notes (id text primary key, body text)")
        .mapping(json!({ "table": "notes", "plain_writes": "through", "on_delete": "delete" }))
        .start();
    assert!(s.run("HSET notes:a body x").is_int());
    let mut conn = s.conn();
    conn.run("WATCH watched");
    conn.run("MULTI");
    conn.run("DEL notes:a");
    conn.run("HSET notes:a body y");
    s.run("SET watched b");
    assert_eq!(conn.run("EXEC"), Reply::Nil);
    assert_eq!(transaction(&mut conn, &["DEL notes:a"]), [int(1)]);
    assert_eq!(s.count("notes"), 0, "it is deleted, not replaced");
}
