//! Workers that panic, before and after their statement: their clients are answered, and the
//! next writes are served.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::load::Load;
use crate::others::Others;
use crate::scene::{fault, patient_builder, verdict, SHARED, SQL};
use crate::support::{int, transaction_of};

pub fn scene(seed: usize) {
    let s = patient_builder().sql(SQL).env("WRITETHROUGH_FAILPOINTS", "on").start();
    let load = Load::start(&[s.redis.port()], true, seed);
    let others = Others::start(s.database.url(), SHARED, seed);
    load.wait_for_writes(3);
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    for round in 0..20 {
        let moment = ["panic-before", "panic-after"][round % 2];
        let id = 1000 + NEXT.fetch_add(1, Ordering::Relaxed);
        assert_eq!(s.run(&format!("HSET __{{items:{id}}} v v")), int(1));
        s.run(&format!("HSET __{{items:{id}}} w {moment}")).assert_error("WTTIMEOUT ");
        let row = s.row(&format!("select w from items where id = {id}"));
        assert_eq!(row.contains_key("w"), moment == "panic-after");
        // All of a transaction or nothing, whenever its worker panics.
        let both = [
            format!("HSET __{{items:{id}}} v {moment}"),
            format!("HINCRBY __{{counted:{id}}} n 1"),
        ];
        s.cmd(&transaction_of(&both)).assert_error("WTTIMEOUT ");
        let v = &s.row(&format!("select v from items where id = {id}"))["v"];
        assert_eq!(v == moment, moment == "panic-after");
        let counted = s.one(&format!("select count(*) from counted where id = {id}"));
        assert_eq!(counted == "1", moment == "panic-after");
        fault();
        load.wait_for_writes(1);
    }
    let ops = load.finish();
    others.finish(&[&s]);
    verdict(&s.database, &[&s], &ops);
}
