//! A shop's stock through Redis in PostgreSQL. Needs `redis`, and examples/shop.json.
//!
//!     cargo run --example client -- [redis://127.0.0.1:6379]

use std::error::Error;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Client, Commands, Connection, RedisError, RedisResult};

const PATIENCE: Duration = Duration::from_secs(60);
const LAMP: &str = "__{products:lamp}";

/// Whether a write changes more when it is done twice.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A set or a delete.
    Repeatable,
    Increment,
}

/// What the error's first word says.
fn may_be_sent_again(error: &RedisError, kind: Kind) -> bool {
    let unwritten = error.detail().is_some_and(|text| text.contains("nothing was written"));
    match error.code() {
        Some("WTTIMEOUT") => kind == Kind::Repeatable || unwritten,
        Some("WTDOWN" | "WTBUSY") => true,
        _ => false,
    }
}

/// Runs `command` until it is answered, refused, or `PATIENCE` is over.
fn write<T>(kind: Kind, mut command: impl FnMut() -> RedisResult<T>) -> RedisResult<T> {
    let (until, mut pause) = (Instant::now() + PATIENCE, Duration::from_millis(50));
    loop {
        match command() {
            Err(error) if may_be_sent_again(&error, kind) && Instant::now() < until => {
                thread::sleep(pause);
                pause = (2 * pause).min(Duration::from_secs(1));
            }
            answer => return answer,
        }
    }
}

/// SQLSTATE and constraint of a `WTERR`: nothing changed, here or there. All others are returned.
fn refusal(error: RedisError) -> RedisResult<String> {
    let (Some("WTERR"), Some(text)) = (error.code(), error.detail()) else {
        return Err(error);
    };
    let mut words = text.split(' ');
    let sqlstate = words.next().unwrap_or_default();
    Ok(match words.find_map(|word| word.strip_prefix("constraint=")) {
        Some(constraint) => format!("{sqlstate} {constraint}"),
        None => sqlstate.to_owned(),
    })
}

/// A connection that waits for longer than the server does (`timeout_ms`), and not for ever.
fn connect(client: &Client) -> RedisResult<Connection> {
    let connection = client.get_connection()?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(connection)
}

/// Takes one lamp. False when there is none left: the database's CHECK says so.
fn buy(client: &Client) -> RedisResult<bool> {
    // A connection has one write in flight, so each thread has its own.
    let mut connection = connect(client)?;
    match write(Kind::Increment, || connection.hincr::<_, _, _, i64>(LAMP, "stock", -1)) {
        Ok(_) => Ok(true),
        Err(error) => {
            assert_eq!(refusal(error)?, "23514 products_stock_check");
            Ok(false)
        }
    }
}

pub fn run(url: &str, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let client = Client::open(url)?;
    let mut connection = connect(&client)?;

    let lamp = [("title", "Lamp"), ("price", "19.999"), ("stock", "5")];
    let set = || redis::cmd("HSET").arg(LAMP).arg(&lamp).query(&mut connection);
    let new: i64 = write(Kind::Repeatable, set)?;
    writeln!(out, "new fields: {new}")?;
    let row: Vec<String> = connection.hmget("products:lamp", &["title", "price", "stock"])?;
    writeln!(out, "the row: {}", row.join(" "))?;

    let set = || connection.hset::<_, _, _, i64>(LAMP, "price", -1);
    if let Err(error) = write(Kind::Repeatable, set) {
        writeln!(out, "refused: {}", refusal(error)?)?;
    }

    let bought: RedisResult<Vec<bool>> = thread::scope(|scope| {
        let buyers: Vec<_> = (0..10).map(|_| scope.spawn(|| buy(&client))).collect();
        buyers.into_iter().map(|buyer| buyer.join().expect("a buyer")).collect()
    });
    let sold = bought?.into_iter().filter(|sold| *sold).count();
    let left: i64 = connection.hget("products:lamp", "stock")?;
    writeln!(out, "sold: {sold} of 10, left: {left}")?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1);
    run(url.as_deref().unwrap_or("redis://127.0.0.1:6379"), &mut io::stdout())
}
