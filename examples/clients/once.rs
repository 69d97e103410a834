//! Lamps are put into boxes: two rows in one transaction, sent again until it is answered. Needs `redis`,
//! `uuid`, examples/shop.json, and two products:
//!
//!     HSET __{products:lamp} title Lamp price 20 stock 5
//!     HSET __{products:boxed} title Box price 22 stock 0
//!
//!     cargo run --example once -- [redis://127.0.0.1:6379]

use std::error::Error;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Client, Connection, FromRedisValue, RedisError, RedisResult, ToRedisArgs};
use uuid::Uuid;

fn transaction(commands: &[&[&str]]) -> Vec<String> {
    let mut words = vec!["WT.TRANSACTION".to_owned(), commands.len().to_string()];
    for command in commands {
        words.push(command.len().to_string());
        words.extend(command.iter().map(|word| word.to_string()));
    }
    words
}

fn may_be_sent_again(error: &RedisError) -> bool {
    match error.code() {
        Some("WTTIMEOUT" | "WTDOWN" | "WTBUSY" | "UNBLOCKED") => true,
        Some("TRYAGAIN" | "LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN") => true,
        _ => error.is_io_error(), // the connection is lost
    }
}

/// Each try has a connection of its own: that of the last one may be lost.
fn once<T: FromRedisValue>(
    connect: impl Fn() -> RedisResult<Connection>,
    token: &str,
    command: &[impl ToRedisArgs],
) -> RedisResult<T> {
    let mut once = redis::cmd("WT.ONCE");
    once.arg(token).arg(command.len()).arg(command);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match connect().and_then(|mut connection| once.query(&mut connection)) {
            Err(error) if may_be_sent_again(&error) && Instant::now() < until => {
                thread::sleep(Duration::from_millis(200));
            }
            answer => return answer,
        }
    }
}

const LAMP: &str = "__{products:lamp}";
const BOXED: &str = "__{products:boxed}";

fn put_into_boxes(client: &Client, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let connect = || {
        let connection = client.get_connection()?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(connection)
    };
    let new_token = || Uuid::new_v4().to_string();

    let token = new_token();
    let two = transaction(&[&["HINCRBY", BOXED, "stock", "2"], &["HINCRBY", LAMP, "stock", "-2"]]);
    writeln!(out, "{:?}", once::<Vec<i64>>(connect, &token, &two)?)?; // prints: [2, 3]
    writeln!(out, "{:?}", once::<Vec<i64>>(connect, &token, &two)?)?; // prints: [2, 3]

    let four = transaction(&[&["HINCRBY", BOXED, "stock", "4"], &["HINCRBY", LAMP, "stock", "-4"]]);
    if let Err(error) = once::<Vec<i64>>(connect, &new_token(), &four) {
        writeln!(out, "{error}")?; // prints: "WTERR": 23514 … command=2 key=__{products:lamp}
    }
    let sell = ["HINCRBY", BOXED, "stock", "-1"];
    writeln!(out, "{}", once::<i64>(connect, &new_token(), &sell)?)?; // prints: 1
    Ok(())
}

pub fn run(url: &str, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    put_into_boxes(&Client::open(url)?, out)
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1);
    run(url.as_deref().unwrap_or("redis://127.0.0.1:6379"), &mut io::stdout())
}
