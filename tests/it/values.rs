//! One value has one text, whatever the role, the database and the URL say of their sessions.

use serde_json::{json, Value};

use crate::support::*;

/// Each type whose text depends on a setting of the session.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("d", "date", "2024-02-01"),
    ("ts", "timestamp", "2024-02-01 12:00:00.5"),
    ("tz", "timestamptz", "2024-07-01 12:00:00Z"),
    ("i", "interval", "1 year 2 months 3 days 04:05:06"),
    ("b", "bytea[]", r#"{"\\x00ff","\\x5c41"}"#),
    ("f4", "real", "0.1"),
    ("f8", "double precision", "0.1"),
    ("m", "money", "1234.5"),
    ("r", "tstzrange", "[2024-07-01 12:00:00Z,)"),
    ("dr", "daterange", "[2024-02-01,2024-02-03)"),
    ("a", "interval[]", "{90 min}"),
    ("c", "wt_pair", r#"(2024-02-01,"\\xff")"#),
];

/// What turns each of these texts into another one.
const ODD: &[(&str, &str)] = &[
    ("DateStyle", "SQL, DMY"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "Asia/Tokyo"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-6"),
    ("lc_monetary", "C.utf8"),
];

fn table() -> String {
    let columns = COLUMNS.iter().map(|(name, ty, _)| format!(", {name} {ty}"));
    let columns: String = columns.collect();
    format!(
        "create type wt_pair as (d date, b bytea); create table vals (id int primary key{columns})"
    )
}

/// Sets the setting for all sessions of this role, or of the database, or of both.
fn alter(s: &Stack, whose: &str, name: &str, value: &str) {
    s.execute(&format!(
        "do $$ begin execute format('alter {whose} set {name} = %L', current_database(), '{value}');
         end $$"
    ));
}

/// The row as psql prints it in a session with these settings.
fn printed(s: &Stack, settings: &[(&str, &str)]) -> Hash {
    let mut client = s.pg();
    for (name, value) in settings {
        client.batch_execute(&format!("set {name} = '{value}'")).expect(name);
    }
    let columns = COLUMNS.iter().map(|(name, ..)| format!(", {name}::text"));
    let sql = format!("select id::text{} from vals", columns.collect::<String>());
    let row = client.query_one(&sql, &[]).expect("a row");
    let names = std::iter::once("id").chain(COLUMNS.iter().map(|(name, ..)| *name));
    names.enumerate().map(|(at, name)| (name.to_string(), row.get(at))).collect()
}

/// The documented ones, in a zone.
fn documented(zone: &'static str) -> [(&'static str, &'static str); 6] {
    [
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", zone),
        ("bytea_output", "hex"),
        ("extra_float_digits", "1"),
        ("lc_monetary", "C"),
    ]
}

/// All values, on a connection that didn't exist before.
fn write(s: &Stack) -> Hash {
    s.database.terminate_sessions();
    let mut words = vec!["HSET", "__{vals:1}"];
    words.extend(COLUMNS.iter().flat_map(|(name, _, value)| [*name, *value]));
    eventually("it is written", || s.cmd(&words).is_int());
    s.hgetall("vals:1")
}

/// A role of its own, whose settings no other test sees.
fn stack(role: &str, options: &str) -> Stack {
    let url = format!("postgres://{role}@@DB@{options}");
    Stack::new()
        .sql(&format!("create role {role} superuser login"))
        .sql(&table())
        .mapping(json!({ "table": "vals" }))
        .option("url", url)
        .patient()
        .without_module()
        .start()
}

#[test]
fn a_role_changes_no_text() {
    for role in ["wt_values_role", "wt_values_both"] {
        let s = stack(role, "");
        for (name, value) in ODD {
            match role {
                "wt_values_role" => s.execute(&format!("alter role {role} set {name} = '{value}'")),
                _ => alter(&s, &format!("role {role} in database %I"), name, value),
            }
        }
        assert_eq!(s.load(), ok());
        let row = write(&s);
        assert_eq!(row, printed(&s, &documented("UTC")));
        assert_ne!(row, printed(&s, ODD), "the settings say something else");
        // In a transaction the server waits, and other connections are used.
        s.execute("update vals set i = '2 hours'");
        assert_eq!(s.run("WT.REFRESH vals:1"), int(1));
        assert_eq!(s.hgetall("vals:1"), printed(&s, &documented("UTC")));
    }
}

#[test]
fn a_urls_options_change_no_text() {
    let options = ODD.iter().map(|(name, value)| {
        let value = value.replace(' ', "%5C%20");
        format!("-c%20{name}%3D{value}%20")
    });
    let s = stack("wt_values_url", &format!("?options={}", options.collect::<String>()));
    assert_eq!(s.load(), ok());
    let row = write(&s);
    assert_eq!(row, printed(&s, &documented("UTC")));
}

/// The zone, the order of dates and the currency are the database's own, whoever hides them.
#[test]
fn a_databases_zone_and_order_are_kept() {
    for role in ["wt_values_db", "wt_values_hidden"] {
        let s = stack(role, "");
        for (name, value) in ODD {
            let value = if *name == "TimeZone" { "Europe/Berlin" } else { value };
            alter(&s, "database %I", name, value);
        }
        if role == "wt_values_hidden" {
            s.execute(&format!(
                "alter role {role} set TimeZone = 'Asia/Tokyo';
                 alter role {role} set DateStyle = 'German, YMD'"
            ));
        }
        assert_eq!(s.load(), ok());
        let row = write(&s);
        assert_eq!(row, printed(&s, &documented("Europe/Berlin")));
        assert_eq!(row["tz"], "2024-07-01 14:00:00+02");
        // A client's date is read in the database's order, and written in ISO's.
        assert_eq!(s.run("HSET __{vals:1} d 02.01.2024"), int(0));
        assert_eq!(s.run("HGET vals:1 d"), bulk("2024-01-02"));
    }
}

/// A session that is made later prints what those before it did.
#[test]
fn what_is_found_at_the_start_is_kept() {
    let s = stack("wt_values_kept", "");
    assert_eq!(s.load(), ok());
    let before = write(&s);
    alter(&s, "database %I", "TimeZone", "Asia/Tokyo");
    alter(&s, "database %I", "DateStyle", "SQL, DMY");
    assert_eq!(write(&s), before);
    assert_eq!(s.run("CONFIG SET writethrough.pool-size 2"), ok());
    assert_eq!(write(&s), before);
}

#[test]
fn the_document_may_say_otherwise() {
    let s = stack("wt_values_document", "");
    s.execute("alter role wt_values_document set TimeZone = 'Asia/Tokyo'");
    let mut document = s.document.clone();
    document["session"] = json!({
        "DateStyle": "ISO, DMY", "IntervalStyle": "iso_8601", "TimeZone": "Europe/Berlin",
        "bytea_output": "escape", "extra_float_digits": 0, "lc_monetary": "POSIX"
    });
    assert_eq!(s.load_with(&["JSON", &document.to_string()]), ok());
    let row = write(&s);
    let settings = [
        ("DateStyle", "ISO, DMY"),
        ("IntervalStyle", "iso_8601"),
        ("TimeZone", "Europe/Berlin"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "0"),
    ];
    assert_eq!(row, printed(&s, &settings));
    assert_eq!((&*row["i"], &*row["tz"]), ("P1Y2M3DT4H5M6S", "2024-07-01 14:00:00+02"));
}

of_the_staged_key! {
/// One row has one key, whatever the settings say.
#[test]
fn a_key_is_written_in_the_same_way() {
    for (ty, id, other) in [
        ("date", "2024-02-01", "02/01/2024"),
        ("timestamptz", "2024-07-01 12:00:00+00", "07/01/2024 21:00:00 JST"),
        ("interval", "1 year 02:00:00", "P1YT2H"),
        ("double precision", "0.1", "0.10000000000000001"),
    ] {
        let role = format!("wt_values_{}", &ty[..4]);
        let s = Stack::new()
            .sql(&format!("create role {role} superuser login"))
            .sql(&format!("create table k (id {ty} primary key, v text)"))
            .mapping(json!({ "table": "k" }))
            .option("url", format!("postgres://{role}@@DB@"))
            .without_module()
            .start();
        for (name, value) in ODD {
            s.execute(&format!("alter role {role} set {name} = '{value}'"));
        }
        assert_eq!(s.load(), ok());
        let key = format!("__{{k:{id}}}");
        assert_eq!(s.cmd(&["HSET", &key, "v", "x"]), int(1), "{ty}");
        assert_eq!(s.hgetall(&format!("k:{id}")), hash(&[("id", id), ("v", "x")]));
        let refused = s.cmd(&["HSET", &format!("__{{k:{other}}}"), "v", "y"]);
        assert!(refused.error().contains(&format!("as \"{id}\"")), "{ty}: {refused:?}");
        assert_eq!(s.one("select v from k"), "x");
    }
}
}

#[test]
fn what_is_wrong_in_the_document_is_named() {
    let s = stack("wt_values_wrong", "");
    let refuses = |session: Value, words: &[&str]| {
        let seen = s.log().len();
        let document = s.document_with(|d| d["session"] = session);
        assert!(s.load_with(&["JSON", &document.to_string()]).is_error());
        let log = &s.log()[seen..];
        for word in words {
            assert!(log.contains(word), "`{word}` is missing in {log}");
        }
    };
    let unknown = "session.timezone: unknown setting \"timezone\"; did you mean \"TimeZone\"?";
    refuses(json!({ "timezone": "UTC" }), &[unknown]);
    refuses(json!({ "search_path": "x" }), &["session.search_path: ", "expected one of DateStyle"]);
    refuses(json!({ "IntervalStyle": "sql_standard" }), &["session.IntervalStyle: ", "iso_8601"]);
    refuses(json!({ "DateStyle": "German" }), &["session.DateStyle: ", "\"ISO, DMY\""]);
    refuses(json!({ "TimeZone": true }), &["session.TimeZone: ", "a text or a whole number"]);
    refuses(json!("UTC"), &["session: ", "an object"]);
    let zone = "session.TimeZone: 22023 invalid value for parameter \"TimeZone\": \"Europe/Berln\"";
    refuses(json!({ "TimeZone": "Europe/Berln" }), &[zone]);
    refuses(json!({ "extra_float_digits": 99 }), &["session.extra_float_digits: 22023 "]);
    refuses(json!({ "bytea_output": "x'\\y" }), &["session.bytea_output: 22023 ", "x'\\y"]);
    refuses(json!({ "lc_monetary": "xx_YY" }), &["session.lc_monetary: 22023 "]);
    assert_eq!(s.load(), ok());
    s.edit_document(|d| d["session"] = json!({ "TimeZone": "UTC" }));
    let text = s.run("WT.RELOAD").error().to_string();
    assert!(text.contains("session: ") && text.contains("needs a restart"), "{text}");
}

/// The database is away at load: what is wrong is found when it is there.
#[test]
fn a_wrong_zone_is_found_when_the_database_is_there() {
    let server = std::sync::Arc::new(PostgresServer::start_new());
    let builder = Stack::users().postgres(&server).option("session", json!({ "TimeZone": "Moon" }));
    let database = Database::create(server.clone());
    database.execute(USERS_SQL);
    server.stop_fast();
    let s = builder.try_start_on(database).expect("it loads");
    server.start_again();
    s.wait_for_log("session.TimeZone: 22023 ");
    eventually("writes are told so", || {
        let reply = s.run("HSET __{users:1} username a email a pwhash h");
        reply.is_error() && reply.error().starts_with("WTDOWN session.TimeZone: ")
    });
}
