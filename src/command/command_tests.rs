use super::*;
use crate::model::mapping::tests::{resolve, unique, users};
use crate::model::table::Index;

const USERS: &str = r#"{"table":"users"}"#;
const KEEP: &str = r#"{"table":"users","unmapped":"keep"}"#;

fn parse(json: &str, fields: &[&str]) -> Result<Write, String> {
    let mapping = resolve(json, &users()).unwrap();
    hset(&mapping, b"1", fields.iter().map(|f| f.as_bytes()))
}

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

#[test]
fn fields_become_columns_in_order_and_the_last_value_wins() {
    let fields = ["dob", "2000-01-01", "username", "a", "dob", "2000-01-02"];
    let write = parse(USERS, &fields).unwrap();
    assert_eq!(write.action, Action::Upsert(vec![(1, bytes("a")), (3, bytes("2000-01-02"))]));
    assert_eq!(write.reply, Reply::NewFields(vec![Named::Column(3), Named::Column(1)]));
}

#[test]
fn a_key_column_must_say_what_the_key_says() {
    let write = parse(USERS, &["id", "1", "email", "m", "id", "1"]).unwrap();
    assert_eq!(write.action, Action::Upsert(vec![(2, bytes("m"))]));
    assert_eq!(write.reply, Reply::NewFields(vec![Named::Column(0), Named::Column(2)]));
    assert_eq!(
        parse(USERS, &["id", "2"]).unwrap_err(),
        r#"field "id" is part of the key and must be "1", not "2""#
    );
    let mapping = resolve(USERS, &users()).unwrap();
    assert_eq!(
        hdel(&mapping, [&b"id"[..]].into_iter()).unwrap_err(),
        r#"field "id" is part of the key and can't change"#
    );
}

#[test]
fn fields_that_are_not_mapped() {
    assert_eq!(
        parse(USERS, &["emial", "m"]).unwrap_err(),
        r#"mapping "users" has no field "emial"; did you mean "email"?"#
    );
    let write = parse(KEEP, &["nick", "n", "nick", "o", "email", "m"]).unwrap();
    assert_eq!(write.kept, [(bytes("nick"), bytes("o"))]);
    assert_eq!(write.reply, Reply::NewFields(vec![Named::Kept(0), Named::Column(2)]));
    let mapping = resolve(KEEP, &users()).unwrap();
    let write = hdel(&mapping, [&b"nick"[..], b"dob", b"nick"].into_iter()).unwrap();
    assert_eq!((write.action, write.dropped), (Action::Erase(vec![3]), vec![bytes("nick")]));
}

#[test]
fn an_increment_is_answered_with_the_columns_value() {
    let mapping = resolve(USERS, &users()).unwrap();
    let write = hincrby(&mapping, b"dob", b"-3", true).unwrap();
    assert_eq!((write.action, write.reply), (Action::Add(3, bytes("-3")), Reply::Integer(3)));
    assert!(hincrby(&mapping, b"id", b"1", true).unwrap_err().contains("part of the key"));
}

#[test]
fn rgsyncs_operations() {
    let op = |value| parse(USERS, &["email", "m", "#", value]);
    let write = op("=6ba7").unwrap();
    assert_eq!(
        (write.action, write.uuid),
        (Action::Upsert(vec![(2, bytes("m"))]), b"6ba7".to_vec())
    );
    let write = op("+").unwrap();
    let fields = CacheOnly::Set(vec![(bytes("email"), bytes("m"))]);
    assert_eq!((write.action, write.cache), (Action::Pass, Some(fields)));
    assert_eq!(op("-").unwrap().cache, Some(CacheOnly::Evict));
    assert_eq!(op("~").unwrap().action, Action::Delete);
    assert_eq!(uuid([&b"a"[..], b"b", b"#", b"=6ba7"].into_iter()), b"6ba7");
    assert_eq!(uuid([&b"#"[..], b"x6ba7"].into_iter()), b"");
    assert!(op("x").unwrap_err().starts_with("the operation field \"#\" holds \"x\", expected"));
}

#[test]
fn an_id_has_a_part_for_each_key_column() {
    let mut table = users();
    table.primary_key = vec![0, 1];
    table.indexes.push(Index { key: vec![0, 1], columns: Some(vec![0, 1]), ..unique(0) });
    let mapping = resolve(USERS, &table).unwrap();
    assert_eq!(check_id(&mapping, b"1:ann"), Ok(()));
    assert_eq!(
        check_id(&mapping, b"1").unwrap_err(),
        "the id \"1\" must have 2 part(s), none of them empty: users:id:username"
    );
}
