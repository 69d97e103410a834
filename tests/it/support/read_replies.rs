//! What the answers of the read commands say of a row.

use super::read_history::{Seen, State};
use super::resp::Reply;

/// The reads: `@` is the key, `%` that of another row.
pub const READS: [&str; 19] = [
    "HGET @ v",
    "HGET @ nothing",
    "HMGET @ w nothing v",
    "HGETALL @",
    "HGETALL @",
    "HEXISTS @ v",
    "HLEN @",
    "HKEYS @",
    "HVALS @",
    "HSTRLEN @ v",
    "HRANDFIELD @",
    "HRANDFIELD @ 99",
    "HRANDFIELD @ 99 WITHVALUES",
    "HSCAN @ 0 COUNT 99",
    "HSCAN @ 0 MATCH v COUNT 99",
    "EXISTS @ % @",
    "EXISTS @",
    "TYPE @",
    "HGET @ w",
];

/// What a read's answer says of its key (0), and of the other one (1).
#[track_caller]
pub fn seen(read: &str, reply: &Reply, text: &str) -> Vec<(usize, Seen)> {
    let (missing, null) = (Seen::Exactly(State::Missing), Seen::Exactly(State::Null));
    let wrong = || -> ! { panic!("{text} is answered with {reply:?}") };
    let present = |is_present: bool| if is_present { Seen::Present } else { missing.clone() };
    let of_fields = |fields: &[String]| match fields {
        [] => missing.clone(),
        _ if fields.iter().any(|field| field == "v") => Seen::SomeValue,
        _ => null.clone(),
    };
    let of_values = |pairs: Vec<String>| {
        let value = |name: &str| pairs.chunks(2).find(|pair| pair[0] == name).map(|pair| &pair[1]);
        match (value("v"), value("w")) {
            _ if pairs.is_empty() => missing.clone(),
            (v, w) if v != w => wrong(),
            (Some(value), _) => Seen::Exactly(State::Is(value.clone())),
            (None, _) => null.clone(),
        }
    };
    let of_value = |value: &Reply| match value {
        Reply::Nil => Seen::NoValue,
        value => Seen::Exactly(State::Is(value.text())),
    };
    let seen = match read.split(' ').collect::<Vec<_>>()[..] {
        ["HGET", _, "nothing"] => match reply {
            Reply::Nil => return Vec::new(),
            _ => wrong(),
        },
        ["HGET", ..] => of_value(reply),
        ["HMGET", ..] => {
            let items = reply.array();
            if items[0] != items[2] || items[1] != Reply::Nil {
                wrong();
            }
            of_value(&items[0])
        }
        ["HGETALL", ..] | ["HRANDFIELD", _, _, "WITHVALUES"] => of_values(flat(reply)),
        ["HEXISTS", ..] if reply.int() == 1 => Seen::SomeValue,
        ["HEXISTS", ..] => Seen::NoValue,
        ["HLEN", ..] => present(reply.int() > 0),
        ["HKEYS", ..] | ["HRANDFIELD", _, _] => of_fields(&flat(reply)),
        ["HVALS", ..] => {
            let values = flat(reply);
            let ours: Vec<_> = values.iter().filter(|value| value.starts_with('V')).collect();
            match ours[..] {
                _ if values.is_empty() => missing,
                [] => null,
                [v, w] if v == w => Seen::Exactly(State::Is(v.clone())),
                _ => wrong(),
            }
        }
        ["HSTRLEN", ..] => match reply.int() {
            0 => Seen::NoValue,
            n => Seen::Length(n as usize),
        },
        ["HRANDFIELD", ..] => present(*reply != Reply::Nil),
        ["HSCAN", _, _, "MATCH", ..] => match &flat(&reply.array()[1])[..] {
            [] => Seen::NoValue,
            [_, value] => Seen::Exactly(State::Is(value.clone())),
            _ => wrong(),
        },
        ["HSCAN", ..] => of_values(flat(&reply.array()[1])),
        ["EXISTS", _, _, _] => {
            let n = reply.int();
            return vec![(0, present(n >= 2)), (1, present(n % 2 == 1))];
        }
        ["EXISTS", ..] => present(reply.int() == 1),
        _ => match reply.text().as_str() {
            "hash" => Seen::Present,
            "none" => missing,
            _ => wrong(),
        },
    };
    vec![(0, seen)]
}

/// The texts in it, whatever is nested.
fn flat(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Array(items) => items.iter().flat_map(flat).collect(),
        Reply::Map(pairs) => {
            pairs.iter().flat_map(|(name, value)| [name.text(), value.text()]).collect()
        }
        Reply::Nil => Vec::new(),
        text => vec![text.text()],
    }
}
