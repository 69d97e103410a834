//! The main job on each server with each PostgreSQL, and a restart of the database.

use writethrough_docker_tests::{command, eventually, run, Stack};

fn number<T: redis::FromRedisValue>(answer: Result<T, String>) -> T {
    answer.unwrap_or_else(|e| panic!("an error: {e}"))
}

/// `redis-8.0` says Redis 8.0 of itself, `valkey-9.1` Valkey 9.1; PostgreSQL's is its first number.
fn assert_versions(stack: &Stack, server: &str, database: &str) {
    let (name, version) = server.split_once('-').expect("a name and a version");
    let info: String = number(run(&mut stack.redis(), "INFO server"));
    let says = format!("\n{name}_version:{version}.");
    assert!(info.contains(&says), "no {says:?} in {info}");
    let row = stack.postgres().query_one("show server_version", &[]).expect("an answer");
    assert!(row.get::<_, &str>(0).starts_with(database), "{row:?}");
}

fn main_job(server: &str, database: &str) {
    let stack = Stack::start(server, database);
    assert_versions(&stack, server, database);
    let mut redis = stack.redis();

    let wrote: i64 = number(run(
        &mut redis,
        "HSET __{users:1} username john email john@example.com pwhash x7Gk dob 1990-05-17",
    ));
    assert_eq!(wrote, 4);
    let row = stack
        .postgres()
        .query_one("select username, date_of_birth::text from users where id = 1", &[])
        .expect("the row");
    assert_eq!((row.get(0), row.get(1)), ("john", "1990-05-17"));
    let hash: Vec<String> = number(run(&mut redis, "HMGET users:1 username email dob"));
    assert_eq!(hash, ["john", "john@example.com", "1990-05-17"]);

    let error = run::<i64>(&mut redis, "HSET __{users:1} dob 1990-02-30").expect_err("no such day");
    assert!(error.starts_with("WTERR 22008 "), "{error}");
    let error = run::<i64>(&mut redis, "HSET __{users:2} username john email x pwhash y")
        .expect_err("the name is taken");
    assert!(error.starts_with("WTERR 23505 ") && error.contains("users_username_key"), "{error}");
    assert_eq!(run(&mut redis, "EXISTS users:2"), Ok(0));
    assert_eq!(run(&mut redis, "HGET users:1 dob"), Ok("1990-05-17".to_owned()));

    // Where the server parses commands ahead of the filter, as Valkey 9 does.
    let mut pipeline = redis::pipe();
    for id in 10..20 {
        let line = format!("HSET __{{users:{id}}} username u{id} email u{id}@x pwhash h");
        pipeline
            .add_command(command(&line))
            .add_command(command(&format!("HGET users:{id} email")));
    }
    let answers: Vec<(i64, String)> = pipeline.query(&mut redis).expect("the pipeline");
    assert_eq!(answers, (10..20).map(|id| (3, format!("u{id}@x"))).collect::<Vec<_>>());

    let answers: (i64, String, i64) = redis::pipe()
        .atomic()
        .add_command(command("HSET __{users:1} last Smith"))
        .add_command(command("HGET users:1 last"))
        .add_command(command("HINCRBY __{stock:pen} qty 7"))
        .query(&mut redis)
        .expect("MULTI");
    assert_eq!(answers, (1, "Smith".into(), 7));
    let script = "return redis.call('HINCRBY', KEYS[1], 'qty', -2)";
    let left: i64 =
        redis::cmd("EVAL").arg(script).arg(1).arg("__{stock:pen}").query(&mut redis).expect("EVAL");
    assert_eq!(left, 5);
    assert_eq!(run(&mut redis, "DEL __{users:1} __{users:10}"), Ok(2));
    let count = stack.postgres().query_one("select count(*) from users", &[]).expect("a count");
    assert_eq!(count.get::<_, i64>(0), 9);
    assert_eq!(run::<Vec<String>>(&mut redis, "KEYS __*"), Ok(vec![]));

    // The container's own user isn't root, and the version is the crate's.
    let status: Vec<redis::Value> = number(run(&mut redis, "WT.STATUS"));
    let crate_version = include_str!("../../../Cargo.toml")
        .lines()
        .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .expect("the version");
    let version: String = redis::from_redis_value(status[1].clone()).expect("text");
    assert_eq!(version, crate_version);
}

fn restart_of_the_database(server: &str) {
    let stack = Stack::start(server, "17");
    let mut redis = stack.redis();
    let line = "HSET __{users:1} username john email john@example.com pwhash x7Gk";
    assert_eq!(run(&mut redis, line), Ok(3));

    stack.stop_postgres();
    let error = run::<i64>(&mut redis, "HSET __{users:1} first John").expect_err("it is down");
    assert!(error.starts_with("WTDOWN "), "{error}");
    assert_eq!(run(&mut redis, "HGET users:1 username"), Ok("john".to_owned()));
    assert_eq!(run(&mut redis, "HEXISTS users:1 first"), Ok(0));

    stack.start_postgres();
    eventually("writes work again", || run(&mut redis, "HSET __{users:1} first John") == Ok(1));
    let row = stack.postgres().query_one("select username, first_name from users", &[]);
    let row = row.expect("the row, as it was and as it is");
    assert_eq!((row.get(0), row.get(1)), ("john", "John"));
}

macro_rules! matrix {
    ($($name:ident: $server:literal,)*) => {$(
        mod $name {
            #[test]
            fn main_job_on_postgres_15() {
                super::main_job($server, "15");
            }
            #[test]
            fn main_job_on_postgres_17() {
                super::main_job($server, "17");
            }
            #[test]
            fn main_job_on_postgres_18() {
                super::main_job($server, "18");
            }
            #[test]
            fn restart_of_the_database() {
                super::restart_of_the_database($server);
            }
        }
    )*};
}

matrix! {
    redis_7_0: "redis-7.0",
    redis_8_0: "redis-8.0",
    valkey_8_1: "valkey-8.1",
    valkey_9_1: "valkey-9.1",
}
