//! Writes go behind to a database that fails over to a standby, or is restored from an earlier base backup.

use std::sync::Arc;

use crate::behind::{builder, under_load, verdict, SQL};
use crate::scene::fault;
use crate::support::*;

/// Waits until PostgreSQL has confirmed more.
fn more_is_written(s: &Stack) {
    let before = s.info_int("behind_written");
    eventually("more is written", || s.info_int("behind_written") > before + 200);
}

/// A standby takes over: a synchronous one has all that was confirmed, and the other lacks some.
pub fn failover(is_synchronous: bool, seed: usize) {
    let primary = Arc::new(PostgresServer::start_new());
    let standby = Arc::new(PostgresServer::start_standby(&primary));
    let database = Database::create(primary.clone());
    let (name, ports) = (database.name().to_string(), [primary.port(), standby.port()]);
    database.execute(SQL);
    if is_synchronous {
        database.execute("alter system set synchronous_standby_names = '*'");
        database.execute("select pg_reload_conf()");
        let state = "select count(*) from pg_stat_replication where sync_state = 'sync'";
        eventually("the standby is synchronous", || database.one(state) == "1");
    }
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{name}?target_session_attrs=read-write",
        ports[0], ports[1]
    );
    let s = builder().option("url", url).redis_conf("appendonly yes");
    let s = s.try_start_on(database).expect("it loads");
    let told = under_load(&[s.redis.port()], seed, |more| {
        more();
        more_is_written(&s);
        if !is_synchronous {
            standby.wait_until_replayed(&primary);
            standby.cut_off();
            more_is_written(&s);
        }
        primary.stop_immediate();
        fault();
        more();
        standby.promote();
        more_is_written(&s);
        assert_eq!(s.info_int("behind_database_older") > 0, !is_synchronous);
        s.restart_redis("KILL");
        fault();
        more();
    });
    verdict(&[&s], &Database::of(standby, &name), is_synchronous, &told);
}

/// A base backup is taken in the middle, and restored: what it lacks and the stream has no more is lost.
pub fn restored(seed: usize) {
    let server = Arc::new(PostgresServer::start_new());
    let s = builder().postgres(&server).redis_conf("appendonly yes").start();
    let told = under_load(&[s.redis.port()], seed, |more| {
        for _ in 0..2 {
            more_is_written(&s);
            server.back_up();
            more_is_written(&s);
            let before = s.info_int("behind_database_older");
            server.restore();
            fault();
            more_is_written(&s);
            eventually("it is told", || s.info_int("behind_database_older") > before);
            more();
        }
        s.restart_redis("KILL");
        fault();
        more();
    });
    verdict(&[&s], &s.database, false, &told);
}
