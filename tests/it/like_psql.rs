//! Tables with random columns, constraints, indexes and triggers, and random writes: alone, together in
//! one batch and in MULTI they give the rows, the answers and the errors that psql gets when it does
//! one thing after the other on a table of the same definition.
//!
//! `SEEDS=500 cargo test --test it -- like_psql` tries more tables; `make soak` does so for as long as
//! one likes.

use std::time::{Duration, Instant};

use postgres::{Client, SimpleQueryMessage};
use serde_json::json;

use crate::support::*;

const TYPES: &str = "
create domain good as text check (value <> 'bad');
create domain given as text check (value is not null);
create domain digit as int check (value between 0 and 8);
create function is_low(n int) returns bool language plpgsql immutable as $$ begin return n < 8; end $$;
create function next_code() returns int language sql as $$ select 4 $$;
create table parents (id int primary key);
insert into parents values (0), (1), (4), (7), (10);
create table log (t text, n bigint);
create function raise() returns trigger language plpgsql as
    $$ begin raise exception 'no'; return new; end $$;
create function raise_bad() returns trigger language plpgsql as
    $$ begin if new.a = 'bad' then raise exception 'bad'; end if; return new; end $$;
create function newly() returns trigger language plpgsql as
    $$ begin new.a := 'new'; return new; end $$;
create function count_c() returns trigger language plpgsql as
    $$ begin new.c := coalesce(new.c, 0) + 1; return new; end $$;
create function skip() returns trigger language plpgsql as
    $$ begin if new.b = 7 then return null; end if; return new; end $$;
create function note() returns trigger language plpgsql as
    $$ begin insert into log select tg_table_schema, 1; return null; end $$;
create function cap() returns trigger language plpgsql as
    $$ begin
        if pg_trigger_depth() = 1 then
            execute format('update %I.%I set c = 5 where id = $1 and c > 5', tg_table_schema, tg_table_name)
                using new.id;
        end if;
        return null;
    end $$;
create function full_up() returns trigger language plpgsql as
    $$ declare n int; begin
        execute format('select count(*) from %I.%I', tg_table_schema, tg_table_name) into n;
        if n >= 3 then raise exception 'full'; end if;
        return new;
    end $$;
";

const A: &[&str] = &[
    "text",
    "text",
    "text not null",
    "text default 'x'",
    "text default 'x' check (a <> 'bad')",
    "text default 'bad' check (a <> 'bad')",
    "text check (a is not null)",
    "text unique",
    "varchar(4) not null default 'd'",
    "good",
    "good default 'x'",
    "given",
];
const B: &[&str] = &[
    "int",
    "int",
    "int not null default 0",
    "int check (b >= 0)",
    "int check (b >= 0 and b <= 9)",
    "int check (b >= 0 and b <> 7)",
    "int default 0 check (b > 0)",
    "int check (b is not null)",
    "int check (b >= 5)",
    "int check (b in (0, 3, 4, 7, 8))",
    "int references parents",
    "int references parents deferrable initially deferred",
    "int unique",
    "int unique deferrable initially deferred",
    "int check (is_low(b))",
    "digit",
    "digit default 3",
    "int default next_code()",
];
const C: &[&str] =
    &["bigint", "smallint", "numeric(5,2)", "smallint check (c <= 8)", "numeric check (c < 100)"];
const G: &[&str] = &[
    "",
    "",
    "",
    "",
    ", g int generated always as (100 / b) stored",
    ", g text generated always as (a || '!') stored",
    ", g int generated always as (b * 2) stored check (g <> 14)",
];
const MORE: &[&str] = &[
    "",
    "",
    "",
    ", check (b is null or c is null or b <= c)",
    ", unique (b, c)",
    ", check (not (a = 'bad' and b = 4))",
    ", unique (b, e)",
    ", check (coalesce(a, '') || coalesce(b, 0) <> 'y3')",
];
const AFTERWARDS: &[&str] = &[
    "",
    "",
    "",
    "create index on T (b)",
    "create index on T ((100 / b))",
    "create index on T (upper(a))",
    "create unique index on T (b) where b > 3",
    "create index on T (a) where 100 / b > 3",
    "alter table T add check (b <> 4) not valid",
    "alter table T add foreign key (b) references T",
    "create trigger t before insert on T for each row execute function raise()",
    "create trigger t before insert on T for each statement execute function raise()",
    "create trigger t before insert or update on T for each row execute function raise_bad()",
    "create trigger t before insert on T for each row execute function newly()",
    "create trigger t before update on T for each row execute function count_c()",
    "create trigger t before insert or update on T for each row execute function skip()",
    "create trigger t after insert or update or delete on T for each row execute function note()",
    "create trigger t after insert on T for each statement execute function note()",
    "create trigger t after update on T for each statement execute function note()",
    "create trigger t after insert or update on T for each row execute function cap()",
    "create trigger t before insert on T for each row execute function full_up()",
    "create constraint trigger t after insert or update on T deferrable initially deferred
        for each row execute function note()",
    "create rule r as on update to T do also insert into log values ('rule', 1)",
];

/// The table's definition, with `T` for its name.
fn definition(random: &mut Lcg) -> String {
    let columns = format!(
        "id int primary key, a {}, b {}, c {}, e date{}{}",
        random.pick(A),
        random.pick(B),
        random.pick(C),
        random.pick(G),
        random.pick(MORE)
    );
    let (partitioned, partitions) = match random.below(8) {
        0 => (
            " partition by hash (id)",
            "; create table T_0 partition of T for values with (modulus 2, remainder 0);
             create table T_1 partition of T for values with (modulus 2, remainder 1)",
        ),
        _ => ("", ""),
    };
    format!("create table T ({columns}){partitioned}{partitions}; {}", random.pick(AFTERWARDS))
}

/// A write as its client types it, in words.
fn write(random: &mut Lcg, ids: &[&str]) -> Vec<String> {
    let key = format!("__{{items:{}}}", random.pick(ids));
    let value = |random: &mut Lcg, field: &str| match field {
        "a" => random.pick(&["x", "y", "bad", "toolong"]),
        "e" => random.pick(&["2024-01-01", "2024-02-30", "2024-02-29"]),
        "b" => random.pick(&["0", "3", "4", "5", "7", "8", "-1", "12", "many"]),
        _ => random.pick(&["0", "1", "5", "8", "99999", "1.5"]),
    };
    let mut words: Vec<String> = Vec::new();
    let mut say = |more: &[&str]| words.extend(more.iter().map(|word| word.to_string()));
    match random.below(20) {
        0..9 => {
            say(&["HSET", &key]);
            for _ in 0..=random.below(3) {
                let field = random.pick(&["a", "a", "b", "b", "c", "e"]);
                say(&[field, value(random, field)]);
            }
        }
        9 => say(&["HSET", &key, "a", "x", "b", "3", "c", "5", "e", "2024-01-01"]),
        10..15 => {
            let n = random.pick(&["0", "1", "3", "4", "1", "-1", "-4", "2147483647"]);
            say(&["HINCRBY", &key, random.pick(&["b", "b", "b", "c"]), n]);
        }
        15 => say(&["HINCRBYFLOAT", &key, random.pick(&["b", "c"]), random.pick(&["1", "3"])]),
        16 => {
            // Whether a value is looked at that isn't needed, nobody has promised.
            let (field, value) =
                [("a", "y"), ("b", "4"), ("c", "5"), ("e", "2024-02-29")][random.below(4)];
            say(&["HSETNX", &key, field, value]);
        }
        17..19 => say(&["HDEL", &key, random.pick(&["a", "b", "c"]), "e"]),
        _ => say(&["DEL", &key]),
    }
    words
}

/// psql, on a table of its own.
struct Psql(Client);

impl Psql {
    /// A statement's rows, as texts; an error is its SQLSTATE.
    fn run(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let messages = self.0.simple_query(sql).map_err(|error| match error.code() {
            Some(code) => code.code().to_string(),
            None => panic!("{sql}: {error:?}"),
        })?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows
            .map(|row| (0..row.len()).map(|c| row.get(c).map(str::to_string)).collect())
            .collect())
    }

    /// The row's column, where the row is there.
    fn value(&mut self, id: &str, column: &str) -> Option<Option<String>> {
        let rows = self.run(&format!("select {column} from o.items where id = {id}"));
        rows.expect("a read").into_iter().next().map(|mut row| row.remove(0))
    }

    /// What the write does in a transaction, as somebody would type it, and what its client reads.
    fn write(&mut self, words: &[String]) -> Result<String, String> {
        let all = self.transaction(std::slice::from_ref(&words.to_vec()));
        all.map(|said| said.concat()).map_err(|(_, code)| code)
    }

    /// Several of them in one transaction; or which one is refused, if it is one, and why.
    fn transaction(
        &mut self,
        writes: &[Vec<String>],
    ) -> Result<Vec<String>, (Option<usize>, String)> {
        self.run("begin").expect("begin");
        let all: Result<Vec<String>, _> = writes
            .iter()
            .enumerate()
            .map(|(at, words)| self.statements(words).map_err(|code| (Some(at), code)))
            .collect();
        let result = all.and_then(|said| {
            let kept = self.run("set constraints all immediate");
            kept.map(|_| said).map_err(|code| (None, code))
        });
        self.run(if result.is_ok() { "commit" } else { "rollback" }).expect("the end");
        result
    }

    fn statements(&mut self, words: &[String]) -> Result<String, String> {
        let id = words[1].trim_start_matches("__{items:").trim_end_matches('}').to_string();
        let mut sets: Vec<(&str, &str)> = Vec::new();
        if words[0].starts_with("HSET") {
            for pair in words[2..].chunks_exact(2) {
                sets.retain(|(field, _)| *field != pair[0]);
                sets.push((&pair[0], &pair[1]));
            }
        }
        match words[0].as_str() {
            "HSET" => {
                let is_new = |psql: &mut Psql, field| psql.value(&id, field).flatten().is_none();
                let new = sets.iter().filter(|(field, _)| is_new(self, field)).count();
                let set: Vec<String> = sets.iter().map(|(f, v)| format!("{f} = '{v}'")).collect();
                self.upsert(&id, &set.join(", "), &sets)?;
                Ok(new.to_string())
            }
            "HSETNX" => {
                let (field, value) = sets[0];
                match self.value(&id, field) {
                    Some(Some(_)) => return Ok("0".into()),
                    Some(None) => drop(self.change(&id, &format!("{field} = '{value}'"))?),
                    None => self.add(&id, &sets)?,
                }
                Ok("1".into())
            }
            "HINCRBY" | "HINCRBYFLOAT" => {
                let (field, n) = (words[2].as_str(), words[3].as_str());
                let set = format!("{field} = coalesce({field}, '0') + {n}");
                self.upsert(&id, &set, &[(field, n)])?;
                Ok(self.value(&id, field).flatten().unwrap_or_default())
            }
            "HDEL" => {
                let fields = &words[2..];
                let old = fields.iter().filter(|f| self.value(&id, f).flatten().is_some()).count();
                let set: Vec<String> = fields.iter().map(|f| format!("{f} = null")).collect();
                self.change(&id, &set.join(", "))?;
                Ok(old.to_string())
            }
            _ => {
                let was_there = self.value(&id, "id").is_some();
                self.run(&format!("delete from o.items where id = {id}"))?;
                Ok(i32::from(was_there).to_string())
            }
        }
    }

    /// True when the row is there; a trigger that keeps it as it is is told of.
    fn change(&mut self, id: &str, set: &str) -> Result<bool, String> {
        let changed =
            self.run(&format!("update o.items set {set} where id = {id} returning id"))?;
        match (changed.is_empty(), self.value(id, "id")) {
            (true, Some(_)) => Err("02000".into()),
            (is_missing, _) => Ok(!is_missing),
        }
    }

    fn upsert(&mut self, id: &str, set: &str, values: &[(&str, &str)]) -> Result<(), String> {
        match self.change(id, set)? {
            true => Ok(()),
            false => self.add(id, values),
        }
    }

    fn add(&mut self, id: &str, values: &[(&str, &str)]) -> Result<(), String> {
        let columns: Vec<&str> = values.iter().map(|(column, _)| *column).collect();
        let values: Vec<String> = values.iter().map(|(_, value)| format!("'{value}'")).collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        let added = self.run(&format!(
            "insert into o.items (id, {columns}) values ({id}, {values}) returning id"
        ))?;
        match added.is_empty() {
            true => Err("02000".into()),
            false => Ok(()),
        }
    }
}

/// A reply, as the oracle says it.
fn said(reply: &Reply) -> Result<String, String> {
    match reply {
        Reply::Error(text) => {
            let code = text.strip_prefix("WTERR ").unwrap_or_else(|| panic!("{text}"));
            Err(code[..5].into())
        }
        Reply::Int(n) => Ok(n.to_string()),
        other => Ok(other.text()),
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Alone,
    Together,
    InMulti,
    Transactions,
}

/// What HINCRBY answers where the database writes `1.50`, and its like: the text is the column's.
fn compare_rows(s: &Stack, client: &mut Client, what: &str) {
    let sql = |table: &str| format!("select * from {table} order by id");
    let (ours, psqls) = (s.database.rows(&sql("public.items")), s.database.rows(&sql("o.items")));
    assert_eq!(ours, psqls, "{what}");
    let count =
        "select count(*) filter (where t = 'public'), count(*) filter (where t = 'o') from log";
    let count = client.query_one(count, &[]).expect("the log");
    let (ours, psqls): (i64, i64) = (count.get(0), count.get(1));
    assert_eq!(ours, psqls, "{what}: what triggers have noted");
    for row in ours_by_id(s) {
        let cached = s.hgetall(&format!("items:{}", row["id"]));
        assert!(cached.is_empty() || cached == row, "{what}: {cached:?} is cached of {row:?}");
    }
}

fn ours_by_id(s: &Stack) -> Vec<Hash> {
    s.database.rows("select * from public.items")
}

/// What one row may hold depends on other rows.
fn ties_rows(definition: &str) -> bool {
    ["unique", "references T", "full_up"].iter().any(|word| definition.contains(word))
}

/// Of two reasons PostgreSQL names either: a bad value may come with another one, or with a column that
/// the new row lacks.
fn may_have_two_reasons(words: &[String]) -> bool {
    let is_bad =
        |word: &String| ["2024-02-30", "many", "toolong", "2147483647"].contains(&word.as_str());
    words.len() > 4 || words.iter().any(is_bad)
}

/// Writes as one WT.TRANSACTION, and what psql says of them.
fn compare_transaction(conn: &mut Conn, psql: &mut Psql, writes: &[Vec<String>], what: &str) {
    let lines: Vec<String> = writes.iter().map(|words| words.join(" ")).collect();
    let reply = conn.cmd(&transaction_of(&lines));
    let what = format!("{what}\n{lines:#?}\n{reply:?}");
    match psql.transaction(writes) {
        Ok(expected) => {
            let said = reply.array().iter().map(said);
            assert_eq!(said.collect::<Result<Vec<_>, _>>(), Ok(expected), "{what}");
        }
        Err((at, code)) => {
            let text = reply.assert_error("");
            if !writes.iter().any(|words| may_have_two_reasons(words)) {
                assert_eq!(said(&reply), Err(code), "{what}");
            }
            // The only one it is.
            let at = at.or((writes.len() == 1).then_some(0));
            let of = at.map(|at| format!(" command={} key={}", at + 1, writes[at][1]));
            match of {
                Some(of) => assert!(text.ends_with(&of), "{what}"),
                None => assert!(!text.contains(" command="), "{what}"),
            }
        }
    }
}

/// False when PostgreSQL doesn't take the table.
fn one_table(s: &Stack, client: &mut Client, psql: &mut Psql, seed: u64) -> bool {
    let mut random = Lcg::new(seed);
    let definition = definition(&mut random);
    let of = |schema: &str| {
        let table = format!("{schema}.items");
        let sql = format!("{definition}\n").replace("T_", &format!("{table}_"));
        sql.replace(" T ", &format!(" {table} ")).replace(" T\n", &format!(" {table}\n"))
    };
    let drop = "drop table if exists public.items cascade; drop table if exists o.items cascade;
                truncate log;";
    client.batch_execute(drop).expect("drop");
    let made = ["public", "o"].iter().try_for_each(|schema| client.batch_execute(&of(schema)));
    if made.is_err() {
        return false;
    }
    s.run("FLUSHALL");
    assert_eq!(s.run("WT.RELOAD"), ok(), "{definition}");
    for id in [1, 2] {
        let row =
            format!("insert into %.items (id, a, b, c) values ({id}, 'x{id}', 4 + {id} * 3, 8)");
        for schema in ["public", "o"] {
            let _ = client.batch_execute(&row.replace('%', schema));
        }
    }
    client.batch_execute("truncate log").expect("the log");
    s.run("WT.REFRESH items:1 items:2 items:3 items:4");
    let mut conn = s.conn();
    for round in 0..6 {
        let way = [Way::Together, Way::Alone, Way::Transactions, Way::InMulti][random.below(4)];
        // Between rows there is no order: where they matter to each other, one row is written.
        let ids: &[&str] = match way {
            Way::Together if ties_rows(&definition) => &["1"],
            _ => &["1", "1", "1", "2", "3", "4"],
        };
        let writes: Vec<Vec<String>> = (0..8).map(|_| write(&mut random, ids)).collect();
        if let Way::Transactions = way {
            let what = format!("seed {seed}, round {round}\n{definition}");
            let mut rest = &writes[..];
            while !rest.is_empty() {
                let (first, others) = rest.split_at((1 + random.below(4)).min(rest.len()));
                compare_transaction(&mut conn, psql, first, &what);
                rest = others;
            }
            compare_rows(s, client, &what);
            continue;
        }
        let lines: Vec<String> = writes.iter().map(|words| words.join(" ")).collect();
        let replies = match way {
            Way::Transactions => unreachable!("done above"),
            Way::Together => s.together(&lines),
            Way::Alone => lines.iter().map(|line| conn.run(line)).collect(),
            Way::InMulti => {
                transaction(&mut conn, &lines.iter().map(String::as_str).collect::<Vec<_>>())
            }
        };
        for (at, words) in writes.iter().enumerate() {
            let expected = psql.write(words);
            let what = format!(
                "seed {seed}, round {round}, {way:?}, write {at} of {lines:#?}\n{definition}\n{replies:?}"
            );
            let said = said(&replies[at]);
            match (&said, &expected) {
                (Err(_), Err(_)) if may_have_two_reasons(words) => {}
                _ => assert_eq!(said, expected, "{what}"),
            }
        }
        compare_rows(s, client, &format!("seed {seed}, {way:?}: {lines:#?}\n{definition}"));
    }
    true
}

#[test]
fn random_tables_answer_as_psql_does() {
    let s = Stack::new()
        .sql("create schema o")
        .sql(TYPES)
        .sql("create table items (id int primary key)")
        .mapping(json!({ "table": "items" }))
        .one_worker()
        .start();
    let (mut client, mut psql) = (s.pg(), Psql(s.pg()));
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("SEED").unwrap_or(1);
    let seeds = number("SEEDS").unwrap_or(40);
    let until = Instant::now() + Duration::from_secs(60 * number("SOAK").unwrap_or(0));
    let mut tables = 0;
    for seed in first.. {
        if seed >= first + seeds && Instant::now() >= until {
            break;
        }
        tables += u64::from(one_table(&s, &mut client, &mut psql, seed));
    }
    assert!(tables * 3 >= seeds, "PostgreSQL took only {tables} of {seeds} tables");
}
