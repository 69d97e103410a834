//! What is wrong before the database is asked: a clear error, and nothing changes.

use serde_json::json;

use crate::support::*;

const LINES_SQL: &str = "
create table order_lines (order_id int, line int, what text, primary key (order_id, line))";

fn users_and_lines() -> Stack {
    let s = Stack::users().sql(LINES_SQL).mapping(json!({ "table": "order_lines" })).start();
    s.add_user(1);
    s
}

#[test]
fn a_key_without_a_mapping_or_an_id_is_refused() {
    let s = users_and_lines();
    let text = s.assert_line_refused("HSET __{nobody:1} username x", "ERR writethrough: ");
    assert!(text.contains("nobody"), "{text}");
    for key in
        ["__{users}", "__{users:}", "__{:1}", "__{}", "__{user:1}", "__{USERS:1}", "__{users:1"]
    {
        s.assert_refused(&["HSET", key, "username", "x"], "ERR writethrough: ");
        s.assert_refused(&["HMSET", key, "username", "x"], "ERR writethrough: ");
    }
}

#[test]
fn a_composite_id_with_too_few_parts_is_refused() {
    let s = users_and_lines();
    for key in ["__{order_lines:7}", "__{order_lines:7:}", "__{order_lines::3}"] {
        s.assert_refused(&["HSET", key, "what", "x"], "ERR writethrough: ");
    }
}

#[test]
fn a_field_that_is_not_mapped_is_named() {
    let s = users_and_lines();
    let text = s.assert_line_refused("HSET __{users:1} username x usrname y", "ERR writethrough: ");
    assert!(text.contains("usrname"), "{text}");
    s.assert_line_refused("HSET __{users:1} first_name x", "ERR writethrough: ");
    s.assert_line_refused("HSET __{users:1} USERNAME x", "ERR writethrough: ");
    s.assert_refused(&["HSET", "__{users:1}", "", "x"], "ERR writethrough: ");
}

#[test]
fn a_wrong_number_of_arguments_gets_redis_own_words() {
    let s = users_and_lines();
    for command in ["hset", "hmset"] {
        let words = format!("ERR wrong number of arguments for '{command}' command");
        for rest in ["", "__{users:1}", "__{users:1} username", "__{users:1} username x email"] {
            let text = s.assert_line_refused(&format!("{command} {rest}"), &words);
            assert_eq!(text, words);
        }
    }
}

#[test]
fn an_id_of_the_wrong_type_is_refused() {
    let s = users_and_lines();
    for id in ["abc", "1.5", "99999999999999999999", "99999999999", "1;drop table users", "'"] {
        let key = format!("__{{users:{id}}}");
        let text =
            s.assert_refused(&["HSET", &key, "username", "x", "email", "x@x", "pwhash", "h"], "");
        let ours = text.starts_with("ERR writethrough: ");
        assert!(
            ours || text.starts_with("WTERR 22P02 ") || text.starts_with("WTERR 22003 "),
            "{text}"
        );
    }
}

/// `users:01` and `users:1` would be two cached copies of one row.
#[test]
fn an_id_in_another_spelling_is_refused() {
    let s = users_and_lines();
    for id in ["01", "+1", " 1", "1 ", "-0", "1\n"] {
        let key = format!("__{{users:{id}}}");
        s.assert_refused(&["HSET", &key, "username", "x"], "ERR writethrough: ");
        let whole = ["HSET", &key, "username", "x", "email", "x@x", "pwhash", "h"];
        s.assert_refused(&whole, "ERR writethrough: ");
    }
    s.assert_refused(&["HSET", "__{order_lines:7:03}", "what", "x"], "ERR writethrough: ");
}

#[test]
fn another_database_index_is_refused() {
    let s = users_and_lines();
    assert_eq!(s.run("SELECT 1"), ok());
    s.assert_line_refused("HSET __{users:1} username x", "ERR writethrough: ");
    assert_eq!(s.run("DBSIZE"), int(0));
    assert_eq!(s.run("HSET plain username x"), int(1), "plain keys are free everywhere");
}

#[test]
fn a_staged_key_that_holds_a_string_is_refused() {
    let s = users_and_lines();
    // SET on a staged key may itself be refused.
    let set = s.run("SET __{users:1} text");
    if set == ok() {
        let words = "WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(s.assert_line_refused("HSET __{users:1} username x", words), words);
        assert_eq!(s.run("GET __{users:1}"), bulk("text"));
        assert_eq!(s.run("DEL __{users:1}"), int(1));
        assert_eq!(s.count("users"), 1);
    } else {
        set.assert_error("ERR writethrough: ");
    }
    assert_eq!(s.run("HSET __{users:1} username x"), int(0));
}

#[test]
fn bytes_that_are_no_text_are_refused_where_text_is_stored() {
    let s = users_and_lines();
    for value in [b"\xff\xfe".as_slice(), b"a\0b", b"\0", b"\xc3", b"\xed\xa0\x80"] {
        let words = [b"HSET".as_slice(), b"__{users:1}", b"username", value];
        let text = s.assert_refused(&words, "");
        assert!(
            text.starts_with("WTERR 22021 ") || text.starts_with("ERR writethrough: "),
            "{text}"
        );
    }
}

#[test]
fn a_key_or_a_field_of_any_bytes_gets_an_answer() {
    let s = users_and_lines();
    for odd in [b"\xff\xfe".as_slice(), b"a\0b", b"\r\n+OK\r\n", b"%s%n", b"\"'\\", "ß☃".as_bytes()]
    {
        let key = [b"__{users:", odd, b"}"].concat();
        let whole =
            [b"HSET".as_slice(), &key, b"username", b"x", b"email", b"x@x", b"pwhash", b"h"];
        s.assert_refused(&whole, "");
        let name = [b"__{", odd, b":1}"].concat();
        s.assert_refused(&[b"HSET".as_slice(), &name, b"username", b"x"], "ERR writethrough: ");
        s.assert_refused(&[b"HSET".as_slice(), b"__{users:1}", odd, b"x"], "ERR writethrough: ");
        let plain = [b"plain:", odd].concat();
        assert_eq!(s.cmd(&[b"HSET".as_slice(), &plain, odd, odd]), int(1));
    }
}
