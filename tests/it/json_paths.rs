//! Hash fields that are values inside a `jsonb` column.

use serde_json::{json, Value};

use crate::support::*;

const SQL: &str = "
create table people (
    id int primary key,
    name text,
    address jsonb,
    visits jsonb not null default '{\"total\": 0}'
)";

fn people() -> Builder {
    Stack::new().sql(SQL).mapping(json!({
        "table": "people",
        "fields": {
            "name": "name",
            "address": "address",
            "city": { "column": "address", "path": ["city"] },
            "street": { "column": "address", "path": ["home", "street"] },
            "door": { "column": "address", "path": ["home", "door"], "type": "json" },
            "first tag": { "column": "address", "path": ["tags", "0"] },
            "it's": { "column": "address", "path": ["o'dd \"{name},\\", "ü"] },
            "total": { "column": "visits", "path": ["total"], "type": "json" }
        }
    }))
}

fn address(s: &Stack, id: i64) -> Value {
    let text =
        s.one(&format!("select coalesce(address::text, 'null') from people where id = {id}"));
    serde_json::from_str(&text).expect("a document")
}

/// What the hash has to hold: each path as the database reads it.
#[track_caller]
fn assert_cached(s: &Stack, id: i64) {
    let row = s.row(&format!(
        "select name, address::text, address #>> '{{city}}' as city,
                address #>> '{{home,street}}' as street,
                (address #> '{{home,door}}')::text as door, address #>> '{{tags,0}}' as \"first tag\",
                address #>> array['o''dd \"{{name}},\\', 'ü'] as \"it's\",
                (visits #> '{{total}}')::text as total
         from people where id = {id}"
    ));
    assert_eq!(s.hgetall(&format!("people:{id}")), row);
    assert_eq!(s.run(&format!("EXISTS __{{people:{id}}}")), int(0), "still staged");
}

#[test]
fn a_value_is_set_and_the_others_stay() {
    let s = people().start();
    assert_eq!(s.run("HSET __{people:1} name ann city Rome street Corso door 7"), int(4));
    assert_eq!(address(&s, 1), json!({ "city": "Rome", "home": { "street": "Corso", "door": 7 } }));
    assert_cached(&s, 1);
    s.execute(
        "update people set address = address || '{\"zip\": \"00100\", \"tags\": [\"a\", \"b\"]}'",
    );
    assert_eq!(s.run("HSET __{people:1} city Milan street Roma"), int(0));
    assert_eq!(
        address(&s, 1),
        json!({
            "city": "Milan", "home": { "street": "Roma", "door": 7 }, "zip": "00100",
            "tags": ["a", "b"],
        })
    );
    assert_eq!(s.cmd(&["HSET", "__{people:1}", "first tag", "x", "it's", "odd"]), int(1));
    assert_eq!(address(&s, 1)["tags"], json!(["x", "b"]));
    assert_eq!(address(&s, 1)["o'dd \"{name},\\"], json!({ "ü": "odd" }));
    assert_cached(&s, 1);
}

#[test]
fn the_whole_column_and_values_in_it() {
    let s = people().start();
    let line = r#"HSET __{people:1} city Rome address {"zip":1} door [1,2]"#;
    assert_eq!(s.run(line).int(), 3);
    let expected = json!({ "zip": 1, "city": "Rome", "home": { "door": [1, 2] } });
    assert_eq!(address(&s, 1), expected);
    assert_eq!(s.run(r#"HSET __{people:1} address {"city":"Oslo"}"#), int(0));
    assert_eq!(address(&s, 1), json!({ "city": "Oslo" }));
    assert_cached(&s, 1);
    assert_eq!(s.run("HDEL __{people:1} address city"), int(2));
    assert_eq!(address(&s, 1), Value::Null);
    assert_cached(&s, 1);
}

#[test]
fn hdel_removes_the_key() {
    let s = people().start();
    assert_eq!(s.run("HSET __{people:1} city Rome street Corso door 7"), int(3));
    assert_eq!(s.cmd(&["HDEL", "__{people:1}", "street", "first tag", "city"]), int(2));
    assert_eq!(address(&s, 1), json!({ "home": { "door": 7 } }));
    assert_cached(&s, 1);
    // Where there is nothing to remove, nothing is refused.
    for document in ["5", "null", "[1]", "\"x\"", "{\"home\": 5}", "{\"home\": [1]}"] {
        s.execute(&format!("update people set address = '{document}'"));
        assert!(s.run("HDEL __{people:1} city street door").is_int(), "{document}");
        assert_eq!(address(&s, 1), serde_json::from_str::<Value>(document).unwrap());
    }
    s.execute("update people set address = null");
    assert_eq!(s.run("HDEL __{people:1} city"), int(0));
}

#[test]
fn counters_inside_a_document() {
    let s = people().start();
    assert_eq!(s.run("HINCRBY __{people:1} total 5"), int(5));
    assert_eq!(s.one("select visits::text from people"), r#"{"total": 5}"#);
    assert_eq!(s.run("HINCRBYFLOAT __{people:1} total 0.5"), bulk("5.5"));
    s.execute(r#"update people set visits = '{"total": 7, "other": 1}'"#);
    assert_eq!(s.run("HINCRBY __{people:1} total -2"), int(5));
    assert_eq!(s.one("select visits::text from people"), r#"{"other": 1, "total": 5}"#);
    // A string stays one.
    assert_eq!(s.run("HSET __{people:1} city 41"), int(1));
    assert_eq!(s.run("HINCRBY __{people:1} city 1"), int(42));
    assert_eq!(address(&s, 1), json!({ "city": "42" }));
    assert_eq!(s.run("HSET __{people:1} city Rome"), int(0));
    s.assert_line_refused("HINCRBY __{people:1} city 1", "WTERR 22P02 ");
    assert_cached(&s, 1);
    let writes: Vec<String> = (0..64).map(|_| "HINCRBY __{people:1} total 1".into()).collect();
    std::thread::scope(|scope| {
        for lines in writes.chunks(8) {
            let mut conn = s.conn();
            scope.spawn(move || lines.iter().for_each(|line| assert!(conn.run(line).is_int())));
        }
    });
    assert_eq!(s.one("select visits ->> 'total' from people"), "69");
    assert_cached(&s, 1);
}

#[test]
fn hsetnx_sets_what_is_missing() {
    let s = people().start();
    assert_eq!(s.run("HSETNX __{people:1} street Corso"), int(1));
    assert_eq!(s.run("HSETNX __{people:1} street Roma"), int(0));
    assert_eq!(s.run("HSETNX __{people:1} door null"), int(1));
    assert_eq!(s.run("HSETNX __{people:1} door 1"), int(0), "null is JSON");
    assert_eq!(address(&s, 1), json!({ "home": { "street": "Corso", "door": null } }));
    assert_cached(&s, 1);
}

#[test]
fn the_database_refuses_what_is_no_document() {
    let s = people().start();
    assert_eq!(s.run("HSET __{people:1} city Rome door 1"), int(2));
    s.assert_line_refused("HSET __{people:1} door {x", "WTERR 22P02 ");
    s.assert_line_refused(r#"HSET __{people:1} door "\u0000""#, "WTERR 22P05 ");
    s.assert_refused(&[b"HSET", &b"__{people:1}"[..], b"city", b"a\0b"], "WTERR 22021 ");
    for document in ["5", "\"x\"", "true"] {
        s.execute(&format!("update people set address = '{document}'"));
        s.assert_line_refused("HSET __{people:1} city x", "WTERR 22023 ");
        s.execute(&format!("update people set address = '{{\"home\": {document}}}'"));
        s.assert_line_refused("HSET __{people:1} street x", "WTERR 22023 ");
        assert!(s.run("HSET __{people:1} city x").is_int());
    }
    s.execute("update people set address = '[1, 2]'");
    s.assert_line_refused("HSET __{people:1} city x", "WTERR 22P02 ");
    for document in ["null", "{\"home\": null}"] {
        s.execute(&format!("update people set address = '{document}'"));
        assert!(s.run("HSET __{people:1} street x").is_int());
        assert_eq!(address(&s, 1), json!({ "home": { "street": "x" } }));
    }
}

/// Many clients, each with its own values of one document; in one batch and one by one.
#[test]
fn nobody_loses_a_value() {
    let s = people().one_worker().start();
    assert!(s.run("HSET __{people:1} name x").is_int());
    let mut lines = Vec::new();
    for n in 0..20 {
        lines.push(format!("HSET __{{people:1}} city c{n}"));
        lines.push(format!("HSET __{{people:1}} street s{n} door {n}"));
        lines.push(format!("HSET __{{people:{}}} city c{n} street s", n + 2));
    }
    assert!(s.together(&lines).iter().all(Reply::is_int));
    assert_eq!(address(&s, 1), json!({ "city": "c19", "home": { "street": "s19", "door": 19 } }));
    (1..=21).for_each(|id| assert_cached(&s, id));
}

#[test]
fn reads_verify_load_and_replacement_know_them() {
    let builder = people().with("read_through", true).with("plain_writes", "through");
    let s = builder.start();
    s.execute(
        r#"insert into people values
           (1, 'a', '{"city": "Rome", "home": {"door": {"n": 1}}}'), (2, 'b', null), (3, 'c', '7')"#,
    );
    assert_eq!(s.run("HGET people:1 city"), bulk("Rome"));
    assert_eq!(s.run("HGET people:1 door"), bulk(r#"{"n": 1}"#));
    (1..=3).for_each(|id| {
        s.run(&format!("HGETALL people:{id}"));
        assert_cached(&s, id);
    });
    let verified = s.run("WT.VERIFY people").text();
    assert!(verified.contains("equal 3") && verified.contains("differing 0"), "{verified}");
    assert_eq!(s.run("FLUSHALL"), ok());
    assert!(!s.run("WT.LOAD people").is_error());
    (1..=3).for_each(|id| assert_cached(&s, id));
    if s.redis_version() >= (7, 2) {
        transaction(&mut s.conn(), &["DEL people:1", "HSET people:1 name z city Oslo"]);
        assert_eq!(address(&s, 1), json!({ "city": "Oslo" }));
        assert_eq!(s.one("select visits::text from people where id = 1"), r#"{"total": 0}"#);
        assert_cached(&s, 1);
    }
    let shown = s.run("WT.MAPPINGS").text();
    assert!(
        shown.contains("field street column address type text nullable yes path home street"),
        "{shown}"
    );
}

#[test]
fn on_a_watched_table_and_a_view() {
    let s = Stack::new()
        .sql(
            "create table base (id int primary key, doc jsonb);
             create view docs as select * from base;
             create table watched (id int primary key, doc jsonb);
             create function seen() returns trigger language plpgsql as $$ begin
                 new.doc := new.doc || '{\"seen\": true}'; return new; end $$;
             create trigger seen before insert or update on watched
                 for each row execute function seen()",
        )
        .mapping(json!({ "table": "docs", "key": "id", "fields": {
            "a": { "column": "doc", "path": ["a"] }, "n": { "column": "doc", "path": ["n"] } } }))
        .mapping(json!({ "table": "watched", "fields": {
            "a": { "column": "doc", "path": ["a"] }, "n": { "column": "doc", "path": ["n"] },
            "seen": { "column": "doc", "path": ["seen"] } } }))
        .start();
    for table in ["docs", "watched"] {
        let run = |line: &str| s.run(&line.replace("KEY", &format!("__{{{table}:1}}")));
        assert_eq!(run("HSET KEY a x"), int(1));
        assert_eq!(run("HINCRBY KEY n 3"), int(3));
        assert_eq!(run("HSETNX KEY a y"), int(0));
        assert_eq!(run("HDEL KEY a"), int(1));
        assert_eq!(run("HSETNX KEY a y"), int(1));
        assert_eq!(run("HSET KEY n 4"), int(0));
    }
    assert_eq!(s.one("select doc::text from base"), r#"{"a": "y", "n": "4"}"#);
    assert_eq!(s.hgetall("docs:1"), hash(&[("a", "y"), ("n", "4")]));
    assert_eq!(s.hgetall("watched:1"), hash(&[("a", "y"), ("n", "4"), ("seen", "true")]));
}

#[test]
fn what_is_wrong_in_the_document_is_named() {
    for (field, problem) in [
        (
            json!({ "column": "name", "path": ["a"] }),
            r#"f.path: column "name" is of type text, not jsonb"#,
        ),
        (
            json!({ "column": "adress", "path": ["a"] }),
            r#"f: table "people" has no column "adress"; did"#,
        ),
        (json!({ "column": "address", "path": [] }), "f: path: expected at least one key"),
        (json!({ "column": "address", "path": "a" }), "f.path: invalid type: string"),
        (json!({ "column": "address" }), "f: missing field `path`"),
        (
            json!({ "column": "address", "path": ["a"], "type": "xml" }),
            "f.type: unknown variant `xml`",
        ),
        (json!(7), "f: invalid type: integer `7`, expected a column, or {\"column\""),
    ] {
        let mapping = json!({ "table": "people", "fields": { "f": field } });
        let log = Stack::new().sql(SQL).mapping(mapping).try_start().err().expect("a refusal");
        assert!(log.contains(&format!("mappings[0].fields.{problem}")), "{problem}: {log}");
    }
    let twice = json!({ "table": "people", "fields": {
        "a": { "column": "address", "path": ["x"] },
        "b": { "column": "address", "path": ["x"], "type": "json" } } });
    let log = Stack::new().sql(SQL).mapping(twice).try_start().err().expect("a refusal");
    let problem =
        r#"mappings[0].fields.b: this path of column "address" is the column of field "a""#;
    assert!(log.contains(problem), "{log}");
}

/// Random documents and commands, beside psql doing one thing after the other: PostgreSQL 14's own
/// assignment to a place in a document.
#[test]
fn as_psql_does_it() {
    let s = people().start();
    s.execute("create table model (id int primary key, address jsonb)");
    let mut random =
        Lcg::new(std::env::var("SEED").map_or(15, |seed| seed.parse().expect("a seed")));
    let documents = [
        "null",
        r#"{}"#,
        r#"{"city": "a"}"#,
        r#"{"home": {"street": "b"}}"#,
        "[1]",
        "5",
        r#"{"home": 5}"#,
        r#"{"home": [1]}"#,
        r#"{"city": 1, "home": {}}"#,
        r#"{"tags": ["x"]}"#,
    ];
    let places =
        [("city", "['city']"), ("street", "['home']['street']"), ("first tag", "['tags']['0']")];
    let mut pg = s.pg();
    for round in 0..150 {
        let document = documents[random.below(documents.len())];
        // A NULL of the column, not of JSON: the two differ in how PostgreSQL assigns to them.
        let sql = if document == "null" { "null".into() } else { format!("'{document}'") };
        for table in ["people", "model"] {
            s.execute(&format!(
                "insert into {table} (id, address) values (1, {sql})
                 on conflict (id) do update set address = excluded.address"
            ));
        }
        let mut words = vec!["HSET".to_string(), "__{people:1}".into()];
        let mut sets = Vec::new();
        // Of what is missing we make objects; psql makes an array where a key looks like a number.
        let places = &places[..if document.contains("tags") { 3 } else { 2 }];
        for (field, place) in places {
            if random.below(2) == 0 || (sets.is_empty() && *field == places[places.len() - 1].0) {
                let value = format!("v{}", random.below(3));
                sets.push(format!("address{place} = to_jsonb('{value}'::text)"));
                words.extend([field.to_string(), value]);
            }
        }
        let expected = pg.batch_execute(&format!("update model set {}", sets.join(", ")));
        let reply = s.cmd(&words);
        let what = format!("round {round}: {document}, {words:?}: {reply:?}, psql: {expected:?}");
        assert_eq!(reply.is_error(), expected.is_err(), "{what}");
        let same = "select people.address is not distinct from model.address from people, model";
        assert_eq!(s.one(same), "t", "{what}");
        if !reply.is_error() {
            assert_cached(&s, 1);
        }
    }
}
