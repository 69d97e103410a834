//! PostgreSQL crashes, ends sessions, is full, read-only, locked, overcrowded, or stands still.

use std::sync::Arc;

use crate::load::Load;
use crate::others::Others;
use crate::scene::{builder, fault, verdict, SHARED, SQL};
use crate::support::*;

const ROLE: &str = "
create role app login;
create schema writethrough authorization app;
grant all on all tables in schema public to app;
grant all on all sequences in schema public to app";

pub fn scene(seed: usize) {
    let server = Arc::new(PostgresServer::start_new());
    let s =
        builder().sql(SQL).sql(ROLE).option("url", "postgres://app@@DB@").postgres(&server).start();
    let (load, db) = (Load::start(&[s.redis.port()], true, seed), &s.database);
    let others = Others::start(db.url(), SHARED, seed);
    load.wait_for_writes(5);

    for stop in [PostgresServer::stop_immediate, PostgresServer::stop_fast] {
        stop(&server);
        fault();
        load.wait_for_answers(2);
        server.start_again();
        load.wait_for_writes(5);
    }
    // One backend killed: the others are ended too, and the database recovers.
    server.crash_backend(&busy_backend(db));
    load.wait_for_writes(5);
    for _ in 0..20 {
        db.terminate_sessions();
        fault();
        load.wait_for_writes(2);
    }
    for _ in 0..2 {
        // What one backend does takes for ever.
        let pid = busy_backend(db);
        signal_process(&pid, "STOP");
        load.wait_for_answers(3);
        signal_process(&pid, "CONT");
        load.wait_for_writes(3);
    }
    for _ in 0..2 {
        let name = db.name();
        db.execute(&format!("alter database {name} set default_transaction_read_only = on"));
        db.terminate_sessions();
        fault();
        load.wait_for_answers(5);
        let mut client = db.connect();
        let off = format!("alter database {name} set default_transaction_read_only = off");
        client.batch_execute(&format!("set transaction_read_only = off; {off}")).expect("off");
        // Sessions that were opened meanwhile stay read-only.
        db.terminate_sessions();
        load.wait_for_writes(3);
    }
    for _ in 0..2 {
        db.execute("insert into disk values (true)");
        fault();
        let refused = s.info_int("writes_refused_by_database");
        eventually("writes are refused", || {
            s.info_int("writes_refused_by_database") > refused + 10
        });
        load.wait_for_answers(5);
        db.execute("delete from disk");
        load.wait_for_writes(3);
    }
    for _ in 0..2 {
        let timed_out = s.info_int("writes_timed_out");
        let lock = db.hold("select from items where id < 3 for update");
        fault();
        eventually("writes time out", || s.info_int("writes_timed_out") > timed_out + 2);
        lock.rollback();
        load.wait_for_writes(3);
    }
    for _ in 0..2 {
        // 53300 for each new connection.
        db.execute("alter role app connection limit 0");
        db.terminate_sessions();
        fault();
        load.wait_for_answers(3);
        db.execute("alter role app connection limit -1");
        load.wait_for_writes(3);
    }
    // New connections are taken, and nothing is said.
    let mut client = db.connect();
    let frozen = server.freeze();
    fault();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'";
    client.simple_query(end).expect("the sessions end");
    load.wait_for_answers(3);
    drop(frozen);
    load.wait_for_writes(5);
    let ops = load.finish();
    others.finish(&[&s]);
    verdict(db, &[&s], &ops);
}

/// A fault begins: the process id of a backend that works for the module.
fn busy_backend(db: &Database) -> String {
    fault();
    eventually_some("a backend works for the module", || {
        let busy = "select pid from pg_stat_activity where usename = 'app' and state = 'active'
                    and query <> '' limit 1";
        db.row(busy).remove("pid")
    })
}
