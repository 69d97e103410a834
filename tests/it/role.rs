//! `examples/role.sql`: the least rights that the module needs, on a server that it trusts.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create schema shop;
create table shop.\"Order lines\" (
  id int, line int, n numeric check (n > 0), at timestamptz default now(), primary key (id, line));
create table secret (id int primary key, v text);
insert into secret values (1, 'x')";

/// Runs the script with these variables; its errors come back.
fn role_sql(database: &Database, variables: &[&str]) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/role.sql");
    let mut psql = Command::new("psql");
    psql.args(["-X", "-d", &database.url(), "-f"]).arg(script);
    for variable in variables {
        psql.args(["-v", variable]);
    }
    let output = psql.output().expect("psql");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(text)
    }
}

/// SCRAM, bound to a channel that is verified in full, as a role that may do no more than it must.
#[test]
fn the_module_runs_with_the_rights_that_the_script_gives() {
    let pg = TlsPostgres::start();
    let database = pg.users_database();
    database.execute(SQL);
    let password = format!("password={PASSWORD}");
    let tables = "tables=users, shop.Order lines";
    let role = ["role=write'through", &password, tables];
    role_sql(&database, &role).expect("the script");
    role_sql(&database, &role).expect("the script runs twice");

    let parameters = format!("sslmode=verify-full&{}&channel_binding=require", pg.roots());
    let user = format!("write%27through:{PASSWORD}");
    let url = pg.url(&user, &database, &parameters);
    let s = Stack::users()
        .mapping(json!({ "table": "shop.Order lines", "name": "line" }))
        .option("url", url)
        .option("connect_timeout_ms", 20_000)
        .patient()
        .try_start_on(database)
        .expect("it loads");
    s.add_user(1);
    s.assert_user_cached(1);
    // All that a client can do: with the column's sequence, too.
    for (line, reply) in [
        ("HSET __{users:1} first x dob 1990-05-17", int(2)),
        ("HSETNX __{users:1} last y", int(1)),
        ("HDEL __{users:1} dob", int(1)),
        ("HSET __{line:7:1} n 2", int(1)),
        ("HINCRBY __{line:7:1} n 3", int(5)),
        ("HINCRBYFLOAT __{line:7:2} n 0.5", bulk("0.5")),
        ("WT.REFRESH users:1 line:7:1", int(2)),
        ("WT.RELOAD", ok()),
        ("DEL __{line:7:1}", int(1)),
        ("UNLINK __{users:1}", int(1)),
    ] {
        assert_eq!(s.run(line), reply, "{line}");
    }
    s.assert_line_refused("HSET __{line:7:2} n -1", "WTERR 23514 ");
    assert!(!s.run("WT.VERIFY line REPAIR").is_error());
    let replies = transaction(&mut s.conn(), &["HSET __{users:2} username a email b pwhash c"]);
    assert_eq!(replies, [int(3)]);
    s.assert_user_cached(2);

    // A schema of its own for WT.ONCE, where that is asked for.
    let once = "WT.ONCE t 4 HINCRBY __{line:7:2} n 1";
    s.assert_line_refused(once, "WTERR 42501 permission denied for database");
    role_sql(&s.database, &["role=write'through", tables, "own=1"]).expect("the script");
    for _ in 0..2 {
        assert_eq!(s.run(once), bulk("1.5"));
    }

    // And no more than that.
    let held = "select rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls
                from pg_roles where rolname = 'write''through'";
    assert_eq!(s.one(held), "f");
    let mut as_role = s.pg();
    as_role.batch_execute("set role \"write'through\"").expect("set role");
    for sql in [
        "select * from secret",
        "truncate users",
        "drop table users",
        "alter table users add x int",
        "create schema mine",
        "create role other",
        "select pg_read_file('postgresql.conf')",
        "copy users to program 'cat'",
    ] {
        let error = as_role.batch_execute(sql).expect_err(sql);
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{sql}: {error:?}");
    }
}

#[test]
fn the_script_names_what_is_missing_and_changes_nothing() {
    let database = Database::create(PostgresServer::shared());
    database.execute("create table there (id int primary key)");
    let error = role_sql(&database, &["role=no_such", "tables=there,not_there"]).unwrap_err();
    assert!(error.contains("no table 'not_there'"), "{error}");
    assert_eq!(database.one("select count(*) from pg_roles where rolname = 'no_such'"), "0");
    // A mapped table that the role may not read is found at load, and named.
    let database = Database::create(PostgresServer::shared());
    database.execute("create table closed (id int primary key)");
    database.execute("create role stranger login");
    let url = database.url().replace("postgres@", "stranger@");
    let s = Stack::new().mapping(json!({ "table": "closed" })).option("url", url);
    let s = s.try_start_on(database).expect("it loads");
    s.assert_line_refused(
        "HSET __{closed:1} id 1",
        "WTERR 42501 permission denied for table closed",
    );
}
