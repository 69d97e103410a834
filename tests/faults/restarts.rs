//! redis-server is killed, with and without files to come back from.

use crate::load::Load;
use crate::others::Others;
use crate::scene::{builder, fault, verdict, wait_for_sync, SHARED, SQL};
use crate::support::*;

/// What of the data set survives a crash.
#[derive(Clone, Copy, PartialEq)]
pub enum Kept {
    Always,
    EverySecond,
    OldRdb,
    Nothing,
}

pub fn scene(kept: Kept, seed: usize) {
    let builder = builder().sql(SQL);
    let s = match kept {
        Kept::Always => builder.redis_conf("appendonly yes").redis_conf("appendfsync always"),
        Kept::EverySecond => builder.redis_conf("appendonly yes"),
        Kept::OldRdb => builder,
        // Without a journal, too, all is found.
        Kept::Nothing => builder.option("follow", false),
    };
    let s = s.start();
    // What comes back may be old until the module has seen to it.
    let load = Load::start(&[s.redis.port()], false, seed);
    let others = (kept != Kept::Nothing).then(|| Others::start(s.database.url(), SHARED, seed));
    load.wait_for_writes(5);
    if kept == Kept::OldRdb {
        assert_eq!(s.run("SAVE"), ok());
    }
    for round in 0..3 {
        load.wait_for_writes(5);
        s.restart_redis(if round == 1 { "TERM" } else { "KILL" });
        fault();
    }
    load.wait_for_writes(5);
    let ops = load.finish();
    wait_for_sync(&s);
    if let Some(others) = others {
        others.finish(&[&s]);
    }
    verdict(&s.database, &[&s], &ops);
}
