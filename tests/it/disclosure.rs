//! An error shows no more of a row than the write itself held: there are columns that the client may
//! not read, and columns that aren't mapped.

use serde_json::json;

use crate::support::*;

const SECRET: &str = "5000-s3cret";

const SQL: &str = "
create table people (
    id int primary key,
    name text not null,
    email text unique,
    age int check (age >= 0),
    score numeric(5,2),
    doc json,
    team text, seat int,
    unique (team, seat),
    login text,
    during int4range,
    exclude using gist (during with &&),
    salary text unique not null default '5000-s3cret',
    broken text,
    parsed int generated always as (case when broken = 'go' then salary::int end) stored,
    checked text check (checked is null or salary <> '5000-s3cret')
);
create unique index on people (lower(login));
create table pays (person text references people (salary), id int primary key);
create function guard() returns trigger language plpgsql as $$ begin
    if new.name = 'raise' then raise exception 'no' using detail = 'it is ' || old.salary; end if;
    if new.name = 'data' then
        raise exception 'no' using errcode = '22003', detail = 'it is ' || old.salary;
    end if;
    if new.name = 'forge' then new.email := new.salary; end if;
    if new.name = 'cast' then perform old.salary::int; end if;
    return new;
end $$;
create table parts (id int, at int, note text default '5000-s3cret', primary key (id))
    partition by range (id);
create table parts1 partition of parts for values from (1) to (10);
create table owners (id int primary key);
create table teams (id int primary key, owner int references owners on delete cascade);
create table seats (team int references teams, id int primary key);
create view named as select id, salary as name, name as label from people with check option;
";

/// The mapped fields only; `salary` is not among them.
fn people() -> Builder {
    let fields = ["name", "email", "age", "score", "doc", "team", "seat", "login", "during"];
    let fields = fields.into_iter().chain(["broken", "checked"]);
    let fields: serde_json::Map<_, _> =
        fields.map(|name| (name.to_string(), json!(name))).collect();
    Stack::new()
        .sql(SQL)
        .mapping(json!({ "table": "people", "key": "id", "fields": fields }))
        .mapping(json!({ "table": "parts", "fields": { "at": "at" } }))
        .mapping(json!({ "table": "owners" }))
}

/// The error, without `constraint=` and so on.
#[track_caller]
fn refused(s: &Stack, line: &str, code: &str) -> String {
    let before = s.state();
    let text = s.run(line).assert_error(&format!("WTERR {code} ")).to_string();
    assert!(!text.contains(SECRET), "{line}: {text}");
    let script = "return redis.pcall(unpack(ARGV))";
    let words: Vec<&str> = line.split(' ').collect();
    let mut eval = vec!["EVAL", script, "1", words[1]];
    eval.extend(&words);
    let scripted = s.cmd(&eval).text();
    assert!(scripted.contains(code) && !scripted.contains(SECRET), "{line}: {scripted}");
    let queued = transaction(&mut s.conn(), &[line])[0].text();
    assert!(queued.contains(code) && !queued.contains(SECRET), "{line}: {queued}");
    assert_eq!(s.state(), before, "{line}");
    text
}

fn detail(text: &str) -> &str {
    text.split_once(" detail=").map_or("", |(_, detail)| detail)
}

fn two_people() -> Stack {
    let s = people().start();
    let row = "name x email a@x team red seat 7 login Ann during [1,5)";
    assert_eq!(s.run(&format!("HSET __{{people:1}} {row}")), int(6));
    s.execute("update people set salary = '4000' where id = 1");
    let row = "name y email b@x team red seat 8 login Bo during [5,9)";
    assert_eq!(s.run(&format!("HSET __{{people:2}} {row}")), int(6));
    s
}

#[test]
fn a_row_is_not_shown() {
    let s = two_people();
    for (line, code) in [
        ("HSET __{people:2} age -1", "23514"),
        ("HSET __{people:3} age 1", "23502"),
        ("HDEL __{people:2} name", "23502"),
        ("HSET __{people:2} checked x", "23514"),
        ("HINCRBY __{people:2} age -1", "23514"),
        ("HSETNX __{people:2} checked x", "23514"),
        ("HSET __{parts:20} at 1", "23514"),
        // A column that the write doesn't name.
        ("HSET __{people:3} name z", "23505"),
        ("HSET __{people:2} during [3,6)", "23P01"),
        ("HSET __{people:2} seat 7", "23505"),
        ("HSET __{people:2} team red login ANN", "23505"),
    ] {
        assert_eq!(detail(&refused(&s, line, code)), "", "{line}");
    }
}

of_the_staged_key! {
#[test]
fn the_writes_own_values_are_shown() {
    let s = two_people();
    let taken = refused(&s, "HSET __{people:2} email a@x", "23505");
    assert_eq!(detail(&taken), "Key (email)=(a@x) already exists.");
    let taken = refused(&s, "HSET __{people:2} seat 7 team red", "23505");
    assert_eq!(detail(&taken), "Key (team, seat)=(red, 7) already exists.");
    let scale = refused(&s, "HSET __{people:2} score 1000", "22003");
    assert!(detail(&scale).starts_with("A field with precision 5, scale 2 "), "{scale}");
    let token = refused(&s, "HSET __{people:2} doc {x", "22P02");
    assert!(detail(&token).contains("\"x\""), "{token}");
    let value = refused(&s, "HSET __{people:2} age many", "22P02");
    assert!(value.ends_with("invalid input syntax for type integer: \"many\""), "{value}");
    let value = refused(&s, "HSET __{people:many} age 1", "22P02");
    assert!(value.ends_with("invalid input syntax for type integer: \"many\""), "{value}");
}
}

of_the_staged_key! {
#[test]
fn what_a_row_that_stays_is_referred_to_by() {
    let s = two_people();
    s.execute("insert into pays values ('4000', 1)");
    s.execute("update people set salary = '5000-s3cret-2' where id = 2");
    s.execute("insert into pays values ('5000-s3cret-2', 2)");
    assert_eq!(detail(&refused(&s, "DEL __{people:2}", "23503")), "");
    // The cascade meets another table, whose key has the same name.
    s.execute("insert into owners values (1); insert into teams values (77, 1)");
    s.execute("insert into seats values (77, 1)");
    assert_eq!(detail(&refused(&s, "DEL __{owners:1}", "23503")), "");
    s.execute("delete from seats; alter table teams drop constraint teams_owner_fkey");
    s.execute("alter table teams add foreign key (owner) references owners");
    let text = refused(&s, "DEL __{owners:1}", "23503");
    assert_eq!(detail(&text), "Key (id)=(1) is still referenced from table \"teams\".");
}
}

#[test]
fn what_the_tables_own_code_has_read() {
    let s = two_people();
    let text = refused(&s, "HSET __{people:2} broken go", "22P02");
    assert!(text.contains("integer: \"…\""), "{text}");
    s.execute("create trigger guard before update on people for each row execute function guard()");
    for (name, code) in [("raise", "P0001"), ("data", "22003"), ("cast", "22P02")] {
        refused(&s, &format!("HSET __{{people:2}} name {name}"), code);
    }
    s.execute("update people set email = '5000-s3cret' where id = 1");
    refused(&s, "HSET __{people:2} name forge", "23505");
}

#[test]
fn a_view_may_call_another_column_so() {
    let fields = json!({ "name": "name", "label": "label" });
    let mapping = json!({ "table": "named", "key": "id", "fields": fields });
    let s = people().mapping(mapping).start();
    assert_eq!(s.run("HSET __{people:1} name x"), int(1));
    assert_eq!(s.run("HSET __{named:2} name 4000 label y"), int(2));
    assert_eq!(detail(&refused(&s, "HSET __{named:3} label z", "23505")), "");
}

/// Many writes in one statement: the bad row is found by the whole detail, and each client reads its
/// own part.
#[test]
fn in_a_batch_and_in_the_acknowledgement() {
    let s = people().one_worker().start();
    let row = |id: i32| format!("HSET __{{people:{id}}} # =u-{id} name n email e{id}@x");
    assert_eq!(s.run(&row(1)), int(2));
    s.execute("alter table people alter salary drop not null, alter salary drop default");
    let mut lines: Vec<String> = (2..20).map(row).collect();
    lines[5] = "HSET __{people:7} # =u-7 name n email e1@x".into();
    lines[9] = "HSET __{people:11} # =u-11 name n age -5".into();
    let replies = s.together(&lines);
    let taken = replies[5].assert_error("WTERR 23505 ");
    assert_eq!(detail(taken), "Key (email)=(e1@x) already exists.");
    assert_eq!(detail(replies[9].assert_error("WTERR 23514 ")), "");
    assert_eq!(replies.iter().filter(|reply| reply.is_error()).count(), 2, "{replies:?}");
    let told = s.run("XRANGE {people:11}u-11 - +").text();
    assert!(told.contains("WTERR 23514") && !told.contains("detail="), "{told}");
    let told = s.run("XRANGE {people:7}u-7 - +").text();
    assert!(told.contains("detail=Key (email)=(e1@x)"), "{told}");
}
