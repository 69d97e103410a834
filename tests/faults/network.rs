//! A network that cuts, resets, stalls and delays, before and after the database has the statement.

use crate::load::Load;
use crate::others::Others;
use crate::scene::{builder, fault, verdict, SHARED, SQL};
use crate::support::*;

const ROUNDS: usize = 60;

pub fn scene(seed: usize) {
    let database = Database::create(PostgresServer::shared());
    database.execute(SQL);
    let proxy = Proxy::to(database.server().port());
    let url = format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port(), database.name());
    let s = builder().option("url", url).try_start_on(database).expect("it loads");
    let load = Load::start(&[s.redis.port()], true, seed);
    let others = Others::start(s.database.url(), SHARED, seed);
    let mut random = Lcg::new(seed as u64);
    load.wait_for_writes(5);
    for _ in 0..ROUNDS {
        match random.below(12) {
            0 => proxy.reset_all(),
            1 => {
                // For longer than a client waits.
                proxy.stall(true);
                load.wait_for_answers(2);
                if random.below(2) == 0 {
                    proxy.reset_all();
                }
                proxy.stall(false);
            }
            2 => {
                proxy.refuse(true);
                proxy.reset_all();
                load.wait_for_answers(2);
                proxy.refuse(false);
            }
            3 => {
                proxy.delay(1 + random.below(20));
                load.wait_for_answers(2);
                proxy.delay(0);
            }
            choice => {
                let moments = [Cut::BeforeStatement, Cut::AfterStatement, Cut::BeforeAnswer];
                let tripped = proxy.tripped();
                proxy.arm(moments[choice % 3]);
                eventually("a connection breaks", || proxy.tripped() > tripped);
            }
        }
        fault();
        load.wait_for_writes(1);
    }
    let ops = load.finish();
    others.finish(&[&s]);
    verdict(&s.database, &[&s], &ops);
}
