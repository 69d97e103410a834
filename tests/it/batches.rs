//! What waits together travels together, and is answered as if it had travelled alone.

use serde_json::json;

use crate::support::*;

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| line.to_string()).collect()
}

#[test]
fn what_waits_together_takes_few_statements() {
    let s = Stack::users().one_worker().start();
    let writes: Vec<String> = (1..=50)
        .map(|id| format!("HSET __{{users:{id}}} username u{id} email u{id} pwhash h"))
        .collect();
    let (batches, rows) = (s.info_int("batches"), s.info_int("rows"));
    assert_eq!(s.together(&writes), vec![int(3); 50]);
    // One for the row that held the worker up, one for all the rest.
    assert!(s.info_int("batches") - batches <= 2, "{:?}", s.info());
    assert_eq!(s.info_int("rows") - rows, 51);
    (1..=50).for_each(|id| s.assert_user_cached(id));
}

#[test]
fn a_bad_row_fails_alone() {
    let s = Stack::users().one_worker().start();
    s.add_user(100);
    let mut writes: Vec<String> = (1..=40)
        .map(|id| format!("HSET __{{users:{id}}} username n{id} email n{id} pwhash h"))
        .collect();
    writes[10] = "HSET __{users:11} username n11 email n11 pwhash h dob soon".into();
    writes[20] = "HSET __{users:21} username u100 email n21 pwhash h".into();
    writes[30] = "HSET __{users:31} username n31".into();
    let replies = s.together(&writes);
    for (i, reply) in replies.iter().enumerate() {
        let id = i as i64 + 1;
        match i {
            10 => assert!(reply.assert_error("WTERR 22007 ").contains("soon")),
            20 => assert!(reply.assert_error("WTERR 23505 ").contains("u100")),
            30 => assert!(reply.assert_error("WTERR 23502 ").contains("email")),
            _ => assert_eq!(*reply, int(3), "{}", writes[i]),
        }
        assert_eq!(user_row(&s, id).is_empty(), reply.is_error());
        s.assert_user_cached(id);
    }
}

/// The errors as this PostgreSQL words them: the last one names no row, but one value is too long.
#[test]
fn a_bad_row_is_found_by_its_error() {
    let s = Stack::users().one_worker().start();
    s.execute("alter table users alter username type varchar(20)");
    s.cmd(&["WT.RELOAD"]);
    s.add_user(100);
    for (round, bad, code) in [
        (1, "username n email n pwhash h dob soon", "22007"),
        (2, "username u100 email n pwhash h", "23505"),
        (3, "username n", "23502"),
        (4, "username a-name-that-is-too-long email n pwhash h", "22001"),
    ] {
        let fields = |id: i64| format!("username n{id} email n{id} pwhash h dob 1990-01-02");
        let ids = round * 1000 + 1..=round * 1000 + 20;
        let write = |id| match id % 1000 {
            7 => format!("HSET __{{users:{id}}} {bad}"),
            _ => format!("HSET __{{users:{id}}} {}", fields(id)),
        };
        let writes: Vec<String> = ids.clone().map(write).collect();
        let statements = s.info_int("statements");
        let replies = s.together(&writes);
        replies[6].assert_error(&format!("WTERR {code} "));
        assert_eq!(replies.iter().filter(|reply| reply.is_error()).count(), 1, "{replies:?}");
        // One for the row that held the worker up, one for each set of columns of the good ones.
        assert_eq!(s.info_int("statements") - statements, 2, "{code}");
        ids.for_each(|id| s.assert_user_cached(id));
    }
}

#[test]
fn when_all_rows_are_bad_each_gets_its_own_error() {
    let s = Stack::users().one_worker().start();
    let writes: Vec<String> =
        (1..=20).map(|id| format!("HSET __{{users:{id}}} dob bad{id}")).collect();
    for (i, reply) in s.together(&writes).iter().enumerate() {
        let text = reply.assert_error("WTERR 22007 ");
        assert!(text.contains(&format!("\"bad{}\"", i + 1)), "{text}");
    }
    assert_eq!(s.count("users"), 0);
}

#[test]
fn of_two_rows_that_exclude_each_other_one_is_stored() {
    let s = Stack::users().one_worker().start();
    let writes = lines(&[
        "HSET __{users:1} username same email a pwhash h",
        "HSET __{users:2} username same email b pwhash h",
    ]);
    let replies = s.together(&writes);
    let stored = replies.iter().filter(|reply| **reply == int(3)).count();
    assert_eq!(stored, 1, "{replies:?}");
    replies.iter().find(|reply| reply.is_error()).unwrap().assert_error("WTERR 23505 ");
    s.assert_user_cached(1);
    s.assert_user_cached(2);
}

#[test]
fn changes_of_one_row_are_answered_one_by_one() {
    let s = Stack::users().one_worker().start();
    s.add_user(1);
    let replies = s.together(&lines(&[
        "HSET __{users:1} username a first f",
        "HSET __{users:1} dob nonsense last bad",
        "HSET __{users:1} first g last l",
        "HSET __{users:1} username u1000x first h",
        "HMSET __{users:1} last m",
    ]));
    assert_eq!(replies[0], int(1));
    replies[1].assert_error("WTERR 22007 ");
    assert_eq!(replies[2..], [int(1), int(0), ok()]);
    assert_eq!(
        s.one("select username || first_name || last_name from users where id = 1"),
        "u1000xhm"
    );
    s.assert_user_cached(1);
}

/// Merged into one row, the first would be saved by what the second brings.
#[test]
fn a_row_that_lacks_a_column_isnt_saved_by_the_next_write() {
    let s = Stack::users().one_worker().start();
    let replies = s.together(&lines(&[
        "HSET __{users:1} first Early",
        "HSET __{users:1} username a email a@x pwhash h",
        "HSET __{users:1} last Late",
    ]));
    replies[0].assert_error("WTERR 23502 ");
    assert_eq!(replies[1..], [int(3), int(1)]);
    assert_eq!(user_row(&s, 1).get("first"), None);
    assert_eq!(user_row(&s, 1)["last"], "Late");
    s.assert_user_cached(1);
}

/// Merged into one row, the first's bad value would be hidden by the second's good one.
#[test]
fn a_bad_value_isnt_hidden_by_the_next_write() {
    let s = Stack::users()
        .sql("create table items (id int primary key, stock int check (stock >= 0), day date)")
        .mapping(json!({ "table": "items" }))
        .one_worker()
        .start();
    let replies = s.together(&lines(&[
        "HSET __{items:1} stock -1",
        "HSET __{items:1} stock 5",
        "HSET __{items:1} day never",
        "HSET __{items:1} day 2024-01-01",
    ]));
    replies[0].assert_error("WTERR 23514 ");
    assert_eq!(replies[1], int(1));
    replies[2].assert_error("WTERR 22007 ");
    assert_eq!(replies[3], int(1));
    assert_eq!(s.hgetall("items:1"), hash(&[("id", "1"), ("stock", "5"), ("day", "2024-01-01")]));
    assert_eq!(s.one("select stock from items"), "5");
}

/// They are in flight at once, so either order is right; what the reply says must be so.
#[test]
fn a_value_that_is_freed_in_the_same_batch_is_taken_or_refused() {
    let s = Stack::users().one_worker().start();
    s.add_user(1);
    s.add_user(2);
    let writes = ["HSET __{users:2} username other", "HSET __{users:1} username u2"];
    let replies = s.together(&lines(&writes));
    assert_eq!(replies[0], int(0));
    let name = s.one("select username from users where id = 1");
    if replies[1].is_error() {
        replies[1].assert_error("WTERR 23505 ");
        assert_eq!(name, "u1");
    } else {
        assert_eq!((&replies[1], &*name), (&int(0), "u2"));
    }
    s.assert_user_cached(1);
    s.assert_user_cached(2);
}

#[test]
fn different_sets_of_columns_in_one_batch() {
    let s = Stack::users().one_worker().start();
    (1..=6).for_each(|id| s.add_user(id));
    let replies = s.together(&lines(&[
        "HSET __{users:1} first a",
        "HSET __{users:2} last b",
        "HSET __{users:3} first c last d",
        "HSET __{users:4} username e email e pwhash e",
        "HSET __{users:5} dob 2024-01-01",
        "HSET __{users:6} last f first g",
        "HSET __{users:7} username h email h pwhash h first h",
    ]));
    assert_eq!(replies, [1, 1, 2, 0, 1, 2, 4].map(int));
    (1..=7).for_each(|id| s.assert_user_cached(id));
    assert_eq!(
        s.one(
            "select string_agg(coalesce(first_name, '-'), '' order by id) from users where id < 9"
        ),
        "a-c--gh"
    );
}

#[test]
fn more_rows_than_a_batch_takes() {
    let s = Stack::users().one_worker().option("batch_max", 7).start();
    let writes: Vec<String> = (1..=40)
        .map(|id| format!("HSET __{{users:{id}}} username u{id} email u{id} pwhash h"))
        .collect();
    let batches = s.info_int("batches");
    assert_eq!(s.together(&writes), vec![int(3); 40]);
    assert!(s.info_int("batches") - batches >= 6, "no batch holds more than seven");
    (1..=40).for_each(|id| s.assert_user_cached(id));
}

#[test]
fn sixty_four_pipelining_clients() {
    let s = Stack::users().start();
    std::thread::scope(|scope| {
        for client in 0..64 {
            let s = &s;
            scope.spawn(move || {
                let mut conn = s.conn();
                for n in 0..20 {
                    let id = client * 20 + n;
                    conn.send_line(&format!(
                        "HSET __{{users:{id}}} username u{id} email u{id} pwhash h"
                    ));
                    conn.send_line(&format!("HSET __{{users:{id}}} first c{client}"));
                    conn.send_line(&format!("HGET users:{id} first"));
                }
                for _ in 0..20 {
                    let replies = [conn.receive(), conn.receive(), conn.receive()];
                    assert_eq!(replies, [int(3), int(1), bulk(format!("c{client}"))]);
                }
            });
        }
    });
    assert_eq!(s.count("users where first_name is not null"), 1280);
    assert_eq!(s.run("DBSIZE"), int(1280));
    (0..1280).step_by(97).for_each(|id| s.assert_user_cached(id));
}

/// Two servers write the same rows in other orders: sorted statements don't deadlock, and what
/// does is tried again.
#[test]
fn two_servers_that_write_the_same_rows() {
    let a = Stack::users().start();
    let args = ["JSON", &a.document.to_string()].map(str::to_string);
    let b = Stack::new().without_module().start();
    assert_eq!(b.load_with(&args.each_ref().map(String::as_str)), ok());
    (0..40).for_each(|id| a.add_user(id));
    std::thread::scope(|scope| {
        for (server, step) in [(&a, 1), (&a, 7), (&b, 3), (&b, 39)] {
            for client in 0..4 {
                scope.spawn(move || {
                    let mut conn = server.conn();
                    for n in 0..60 {
                        let id = (client * 11 + n * step) % 40;
                        let reply = conn.run(&format!("HSET __{{users:{id}}} first n{n}"));
                        assert!(reply.is_int(), "{reply:?}");
                    }
                });
            }
        }
    });
    for server in [&a, &b] {
        server.wait_until_settled();
    }
}
