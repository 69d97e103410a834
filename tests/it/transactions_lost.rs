//! A connection is lost while a transaction is in flight: it is done once, or not at all.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table accounts (id int primary key, owner text, balance int not null default 100);
create table codes (id int primary key, code int unique, n int not null default 0);
insert into accounts (id) select generate_series(1, 9);
insert into codes select n, n from generate_series(1, 9) n";

/// A stack whose wire to PostgreSQL can be cut.
fn with_proxy(builder: impl Fn(Builder) -> Builder) -> (Stack, Proxy) {
    let database = Database::create(PostgresServer::shared());
    database.execute(SQL);
    let proxy = Proxy::to(database.server().port());
    let url = format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port(), database.name());
    let stack = Stack::new()
        .mapping(json!({ "table": "accounts" }))
        .mapping(json!({ "table": "codes" }))
        .option("url", url);
    (builder(stack.patient()).try_start_on(database).expect("it loads"), proxy)
}

const CUTS: [Cut; 8] = [
    Cut::After("COMMIT"),
    Cut::Before("COMMIT"),
    Cut::After("BEGIN"),
    Cut::Before("BEGIN"),
    Cut::After(""),
    Cut::Before(""),
    Cut::AfterStatement,
    Cut::BeforeAnswer,
];

/// One that shares statements, and one whose commands go in order.
#[test]
fn it_counts_once_wherever_the_wire_is_cut() {
    for journal in [false, true] {
        let (s, proxy) = with_proxy(|builder| builder.option("journal", journal));
        let mut done = 0;
        for cut in CUTS.into_iter().chain(CUTS) {
            done += 1;
            let lines = [
                "HINCRBY __{accounts:1} balance -10".to_string(),
                "HINCRBY __{accounts:2} balance 10".into(),
            ];
            proxy.arm(cut);
            let expected = Reply::Array(vec![int(100 - 10 * done), int(100 + 10 * done)]);
            assert_eq!(s.cmd(&transaction_of(&lines)), expected, "{cut:?}");
            proxy.arm(cut);
            let lines = [
                format!("HSET __{{codes:1}} code {}", 100 + done),
                "HINCRBY __{codes:2} n 1".into(),
                "HINCRBY __{accounts:3} balance 1".into(),
            ];
            let expected =
                Reply::Array(vec![int(i64::from(done == 1)), int(done), int(100 + done)]);
            assert_eq!(s.cmd(&transaction_of(&lines)), expected, "{cut:?}");
            proxy.arm(Cut::Before("no statement holds this"));
        }
        assert!(proxy.tripped() >= 20, "{}", proxy.tripped());
        for (table, id) in
            [("accounts", 1), ("accounts", 2), ("accounts", 3), ("codes", 1), ("codes", 2)]
        {
            s.assert_row_cached(table, id);
        }
        assert_eq!(s.one("select sum(balance) from accounts where id < 3"), "200");
        assert_eq!(s.info_int("writes_timed_out"), 0);
        eventually("all is settled", || s.is_in_sync());
    }
}

/// The database can't be asked in the client's time: it is told so, and the cache follows.
#[test]
fn what_is_not_known_in_time_is_read_when_the_database_is_back() {
    for (cut, sum) in [(Cut::After("COMMIT"), "90 110"), (Cut::Before("COMMIT"), "100 100")] {
        let (s, proxy) = with_proxy(|b| b.told_soon_of_outages().option("pool_size", 1));
        s.run("WT.REFRESH accounts:1 accounts:2");
        s.wait_until_in_sync();
        proxy.refuse(true);
        proxy.arm(cut);
        let lines = ["HINCRBY __{accounts:1} balance -10", "HINCRBY __{accounts:2} balance 10"];
        s.set("timeout-ms", 300);
        s.cmd(&transaction_of(&lines)).assert_error("WTTIMEOUT ");
        proxy.refuse(false);
        eventually("the cache follows", || {
            let balance = |id| s.run(&format!("HGET accounts:{id} balance")).text();
            s.info_int("in_flight") == 0 && format!("{} {}", balance(1), balance(2)) == sum
        });
        let balances =
            "select string_agg(balance::text, ' ' order by id) from accounts where id < 3";
        assert_eq!(s.one(balances), sum);
    }
}
