//! The journal: which keys have changed since what the data set has.

use std::sync::Arc;

use crate::support::*;

fn journaled() -> Builder {
    Stack::users().option("journal", true)
}

/// The position that the data set has reached.
fn position(s: &Stack) -> Hash {
    s.hgetall("{writethrough}:applied")
}

impl Stack {
    /// Waits until the data set's position covers all that was committed up to now.
    pub fn wait_for_position(&self) {
        let now: i64 = self.one("select pg_current_xact_id()").parse().unwrap();
        eventually("the position is reached", || {
            let snapshot = position(self).get("snapshot").cloned().unwrap_or_default();
            let xmin = snapshot.split(':').next().and_then(|xmin| xmin.parse().ok());
            xmin.is_some_and(|xmin: i64| xmin > now)
        });
    }
}

/// Rows that the module's statements had.
fn rows(s: &Stack) -> i64 {
    s.info_int("rows")
}

/// What docs/operations.md says: `pool_size`, and one that looks after the database, which the
/// journal keeps open. (The other one is `WT.RELOAD`'s.)
#[test]
fn its_reader_has_a_connection_besides_the_pools() {
    let s = Stack::new().one_worker().option("pool_size", 2).option("journal", true).start();
    let lock = s.database.hold("select pg_advisory_xact_lock(77)");
    let mut writers = Vec::new();
    let sessions = || {
        let ours = "select count(*) from pg_stat_activity where datname = current_database()
                    and application_name like 'writethrough%'";
        s.one(ours).parse::<usize>().expect("a count")
    };
    for id in 1..=4 {
        writers.push(s.send(&format!("HSET __{{hold:{id}}} v x")));
        s.wait_for_blocked(id);
    }
    eventually("the workers and the reader are connected", || sessions() == 3);
    assert_eq!(s.run("WT.RELOAD"), ok());
    lock.rollback();
    writers.iter_mut().for_each(|writer| assert_eq!(writer.receive(), int(1)));
    eventually("no more stays open", || sessions() == 3);
}

of_the_staged_key! {
#[test]
fn each_change_is_noted_in_its_own_transaction() {
    let s = journaled()
        .sql("create table tags (a text, b bytea, n int, primary key (a, b))")
        .mapping(serde_json::json!({ "table": "tags" }))
        .start();
    s.add_user(1);
    assert_eq!(s.run("HSET __{users:1} first x"), int(1));
    assert_eq!(s.run("HDEL __{users:1} first"), int(1));
    assert_eq!(s.run("HSETNX __{users:1} first y"), int(1));
    s.run("HSET __{users:1} dob never").assert_error("WTERR 22007 ");
    assert_eq!(s.run("HINCRBY __{tags:x:y:z} n 5"), int(5));
    assert_eq!(s.run("DEL __{users:1} __{users:2}"), int(1));
    let noted =
        "select string_agg(name || ' ' || key, ', ' order by xid) from writethrough.journal";
    let users = "users 1, users 1, users 1, users 1";
    assert_eq!(s.one(noted), format!("{users}, tags x:793a7a, users 1"));
    let signed = "select count(distinct origin) from writethrough.journal where origin <> 0";
    assert_eq!(s.one(signed), "1");
}
}

#[test]
fn a_restart_refreshes_what_the_journal_names() {
    for (conf, signal) in [("save 3600 1", "KILL"), ("appendonly yes", "KILL")] {
        let s = journaled().redis_conf(conf).start();
        (1..=50).for_each(|id| s.add_user(id));
        s.wait_for_position();
        assert_eq!(s.run("SAVE"), ok());
        assert_eq!(s.run("HSET __{users:1} username new first x"), int(1));
        assert_eq!(s.run("DEL __{users:2}"), int(1));
        s.restart_redis(signal);
        s.wait_until_in_sync();
        s.assert_users_are_rows();
        assert_eq!(s.run("HGET users:1 username"), bulk("new"));
        assert_eq!(s.run("EXISTS users:2"), int(0));
        assert!(rows(&s) <= 2, "not every key was read");
        s.wait_for_position();
        s.restart_redis("TERM");
        s.wait_until_in_sync();
        assert_eq!(rows(&s), 0, "nothing has changed since");
    }
}

/// A transaction number is given before the commit: the later one may be seen first.
#[test]
fn a_transaction_that_commits_late_is_not_passed_over() {
    let s = journaled().start();
    (1..=3).for_each(|id| s.add_user(id));
    let mut late = s.database.hold(
        "insert into writethrough.journal (name, key) values ('users', '1');
         update users set first_name = 'late' where id = 1",
    );
    late.execute("select 1");
    assert_eq!(s.run("HSET __{users:2} first x"), int(1));
    let first = position(&s);
    eventually("positions go on", || position(&s) != first);
    assert_eq!(s.run("SAVE"), ok());
    late.commit();
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    assert_eq!(s.run("HGET users:1 first"), bulk("late"));
}

#[test]
fn a_journal_that_was_trimmed_too_far_is_no_help() {
    let s = journaled().start();
    (1..=20).for_each(|id| s.add_user(id));
    s.wait_for_position();
    assert_eq!(s.run("SAVE"), ok());
    s.execute("update users set username = 'silent' where id = 7");
    s.execute(
        "delete from writethrough.journal;
         update writethrough.trimmed set below = pg_current_xact_id()::text::bigint",
    );
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    assert_eq!(s.run("HGET users:7 username"), bulk("silent"), "every key was looked at");
    assert_eq!(rows(&s), 20);
}

#[test]
fn a_time_without_the_journal_makes_its_position_void() {
    let s = journaled().start();
    s.add_user(1);
    s.wait_for_position();
    let plain = s.document.as_object().unwrap().clone();
    let write = |journal: bool| {
        let mut document = plain.clone();
        document.insert("journal".into(), journal.into());
        std::fs::write(&s.config, serde_json::Value::Object(document).to_string()).unwrap();
    };
    assert_eq!(s.run("SAVE"), ok());
    write(false);
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    eventually("the position is gone", || position(&s).is_empty());
    assert_eq!(s.run("SAVE"), ok());
    assert_eq!(s.run("HSET __{users:1} username unnoted"), int(0));
    write(true);
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    assert_eq!(s.run("HGET users:1 username"), bulk("unnoted"));
}

#[test]
fn servers_with_a_journal_follow_each_other() {
    let a = journaled().start();
    let b = Stack::users().without_module().start();
    let args = ["JSON", &a.document.to_string()].map(str::to_string);
    assert_eq!(b.load_with(&args.each_ref().map(String::as_str)), ok());
    a.add_user(1);
    a.add_user(2);
    eventually("b reads the journal", || !position(&b).is_empty());
    assert_eq!(b.run("WT.REFRESH users:1"), int(1));
    assert_eq!(a.run("HSET __{users:1} username a"), int(0));
    eventually("b has it", || b.run("HGET users:1 username") == bulk("a"));
    assert_eq!(b.run("EXISTS users:2"), int(0), "what is not cached stays so");
    assert_eq!(b.run("HSET __{users:1} username b"), int(0));
    eventually("a has it", || a.run("HGET users:1 username") == bulk("b"));
    assert_eq!(a.run("DEL __{users:1}"), int(1));
    eventually("b has evicted it", || b.run("EXISTS users:1") == int(0));
    assert!(a.is_in_sync() && b.is_in_sync());
}

/// The trigger is the one that docs/consistency.md shows.
#[test]
fn what_other_programs_write_is_followed_with_a_trigger() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/consistency.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let mut blocks = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let trigger = blocks.find(|sql| sql.contains("create trigger")).expect("a trigger");
    let s = journaled().sql(trigger).start();
    (1..=4).for_each(|id| s.add_user(id));
    assert_eq!(s.one("select count(*) from writethrough.journal where origin = 0"), "0");
    s.execute(
        "update users set username = 'other' where id = 1; delete from users where id = 2;
         update users set id = 5 where id = 3",
    );
    eventually("the cache follows", || s.run("HGET users:1 username") == bulk("other"));
    eventually("the cache follows", || s.run("EXISTS users:2 users:3") == int(0));
    s.assert_user_cached(4);
    assert!(s.is_in_sync());
}

/// The same server, again the master, with a data set that is not its own.
#[test]
fn what_it_wrote_itself_before_it_was_a_replica_is_not_left_out() {
    let s = journaled().start();
    let other = Stack::users().without_module().start();
    (1..=3).for_each(|id| s.add_user(id));
    s.wait_for_position();
    assert_eq!(other.run(&format!("REPLICAOF 127.0.0.1 {}", s.redis.port())), ok());
    eventually("it has it all", || other.run("DBSIZE") == s.run("DBSIZE"));
    assert_eq!(other.run("REPLICAOF NO ONE"), ok());
    assert_eq!(s.run("HSET __{users:1} username new"), int(0));
    assert_eq!(s.run(&format!("REPLICAOF 127.0.0.1 {}", other.redis.port())), ok());
    eventually("it has the older data", || s.run("HGET users:1 username") == bulk("u1"));
    assert_eq!(s.run("REPLICAOF NO ONE"), ok());
    s.wait_until_in_sync();
    assert_eq!(s.run("HGET users:1 username"), bulk("new"));
    assert!(!position(&s).is_empty());
}

#[test]
fn a_role_that_may_not_make_the_journal_fails_the_load() {
    let s = Stack::users().sql("create role poor_wt login").without_module().start();
    let url = s.database.url().replace("postgres@", "poor_wt@");
    s.execute("grant select, insert, update, delete on users to poor_wt");
    let document = s.document.to_string();
    let args = ["JSON", &document, "URL", &url, "JOURNAL", "true"];
    assert!(s.load_with(&args).is_error());
    s.wait_for_log("journal: 42501 permission denied for database");
    // Somebody else makes it; rights on it are needed.
    let other = Stack::new().option("journal", true).without_module().start();
    drop(other);
    s.execute("drop owned by poor_wt; drop role poor_wt");
}

#[test]
fn old_entries_are_trimmed() {
    // What a running transaction may still add is not trimmed past: other tests' count, too.
    let s = journaled().postgres(&Arc::new(PostgresServer::start_new())).start();
    s.add_user(1);
    s.execute(
        "insert into writethrough.journal (at, name, key)
         select now() - interval '25 hours', 'users', g::text from generate_series(1, 25000) g",
    );
    s.execute("update writethrough.trimmed set below = 3");
    assert_eq!(s.count("writethrough.journal"), 25001);
    // The first time soon after the start, then every minute.
    s.restart_redis("TERM");
    eventually("they are gone", || s.count("writethrough.journal") <= 1);
    assert!(s.one("select below from writethrough.trimmed").parse::<i64>().unwrap() > 3);
}
