//! Writes that wait together: one worker, held up for as long as a test wants.

use serde_json::json;

use super::builder::Builder;
use super::database::OpenTransaction;
use super::eventually::eventually;
use super::resp::{int, Conn, Reply};
use super::stack::Stack;

/// A write to this table takes until nobody holds the advisory lock. It polls: a module that
/// sets a row aside when it meets a lock can't do so here.
const HOLD_SQL: &str = "
create table hold (id int primary key, v text);
create function hold() returns trigger language plpgsql as $$ begin
    while not pg_try_advisory_xact_lock_shared(77) loop perform pg_sleep(0.002); end loop;
    return new;
end $$;
create trigger hold before insert or update on hold for each row execute function hold()";

impl Builder {
    /// One worker with one connection, which [`Stack::hold`] can hold up.
    pub fn one_worker(self) -> Builder {
        let builder = self.sql(HOLD_SQL).mapping(json!({ "table": "hold" }));
        builder.option("pool_size", 1).patient()
    }
}

/// The only worker is busy until [`Held::release`].
pub struct Held {
    lock: OpenTransaction,
    writer: Conn,
}

impl Stack {
    /// Sends a write to the table `hold`, which keeps the worker busy.
    pub fn hold(&self) -> Held {
        let lock = self.database.hold("select pg_advisory_xact_lock(77)");
        let writer = self.send("HSET __{hold:1} v x");
        self.wait_until_held_up();
        Held { lock, writer }
    }

    /// Waits until a statement sleeps behind the lock.
    pub fn wait_until_held_up(&self) {
        eventually("the worker is held up", || {
            let busy = "select count(*) from pg_stat_activity
                        where datname = current_database() and wait_event = 'PgSleep'";
            self.one(busy) == "1"
        });
    }

    /// Sends each line on a connection of its own, in this order, while the only worker is held
    /// up; then lets it go and returns the replies.
    pub fn together(&self, lines: &[String]) -> Vec<Reply> {
        let held = self.hold();
        let mut conns = Vec::new();
        for line in lines {
            conns.push(self.send(line));
            self.wait_for_blocked(conns.len() + 1);
        }
        held.release();
        conns.iter_mut().map(Conn::receive).collect()
    }
}

impl Held {
    pub fn release(mut self) {
        self.lock.rollback();
        let reply = self.writer.receive();
        assert!(reply == int(1) || reply == int(0), "{reply:?}");
    }
}
