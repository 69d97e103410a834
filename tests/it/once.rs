//! WT.ONCE: a write, or a transaction, that is done once, however often it is sent.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table accounts (id int primary key, owner text, balance int check (balance >= 0));
insert into accounts values (1, 'ann', 100), (2, 'bob', 100);
create table notes (id text primary key, body text, code int unique)";

fn bank() -> Builder {
    server().sql(SQL)
}

/// Another server on this database.
fn beside(url: String) -> Builder {
    server().option("url", url)
}

fn server() -> Builder {
    Stack::new()
        .mapping(json!({ "table": "accounts", "unmapped": "keep" }))
        .mapping(json!({ "table": "notes", "plain_writes": "through", "on_delete": "delete" }))
}

/// `WT.ONCE token argc command …`
fn once(token: &str, line: &str) -> Vec<String> {
    once_of(token, line.split(' ').map(str::to_string).collect())
}

fn once_of(token: &str, command: Vec<String>) -> Vec<String> {
    let head = ["WT.ONCE".to_string(), token.into(), command.len().to_string()];
    head.into_iter().chain(command).collect()
}

fn transfer() -> Vec<String> {
    transaction_of(&["HINCRBY __{accounts:1} balance -10", "HINCRBY __{accounts:2} balance 10"])
}

fn balances(s: &Stack) -> String {
    s.one("select string_agg(balance::text, ' ' order by id) from accounts")
}

#[test]
fn each_is_done_once_and_answered_as_the_first_time() {
    let s = bank().start();
    let commands: [(Vec<String>, Reply); 12] = [
        (once("a", "HINCRBY __{accounts:1} balance -10"), int(90)),
        (once("b", "HINCRBYFLOAT __{accounts:1} balance 5"), bulk("95")),
        (once("c", "HSET __{accounts:1} owner x balance 95"), int(0)),
        (once("d", "HSET __{accounts:3} owner x balance 1 nick n"), int(2)),
        (once("e", "HSETNX __{accounts:3} owner y"), int(0)),
        (once("f", "HMSET __{accounts:4} owner x"), ok()),
        (once("g", "HSETNX __{accounts:4} balance 5"), int(1)),
        (once("h", "HDEL __{accounts:4} owner balance"), int(2)),
        (once("i", "DEL __{accounts:4}"), int(1)),
        (once("j", "UNLINK __{accounts:4}"), int(0)),
        (once_of("k", transfer()), Reply::Array(vec![int(85), int(110)])),
        (
            once_of(
                "l",
                transaction_of(&["DEL notes:a", "HSET notes:a body x", "HINCRBY notes:a code 3"]),
            ),
            Reply::Array(vec![int(0), int(1), int(3)]),
        ),
    ];
    for (command, reply) in &commands {
        assert_eq!(s.cmd(command), *reply, "{command:?}");
    }
    for _ in 0..2 {
        for (command, reply) in &commands {
            assert_eq!(s.cmd(command), *reply, "again: {command:?}");
        }
        s.restart_redis("KILL");
    }
    s.wait_until_in_sync();
    assert_eq!(balances(&s), "85 110 1");
    assert_eq!(s.one("select concat(id, body, code) from notes"), "ax3");
    s.cmd(&commands[0].0);
    s.assert_row_cached("accounts", 1);
    assert_eq!(s.count("writethrough.once"), 12);
    let kept = "select count(*) from writethrough.once where until between now() + '23 h' and now() + '25 h'";
    assert_eq!(s.one(kept), "12");
}

#[test]
fn what_was_refused_may_be_sent_again() {
    let s = bank().start();
    let command = once("t", "HINCRBY __{accounts:1} balance -200");
    for _ in 0..2 {
        s.cmd(&command).assert_error("WTERR 23514 ");
    }
    s.execute("update accounts set balance = 250");
    for _ in 0..2 {
        assert_eq!(s.cmd(&command), int(50));
    }
    let failed = once_of(
        "u",
        transaction_of(&["HINCRBY __{accounts:2} balance 1", "HINCRBY __{accounts:1} balance -51"]),
    );
    let reply = s.cmd(&failed);
    assert!(
        reply.assert_error("WTERR 23514 ").ends_with(" command=2 key=__{accounts:1}"),
        "{reply:?}"
    );
    let unmet = once_of(
        "v",
        transaction_of(&[
            "WT.EXPECT __{accounts:1} balance 51",
            "HINCRBY __{accounts:1} balance 1",
        ]),
    );
    s.cmd(&unmet).assert_error("WTABORT ");
    assert_eq!(balances(&s), "50 250");
    s.execute("update accounts set balance = 51 where id = 1");
    for _ in 0..2 {
        assert_eq!(s.cmd(&unmet), Reply::Array(vec![ok(), int(52)]));
    }
}

#[test]
fn a_token_stands_for_one_command() {
    let s = bank().start();
    assert_eq!(s.cmd(&once("t", "HINCRBY __{accounts:1} balance -10")), int(90));
    for other in [
        "HINCRBY __{accounts:1} balance -11",
        "HINCRBY __{accounts:2} balance -10",
        "HDEL __{accounts:1} owner",
    ] {
        let problem = "ERR writethrough: token \"t\" was used for another command";
        assert_eq!(s.cmd(&once("t", other)), error(problem), "{other}");
    }
    let long = "x".repeat(256);
    assert_eq!(s.cmd(&once(&long, "HINCRBY __{accounts:1} balance -10")), int(80));
    for (token, line, problem) in [
        ("", "HSET __{accounts:1} owner x", "ERR writethrough: a token has 1 to 256 bytes, not 0"),
        (
            &*format!("{long}x"),
            "HSET __{accounts:1} owner x",
            "ERR writethrough: a token has 1 to 256 bytes, not 257",
        ),
        ("n", "GET x", "ERR writethrough: \"GET\" can't be part of a batch or a transaction"),
        (
            "n",
            "WT.BATCH 1 1 x",
            "ERR writethrough: \"WT.BATCH\" can't be part of a batch or a transaction",
        ),
        (
            "n",
            "HINCRBY __{accounts:1} nick 1",
            "ERR writethrough: field \"nick\" is kept in Redis only",
        ),
        (
            "n",
            "HSET __{accounts:1} owner x # +",
            "ERR writethrough: what changes the cache only can't be done once",
        ),
        ("n", "WT.TRANSACTION 2 1 x", "ERR writethrough: 2 commands are said to follow"),
    ] {
        s.cmd(&once(token, line)).assert_error(problem);
    }
    for count in ["3", "5", "x", "-4"] {
        let words = ["WT.ONCE", "n", count, "HSET", "__{accounts:1}", "owner", "x"];
        s.cmd(&words).assert_error(
            "ERR writethrough: expected WT.ONCE <token> <number of arguments> <command>",
        );
    }
    assert_eq!(balances(&s), "80 100");
    assert_eq!(s.one("select owner from accounts where id = 1"), "ann");
    let keys = [vec!["COMMAND".to_string(), "GETKEYS".into()], once_of("t", transfer())].concat();
    assert_eq!(s.cmd(&keys), Reply::Array(vec![bulk("__{accounts:1}"), bulk("__{accounts:2}")]));
    let keys = [vec!["COMMAND".to_string(), "GETKEYS".into()], once("t", "HSET a b c")].concat();
    assert_eq!(s.cmd(&keys), Reply::Array(vec![bulk("a")]));
    s.user("no", "~* +wt.once")
        .cmd(&once("z", "HSET __{accounts:1} owner x"))
        .assert_error("NOPERM ");
}

/// Many clients with the same token, by two servers.
#[test]
fn many_at_once_with_one_token() {
    let s = bank().start();
    let other = beside(s.database.url()).start();
    for round in 0..10 {
        let command = once_of(&format!("round {round}"), transfer());
        let mut conns: Vec<Conn> =
            (0..8).map(|n| if n % 2 == 0 { s.conn() } else { other.conn() }).collect();
        conns.iter_mut().for_each(|conn| conn.send(&command));
        let replies: Vec<Reply> = conns.iter_mut().map(Conn::receive).collect();
        let expected = Reply::Array(vec![int(90 - 10 * round), int(110 + 10 * round)]);
        assert!(replies.iter().all(|reply| *reply == expected), "{replies:?}");
    }
    assert_eq!(balances(&s), "0 200");
}

/// The wire is cut at every place: who sends it again until it is answered has it done once.
#[test]
fn sent_again_until_it_is_answered() {
    let s = bank().start();
    let proxy = Proxy::to(s.database.server().port());
    let url = format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port(), s.database.name());
    let other = beside(url).told_soon_of_outages().start();
    assert_eq!(other.cmd(&once("first", "HINCRBY __{accounts:1} balance 0")), int(100));
    let cuts = [
        Cut::After("COMMIT"),
        Cut::Before("COMMIT"),
        Cut::After("BEGIN"),
        Cut::Before("BEGIN"),
        Cut::After("UPDATE"),
        Cut::After(""),
        Cut::Before(""),
        Cut::AfterStatement,
        Cut::BeforeAnswer,
    ];
    for (n, cut) in (1..).zip(cuts.into_iter().chain(cuts)) {
        proxy.arm(cut);
        let command = once(&format!("cut {n}"), "HINCRBY __{accounts:1} balance -1");
        let mut answer = None;
        eventually("it is answered", || {
            let reply = other.cmd(&command);
            answer = (!reply.is_error()).then_some(reply);
            answer.is_some()
        });
        assert_eq!(answer, Some(int(100 - n)), "{cut:?}");
        assert_eq!(other.cmd(&command), int(100 - n), "{cut:?}");
        proxy.arm(Cut::Before("no statement holds this"));
    }
    assert_eq!(balances(&s), "82 100");
    assert!(proxy.tripped() >= 10);
}

#[test]
fn tokens_are_forgotten_when_their_time_is_up() {
    let s = bank().option("once_ttl", 1).start();
    let command = once("t", "HINCRBY __{accounts:1} balance -10");
    assert_eq!(s.cmd(&command), int(90));
    assert_eq!(s.cmd(&command), int(90));
    let until = "select until - at from writethrough.once";
    assert_eq!(s.one(until), "00:00:01");
    assert_eq!(s.run("CONFIG SET writethrough.once-ttl 3600"), ok());
    assert_eq!(s.cmd(&once("u", "HINCRBY __{accounts:1} balance -10")), int(80));
    assert_eq!(s.one("select until - at from writethrough.once where token = 'u'"), "01:00:00");
    s.execute(
        "insert into writethrough.once (token, command, until)
         select n::text::bytea, 'x', now() - interval '1 s' from generate_series(1, 25000) n",
    );
    // The first time soon after the start, then every minute.
    s.restart_redis("TERM");
    eventually("they are gone", || s.count("writethrough.once") == 1);
    assert_eq!(s.cmd(&once("u", "HINCRBY __{accounts:1} balance -10")), int(80));
    assert_eq!(s.cmd(&command), int(70), "its time was up: it is a new one");
}

/// A role that may not make the table reads why; one that finds it there needs no more than rows.
#[test]
fn the_table_is_made_by_who_may() {
    let role = format!("wt_once_{}", std::process::id());
    let s = bank().start();
    s.execute(&format!(
        "drop role if exists {role}; create role {role} login; revoke create on schema public from public;
         grant select, insert, update, delete on accounts, notes to {role}"
    ));
    let url = s.database.url().replace("postgres@", &format!("{role}@"));
    let other = beside(url).start();
    let command = once("t", "HINCRBY __{accounts:1} balance -10");
    other.cmd(&command).assert_error("WTERR 42501 permission denied for database");
    assert_eq!(balances(&s), "100 100");
    assert_eq!(s.cmd(&once("x", "HINCRBY __{accounts:1} balance 0")), int(100));
    s.execute(&format!(
        "grant usage on schema writethrough to {role};
         grant select, insert, update, delete on writethrough.once to {role}"
    ));
    for _ in 0..2 {
        assert_eq!(other.cmd(&command), int(90));
    }
    drop(other);
    s.execute(&format!("drop owned by {role}; drop role {role}"));
}

#[test]
fn in_multi_and_scripts_too() {
    let s = bank().start();
    let command = once_of("t", transfer());
    let mut conn = s.conn();
    conn.run("MULTI");
    conn.cmd(&command);
    conn.cmd(&command);
    let both = Reply::Array(vec![int(90), int(110)]);
    assert_eq!(conn.run("EXEC"), Reply::Array(vec![both.clone(), both]));
    let script = "return redis.call('WT.ONCE', 'u', 4, 'HINCRBY', KEYS[1], 'balance', 1)";
    for _ in 0..2 {
        assert_eq!(s.cmd(&["EVAL", script, "1", "__{accounts:1}"]), int(91));
    }
    assert_eq!(balances(&s), "91 110");
}

/// The table has changed since the command was understood: its client may send it again.
#[test]
fn after_ddl_it_is_sent_again() {
    let s = bank().start();
    let command = |token: &str| once(token, "HINCRBY __{accounts:1} balance -10");
    assert_eq!(s.cmd(&command("a")), int(90));
    s.execute("alter table accounts drop owner; alter table accounts add note text default 'n'");
    let mut reply = None;
    eventually("it is answered", || {
        let got = s.cmd(&command("b"));
        match got.is_error() {
            true => drop(got.assert_error("WTDOWN the table's definition has changed meanwhile")),
            false => reply = Some(got),
        }
        reply.is_some()
    });
    assert_eq!(reply, Some(int(80)));
    assert_eq!(s.cmd(&command("b")), int(80));
    assert_eq!(balances(&s), "80 100");
}
