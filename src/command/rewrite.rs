//! What the filter does with a command: which of the server's commands on a staged key become the
//! module's own, and which are refused.

use std::ffi::CStr;
use std::ops::Range;

/// What happens to a command whose key is staged, or a plain one whose writes are not just the cache's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewrite {
    /// It becomes this command of the module's. Key positions stay as they are.
    To(&'static CStr),
    /// It can't be written through, and its client must be told.
    Refuse,
}

/// Where the keys are that decide, counted from the command's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// One key.
    At(usize),
    /// One key that a hash is written to: also where the braces of a staged key are missing.
    Written(usize),
    /// Every argument.
    All,
    /// Every other argument, from this one on.
    Pairs(usize),
    /// The argument after `STORE` or `STOREDIST`.
    Store,
    /// MIGRATE's, staged or not: a write may be on its way to a plain key, too.
    Migrate,
}

/// The longest name in [`rule`].
const LONGEST: usize = 17;

/// What happens to `name` with `argc` arguments (itself included) when one of these keys is staged.
/// `None` for commands that make or change no staged hash, and where the number of arguments is
/// wrong: Redis says so itself.
pub fn rule(name: &[u8], argc: usize) -> Option<(Rewrite, Keys)> {
    use Keys::{All, At, Migrate, Pairs, Store, Written};
    use Rewrite::{Refuse, To};
    let mut lower = [0; LONGEST];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let pairs = argc >= 4 && argc.is_multiple_of(2);
    let (rewrite, keys, fits) = match &*lower {
        b"hset" => (To(c"wt.hset"), Written(1), pairs),
        b"hmset" => (To(c"wt.hmset"), Written(1), pairs),
        b"hsetnx" => (To(c"wt.hsetnx"), Written(1), argc == 4),
        b"hincrby" => (To(c"wt.hincrby"), Written(1), argc == 4),
        b"hincrbyfloat" => (To(c"wt.hincrbyfloat"), Written(1), argc == 4),
        b"hdel" => (To(c"wt.hdel"), Written(1), argc >= 3),
        b"del" => (To(c"wt.del"), All, argc >= 2),
        b"unlink" => (To(c"wt.unlink"), All, argc >= 2),
        b"copy" => (To(c"wt.copy"), Written(2), argc >= 3),
        b"rename" => (To(c"wt.rename"), Written(2), argc == 3),
        b"renamenx" => (To(c"wt.renamenx"), Written(2), argc == 3),
        b"restore" => (To(c"wt.restore"), At(1), argc >= 4),
        b"migrate" => (To(c"wt.migrate"), Migrate, argc >= 6),
        // Other ways to change a hash, or to put something else where a hash is staged.
        b"incr" | b"decr" | b"pfadd" | b"pfmerge" | b"hpersist" => (Refuse, At(1), argc >= 2),
        b"getdel" => (Refuse, At(1), argc == 2),
        b"hsetex" | b"hgetdel" | b"hgetex" | b"hexpire" | b"hpexpire" | b"hexpireat"
        | b"hpexpireat" | b"set" | b"setex" | b"psetex" | b"setnx" | b"getset" | b"append"
        | b"setrange" | b"setbit" | b"bitfield" | b"incrby" | b"decrby" | b"incrbyfloat"
        | b"lpush" | b"rpush" | b"sadd" | b"zadd" | b"zincrby" | b"xadd" | b"geoadd"
        | b"sinterstore" | b"sunionstore" | b"sdiffstore" | b"zunionstore" | b"zinterstore"
        | b"zdiffstore" | b"zrangestore" | b"geosearchstore" => (Refuse, At(1), argc >= 3),
        b"bitop" | b"rpoplpush" | b"brpoplpush" | b"lmove" | b"blmove" | b"smove" | b"xgroup" => {
            (Refuse, At(2), argc >= 3)
        }
        b"mset" | b"msetnx" => (Refuse, Pairs(1), argc >= 3),
        // After the number of keys.
        b"msetex" => (Refuse, Pairs(2), argc >= 4),
        b"sort" | b"georadius" | b"georadiusbymember" => (Refuse, Store, argc >= 4),
        _ => return None,
    };
    fits.then_some((rewrite, keys))
}

impl Keys {
    /// Where they are among `argc` arguments.
    pub fn positions<'a>(
        self,
        argc: usize,
        arg: impl Fn(usize) -> &'a [u8],
    ) -> impl Iterator<Item = usize> {
        let (range, step) = match self {
            Keys::At(at) | Keys::Written(at) => (at..argc.min(at + 1), 1),
            Keys::All => (1..argc, 1),
            Keys::Pairs(first) => (first..argc, 2),
            Keys::Store => (3..argc, 1),
            Keys::Migrate => (migrated(argc, &arg), 1),
        };
        range.step_by(step).filter(move |&at| {
            let is_store = || {
                let word = arg(at - 1);
                word.eq_ignore_ascii_case(b"STORE") || word.eq_ignore_ascii_case(b"STOREDIST")
            };
            self != Keys::Store || is_store()
        })
    }
}

/// Where the keys of `MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password]
/// [AUTH2 user password] [KEYS key …]` are, as the server reads it.
pub fn migrated<'a>(argc: usize, arg: impl Fn(usize) -> &'a [u8]) -> Range<usize> {
    let is_list = arg(3).is_empty();
    let mut at = 6;
    while at < argc {
        let is = |word: &[u8]| arg(at).eq_ignore_ascii_case(word);
        at += match () {
            () if is(b"KEYS") && is_list => return at + 1..argc,
            // A mistake that the server tells of.
            () if is(b"KEYS") => return 0..0,
            () if is(b"AUTH") => 2,
            () if is(b"AUTH2") => 3,
            () => 1,
        };
    }
    if is_list {
        0..0
    } else {
        3..4
    }
}

/// `MODULE UNLOAD writethrough`.
pub fn is_unload(name: &[u8], sub: &[u8], module: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"MODULE")
        && sub.eq_ignore_ascii_case(b"UNLOAD")
        && module == b"writethrough"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(command: &str) -> Option<Rewrite> {
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let (rewrite, keys) = rule(args[0], args.len())?;
        let is_ours = |at: usize| {
            args[at].starts_with(b"__{")
                || matches!(keys, Keys::Written(_)) && args[at].starts_with(b"__u:")
                || keys == Keys::Migrate && args[at].starts_with(b"u:")
        };
        let mut positions = keys.positions(args.len(), |at| args[at]);
        positions.any(is_ours).then_some(rewrite)
    }

    #[test]
    fn writes_to_a_staged_key_become_the_modules() {
        assert_eq!(decide("hSeT __{u:1} a b"), Some(Rewrite::To(c"wt.hset")));
        assert_eq!(decide("RENAME x __{u:1}"), Some(Rewrite::To(c"wt.rename")));
        assert_eq!(decide("DEL a b __{u:1}"), Some(Rewrite::To(c"wt.del")));
        assert_eq!(decide("HINCRBYFLOAT __{u:1} a 1"), Some(Rewrite::To(c"wt.hincrbyfloat")));
    }

    #[test]
    fn a_key_of_a_mapping_is_migrated_by_us() {
        for command in [
            "MIGRATE host 6379 u:1 0 1000",
            "migrate host 6379 __{u:1} 0 1000 COPY REPLACE AUTH pw",
            "MIGRATE host 6379  0 1000 KEYS a u:1",
            "MIGRATE host 6379  0 1000 AUTH2 KEYS keys keys __{u:1}",
        ] {
            assert_eq!(decide(command), Some(Rewrite::To(c"wt.migrate")), "{command}");
        }
        for command in [
            "MIGRATE host 6379 x 0 1000 AUTH u:1",
            "MIGRATE host 6379  0 1000 AUTH2 u:1 u:1 KEYS a b",
            "MIGRATE u:1 u:1 x u:1 u:1",
            "MIGRATE host 6379 x 0 1000 KEYS u:1",
            "MIGRATE host 6379  0 1000 AUTH",
            "MIGRATE host 6379  0 1000",
        ] {
            assert_eq!(decide(command), None, "{command}");
        }
    }

    #[test]
    fn what_cannot_be_written_through_is_refused() {
        for command in [
            "SET __{u:1} x",
            "MSET a b __{u:1} x",
            "MSETEX 2 a b __{u:1} x EX 10",
            "SORT l STORE __{u:1}",
            "GEORADIUS g 1 2 3 m STOREDIST __{u:1}",
            "BITOP AND __{u:1} a b",
            "HSETEX __{u:1} FIELDS 1 a b",
            "GETDEL __{u:1}",
        ] {
            assert_eq!(decide(command), Some(Rewrite::Refuse), "{command}");
        }
    }

    #[test]
    fn without_braces_what_writes_a_hash_becomes_the_modules() {
        assert_eq!(decide("HSET __u:1 a b"), Some(Rewrite::To(c"wt.hset")));
        assert_eq!(decide("HDEL __u:1 a"), Some(Rewrite::To(c"wt.hdel")));
        assert_eq!(decide("COPY x __u:1"), Some(Rewrite::To(c"wt.copy")));
        for command in [
            "HSET __u:1 a",
            "HGET __u:1 a",
            "DEL __u:1",
            "UNLINK __u:1",
            "RENAME __u:1 x",
            "COPY __u:1 x",
            "RESTORE __u:1 0 x",
        ] {
            assert_eq!(decide(command), None, "{command}");
        }
    }

    #[test]
    fn everything_else_is_left_alone() {
        for command in [
            "HSET u:1 a b",
            "HSET __{u:1} a",
            "HGET __{u:1} a",
            "RENAME __{u:1} x",
            "SORT __{u:1}",
            "MSET a __{u:1}",
            "EXPIRE __{u:1} 10",
            "averyveryverylongcommand __{u:1}",
        ] {
            assert_eq!(decide(command), None, "{command}");
        }
    }
}
