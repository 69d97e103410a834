//! `DEL` and `UNLINK` on staged keys: the row goes, and with it the cached key.

use serde_json::json;

use crate::support::*;

const ORDERS_SQL: &str = "
create table orders (id int primary key, owner int not null references users);
create table order_lines (order_id int, line int, what text, primary key (order_id, line))";

fn users_and_orders() -> Stack {
    let s = Stack::users()
        .sql(ORDERS_SQL)
        .mapping(json!({ "table": "orders" }))
        .mapping(json!({ "table": "order_lines" }))
        .start();
    (1..=4).for_each(|id| s.add_user(id));
    s
}

#[test]
fn the_row_and_the_cached_key_go() {
    let s = users_and_orders();
    for (command, id) in [("DEL", 1), ("UNLINK", 2)] {
        assert_eq!(s.run(&format!("{command} __{{users:{id}}}")), int(1));
        assert_eq!(s.count(&format!("users where id = {id}")), 0);
        assert_eq!(s.run(&format!("EXISTS users:{id} __{{users:{id}}}")), int(0));
    }
    assert_eq!(s.keys(), ["users:3", "users:4"]);
    assert_eq!(s.run("HSET __{users:1} username x email x@x pwhash h"), int(3), "and comes back");
    s.assert_user_cached(1);
}

#[test]
fn the_reply_is_the_number_of_rows() {
    let s = users_and_orders();
    assert_eq!(s.run("DEL __{users:9}"), int(0), "no such row");
    assert_eq!(s.run("DEL users:1"), int(1), "evicts, and deletes nothing");
    assert_eq!(s.run("DEL __{users:1}"), int(1), "the row was there");
    s.execute("delete from users where id = 2");
    assert_eq!(s.run("DEL __{users:2}"), int(0), "another program was faster");
    assert_eq!(s.keys(), ["users:3", "users:4"], "the stale copy is gone, too");
    assert_eq!(s.run("DEL __{users:3} __{users:4} __{users:9}"), int(2));
    assert_eq!(s.count("users"), 0);
    assert_eq!(s.run("DBSIZE"), int(0));
}

#[test]
fn a_composite_key() {
    let s = users_and_orders();
    assert_eq!(s.run("HSET __{order_lines:7:1} what tea"), int(1));
    assert_eq!(s.run("HSET __{order_lines:7:2} what milk"), int(1));
    assert_eq!(s.run("UNLINK __{order_lines:7:1}"), int(1));
    assert_eq!(s.one("select string_agg(what, ',') from order_lines"), "milk");
    assert_eq!(s.run("EXISTS order_lines:7:1 order_lines:7:2"), int(1));
}

#[test]
fn staged_and_plain_keys_share_one_reply() {
    let s = users_and_orders();
    assert_eq!(s.run("MSET a 1 b 2 c 3"), ok());
    let line = "DEL a __{users:1} nothing b __{users:2} a __{users:1} __{users:9} users:3";
    assert_eq!(s.run(line), int(5), "a, b, users:3 and two rows, each once");
    assert_eq!(s.one("select string_agg(id::text, ',' order by id) from users"), "3,4");
    assert_eq!(s.keys(), ["c", "users:4"]);
    assert_eq!(s.run("UNLINK c __{users:3} c"), int(2));
    assert_eq!(s.keys(), ["users:4"]);
}

#[test]
fn plain_keys_alone_are_redis_own() {
    let s = users_and_orders();
    assert_eq!(s.run("MSET a 1 b 2"), ok());
    assert_eq!(s.run("DEL a a nothing"), int(1));
    assert_eq!(s.run("UNLINK b users:1"), int(2));
    assert_eq!(s.count("users"), 4);
}

#[test]
fn a_row_that_others_refer_to_stays() {
    let s = users_and_orders();
    assert_eq!(s.run("HSET __{orders:1} owner 2"), int(1));
    assert_eq!(s.run("SET plain x"), ok());
    let text = s.assert_line_refused("DEL __{users:2}", "WTERR 23503 ");
    assert!(text.contains(" constraint=orders_owner_fkey"), "{text}");
    s.assert_line_refused("UNLINK __{users:2} plain users:1", "WTERR 23503 ");
    s.assert_line_refused("DEL plain users:1 __{users:2}", "WTERR 23503 ");
    s.assert_user_cached(2);
    assert_eq!(s.run("DEL __{orders:1}"), int(1));
    assert_eq!(s.run("DEL __{users:2} plain"), int(2));
}

/// Each row is a transaction of its own: the others go, and the reply tells of the one that stays.
#[test]
fn of_several_rows_one_may_be_refused() {
    let s = users_and_orders();
    assert_eq!(s.run("HSET __{orders:1} owner 2"), int(1));
    assert_eq!(s.run("SET plain x"), ok());
    s.run("DEL __{users:1} __{users:2} plain __{users:3}").assert_error("WTERR 23503 ");
    assert_eq!(s.run("GET plain"), bulk("x"));
    for id in 1..=4 {
        s.assert_user_cached(id);
    }
    assert!(s.hgetall("users:2").contains_key("username"));
}

#[test]
fn what_is_no_row_is_refused() {
    let s = users_and_orders();
    assert_eq!(s.run("SET plain x"), ok());
    for key in ["__{nobody:1}", "__{users:}", "__{order_lines:7}"] {
        s.assert_refused(&["DEL", key], "ERR writethrough: ");
        s.assert_refused(&["UNLINK", "plain", key, "__{users:1}"], "ERR writethrough: ");
    }
    // The row is users:1's; there is none of this name.
    let reply = s.run("DEL __{users:01}");
    assert!(reply.is_error() || reply == int(0), "{reply:?}");
    s.assert_user_cached(1);
    s.assert_line_refused("DEL __{users:abc}", "WTERR 22P02 ");
}

#[test]
fn a_trigger_may_refuse() {
    let s = users_and_orders();
    s.execute(
        "create function keep() returns trigger language plpgsql as
            $$ begin raise exception 'u% stays', old.id; end $$;
         create trigger keep before delete on users for each row execute function keep()",
    );
    s.assert_line_refused("DEL __{users:1}", "WTERR P0001 u1 stays");
    s.assert_line_refused("UNLINK __{users:9} __{users:2}", "WTERR P0001 u2 stays");
}

#[test]
fn many_rows_in_one_batch() {
    let s = Stack::users().one_worker().sql(ORDERS_SQL).start();
    (1..=8).for_each(|id| s.add_user(id));
    s.execute("insert into orders values (1, 4)");
    let lines = [
        "DEL __{users:1}",
        "UNLINK __{users:2} __{users:3}",
        "DEL __{users:4}",
        "DEL __{users:99}",
        "DEL __{users:5}",
        "DEL __{users:5}",
        "HSET __{users:6} first f",
        "DEL __{users:6}",
        "DEL __{users:7}",
        "HSET __{users:7} username again email again pwhash h",
    ];
    let replies = s.together(&lines.map(str::to_string));
    assert_eq!(replies[..2], [int(1), int(2)]);
    replies[2].assert_error("WTERR 23503 ");
    assert_eq!(replies[3..9], [0, 1, 0, 1, 1, 1].map(int));
    assert_eq!(replies[9], int(3), "all of its fields are new");
    (1..=8).for_each(|id| s.assert_user_cached(id));
    assert_eq!(s.one("select string_agg(id::text, ',' order by id) from users"), "4,7,8");
}

#[test]
fn while_the_row_is_being_deleted_its_old_value_is_visible() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut deleter = s.send("DEL __{users:1}");
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run("HGET users:1 username"), bulk("u1"));
    assert_eq!(s.run("PING"), Reply::Status("PONG".into()), "only the deleter waits");
    lock.rollback();
    assert_eq!(deleter.receive(), int(1));
    assert_eq!(s.run("DBSIZE"), int(0));
    assert_eq!(s.count("users"), 0);
}
