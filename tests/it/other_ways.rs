//! Every other command that would make or change something under a staged key: written through, or
//! refused with a clear error; never unwritten in silence.

use crate::support::*;

/// Each needs only plain keys that [`prepared`] made, and would leave something at `__{users:9}` or
/// `__{users:1}`.
const REFUSED: &[&str] = &[
    "SET __{users:9} x",
    "SET __{users:1} x XX",
    "SETNX __{users:9} x",
    "SETEX __{users:9} 100 x",
    "PSETEX __{users:9} 100 x",
    "GETSET __{users:9} x",
    "GETDEL __{users:9}",
    "GETDEL __{users:1}",
    "APPEND __{users:9} x",
    "SETRANGE __{users:9} 3 x",
    "SETBIT __{users:9} 7 1",
    "BITFIELD __{users:9} SET u8 0 1",
    "INCR __{users:9}",
    "DECR __{users:9}",
    "INCRBY __{users:9} 5",
    "DECRBY __{users:9} 5",
    "INCRBYFLOAT __{users:9} 0.5",
    "MSET a 1 __{users:9} x b 2",
    "MSETNX new 1 __{users:9} x",
    "LPUSH __{users:9} x",
    "RPUSH __{users:9} x",
    "RPOPLPUSH list __{users:9}",
    "LMOVE list __{users:9} LEFT LEFT",
    "BLMOVE list __{users:9} LEFT LEFT 0",
    "BRPOPLPUSH list __{users:9} 0",
    "SADD __{users:9} x",
    "SMOVE set __{users:9} m",
    "SINTERSTORE __{users:9} set",
    "SUNIONSTORE __{users:9} set",
    "SDIFFSTORE __{users:9} set",
    "ZADD __{users:9} 1 x",
    "ZINCRBY __{users:9} 1 x",
    "ZUNIONSTORE __{users:9} 1 zset",
    "ZINTERSTORE __{users:9} 1 zset",
    "ZDIFFSTORE __{users:9} 1 zset",
    "ZRANGESTORE __{users:9} zset 0 -1",
    "GEOADD __{users:9} 13 38 x",
    "GEOSEARCHSTORE __{users:9} geo FROMMEMBER m BYRADIUS 1 km",
    "GEORADIUS geo 13 38 1 km STORE __{users:9}",
    "GEORADIUSBYMEMBER geo m 1 km STOREDIST __{users:9}",
    "SORT list STORE __{users:9}",
    "SORT list LIMIT 0 1 ALPHA store __{users:9}",
    "BITOP NOT __{users:9} string",
    "PFADD __{users:9} x",
    "PFMERGE __{users:9} hll",
    "XADD __{users:9} * a b",
    "XGROUP CREATE __{users:9} g $ MKSTREAM",
    // Where the server knows them.
    "HSETEX __{users:1} FIELDS 1 first x",
    "HSETEX __{users:1} EX 100 FIELDS 1 first x",
    "HGETDEL __{users:1} FIELDS 1 username",
    "HGETEX __{users:1} EX 100 FIELDS 1 username",
    "HEXPIRE __{users:1} 100 FIELDS 1 username",
    "HPEXPIRE __{users:1} 100 FIELDS 1 username",
    "HEXPIREAT __{users:1} 9999999999 FIELDS 1 username",
    "HPEXPIREAT __{users:1} 9999999999000 FIELDS 1 username",
    "HPERSIST __{users:1} FIELDS 1 username",
    "MSETEX 1 __{users:9} x",
    "MSETEX 2 a 1 __{users:9} x EX 100",
];

pub fn prepared(builder: Builder) -> Stack {
    let s = builder.start();
    s.add_user(1);
    for line in [
        "SET string x",
        "RPUSH list 1 2 3 4 5 6 7 8 9",
        "SADD set m",
        "ZADD zset 1 m",
        "GEOADD geo 13 38 m",
        "PFADD hll m",
        "XADD stream 1-1 a b",
    ] {
        assert!(!s.run(line).is_error(), "{line}");
    }
    s
}

pub fn known(s: &Stack) -> Vec<&'static str> {
    let known = |line: &&str| {
        let command = line.split(' ').next().expect("a command");
        let known = s.knows(command);
        if !known {
            eprintln!("skipped: this server has no {command}");
        }
        known
    };
    REFUSED.iter().copied().filter(known).collect()
}

#[test]
fn what_cant_be_written_through_is_refused() {
    let s = prepared(Stack::users());
    for line in known(&s) {
        s.assert_line_refused(line, "ERR writethrough: ");
    }
    s.assert_user_cached(1);
}

/// Write commands that make nothing where nothing is, and change no hash: they can't leave a write
/// behind.
const HARMLESS: &[&str] = &[
    "blmpop",
    "blpop",
    "brpop",
    "bzmpop",
    "bzpopmax",
    "bzpopmin",
    "delifeq",
    "expire",
    "expireat",
    "getex",
    "linsert",
    "lmpop",
    "lpop",
    "lpushx",
    "lrem",
    "lset",
    "ltrim",
    "persist",
    "pexpire",
    "pexpireat",
    "pfdebug",
    "rpop",
    "rpushx",
    "spop",
    "srem",
    "xack",
    "xautoclaim",
    "xclaim",
    "xdel",
    "xreadgroup",
    "xsetid",
    "xtrim",
    "zmpop",
    "zpopmax",
    "zpopmin",
    "zrem",
    "zremrangebylex",
    "zremrangebyrank",
    "zremrangebyscore",
    "delex",
    "xackdel",
    "xdelex",
    "xcfgset",
];

/// Written through; `restore-asking`, `move` and `migrate` move whole keys between servers.
const THROUGH: &[&str] = &[
    "hset",
    "hmset",
    "hsetnx",
    "hincrby",
    "hincrbyfloat",
    "hdel",
    "del",
    "unlink",
    "rename",
    "renamenx",
    "copy",
    "restore",
    "restore-asking",
    "move",
    "migrate",
];

/// Not about a key.
const WHOLE: &[&str] = &["flushall", "flushdb", "function", "swapdb", "cluster", "flushslot"];

/// A newer server has newer commands: each must be looked at.
#[test]
fn every_write_command_of_the_server_is_accounted_for() {
    let s = Stack::users().start();
    let all = s.run("COMMAND LIST FILTERBY ACLCAT write");
    let refused = |name: &str| {
        REFUSED.iter().any(|line| line.to_lowercase().starts_with(&format!("{name} ")))
    };
    let of_ours = |name: &str| name.starts_with("wt.");
    let unknown: Vec<String> = all
        .array()
        .iter()
        .map(|name| name.text().split('|').next().expect("a name").to_owned())
        .filter(|name| {
            let lists = [HARMLESS, THROUGH, WHOLE];
            !of_ours(name) && !refused(name) && !lists.iter().any(|list| list.contains(&&**name))
        })
        .collect();
    assert_eq!(unknown, [""; 0], "what do they do to a staged key?");
}

#[test]
fn the_refusal_names_the_command() {
    let s = prepared(Stack::users());
    let text = s.assert_line_refused("SADD __{users:9} x", "ERR writethrough: ");
    assert!(text.to_uppercase().contains("SADD"), "{text}");
}

#[test]
fn in_a_script_too() {
    let s = prepared(Stack::users());
    for line in known(&s) {
        let mut args = vec!["EVAL", "return redis.pcall(unpack(ARGV))", "0"];
        args.extend(line.split_whitespace());
        s.assert_refused(&args, "ERR writethrough: ");
    }
}

#[test]
fn in_a_transaction_too() {
    let s = prepared(Stack::users());
    let before = s.state();
    let mut conn = s.conn();
    for line in known(&s) {
        assert_eq!(conn.run("MULTI"), ok());
        let queued = conn.run(line);
        let replies = conn.run("EXEC");
        match queued.is_error() {
            true => queued.assert_error("ERR writethrough: "),
            false => replies.array()[0].assert_error("ERR writethrough: "),
        };
    }
    assert_eq!(s.state(), before);
}

of_the_staged_key! {
#[test]
fn on_plain_keys_they_are_redis_own() {
    let s = prepared(Stack::users());
    assert_eq!(s.run("SET users:9 x"), ok(), "the cached key's name is no staged key's");
    for line in known(&s) {
        let plain = line.replace("__{users:9}", "plain").replace("__{users:1}", "users:1");
        let reply = s.conn().cmd(&plain.split_whitespace().collect::<Vec<_>>());
        assert!(!reply.text().contains("writethrough"), "{plain}: {reply:?}");
        s.run("DEL plain");
    }
}
}

#[test]
fn reading_a_staged_key_is_allowed() {
    let s = prepared(Stack::users());
    assert_eq!(s.run("HGET __{users:1} username"), Reply::Nil, "nothing is in flight");
    assert_eq!(s.run("EXISTS __{users:1}"), int(0));
    assert_eq!(s.run("TYPE __{users:1}"), Reply::Status("none".into()));
    assert_eq!(s.run("GET __{users:1}"), Reply::Nil);
    assert_eq!(s.run("SORT __{users:1}"), Reply::Array(vec![]));
}

of_the_staged_key! {
#[test]
fn what_is_no_hash_cant_be_moved_onto_a_staged_key() {
    let s = prepared(Stack::users());
    let dump = s.run("DUMP list");
    for line in ["RENAME list __{users:9}", "RENAMENX set __{users:9}", "COPY zset __{users:1}"] {
        s.assert_line_refused(line, "");
        transaction(&mut s.conn(), &[line])[0].error();
    }
    s.assert_refused(&[b"RESTORE".as_slice(), b"__{users:9}", b"0", dump.bytes()], "");
    assert_eq!(s.run("EXISTS __{users:9} users:9"), int(0));
    assert_eq!(s.run("EXISTS list set zset"), int(3));
    s.assert_user_cached(1);
}
}

/// A hash with fields that expire, or the like, must not lose its fields on the way in silence.
#[test]
fn a_hash_is_moved_into_an_existing_row() {
    let s = prepared(Stack::users());
    assert_eq!(s.run("HSET draft first Ann"), int(1));
    assert_eq!(s.run("RENAME draft __{users:1}"), ok());
    assert_eq!(s.hgetall("users:1")["first"], "Ann");
    assert_eq!(s.hgetall("users:1")["username"], "u1", "the row keeps what isn't named");
    s.assert_user_cached(1);
}

of_the_staged_key! {
/// As on a plain key: OK, and no key is made. So there is no row to write.
#[test]
fn a_restore_whose_time_is_over_makes_nothing() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.run("HSET draft username new email e@x pwhash h"), int(3));
    let dump = s.run("DUMP draft");
    let before = s.state();
    for more in [&["ABSTTL"][..], &["ABSTTL", "REPLACE"], &["REPLACE", "ABSTTL"]] {
        for id in [1, 9] {
            let key = format!("__{{users:{id}}}");
            let mut words: Vec<&[u8]> = vec![b"RESTORE", key.as_bytes(), b"1", dump.bytes()];
            words.extend(more.iter().map(|word| word.as_bytes()));
            assert_eq!(s.cmd(&words), ok(), "{more:?}");
            let mut conn = s.conn();
            assert_eq!(conn.run("MULTI"), ok());
            conn.cmd(&words);
            assert_eq!(conn.run("EXEC"), Reply::Array(vec![ok()]));
        }
    }
    assert_eq!(s.state(), before);
    assert_eq!(s.run("KEYS __*"), Reply::Array(vec![]));
    // One whose time is to come is written.
    let words: [&[u8]; 5] =
        [b"RESTORE", b"__{users:9}", b"99999999999999", dump.bytes(), b"ABSTTL"];
    assert_eq!(s.cmd(&words), ok());
    s.assert_user_cached(9);
}
}

of_the_staged_key! {
/// INFO counts what a client has read.
#[test]
fn a_staged_key_that_is_moved_away_is_no_refused_write() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run("MOVE __{users:1} 1"), int(1));
    s.wait_for_log("was not written through: ERR writethrough:");
    lock.rollback();
    assert_eq!(writer.receive(), int(0));
    s.assert_user_cached(1);
    assert_eq!(s.info_int("writes_refused"), 0);
    s.run("HSET __{users:1} nofield x").assert_error("ERR writethrough: ");
    assert_eq!(s.info_int("writes_refused_bad_input"), 1);
}
}
