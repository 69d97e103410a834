//! WT.ONCE: the token, the command that it stands for, and the stored reply.

use super::admit::{not_ready, refuse};
use super::transaction::{commands, send, OnceArgs, Transacted};
use crate::command::{nested, Named, Reply, Write};
use crate::config::limits::Limit;
use crate::engine::{Once, Said};
use crate::host::ffi::{Args, Value, Writable};
use crate::host::module::{module, Module};
use crate::model::action::Action;
use crate::model::failure::Failure;

/// A token's bytes, at most: it is a key of an index.
const TOKEN_MAX: usize = 256;

/// Where the one command is: `WT.ONCE token argc command …`.
fn only(args: Args) -> Result<std::ops::Range<usize>, String> {
    let given = std::str::from_utf8(args.get(2)).ok().and_then(|text| text.parse::<usize>().ok());
    match given {
        Some(count) if count == args.len() - 3 => Ok(3..args.len()),
        _ => Err(format!(
            "expected WT.ONCE <token> <number of arguments> <command>, and {} arguments follow the number",
            args.len() - 3
        )),
    }
}

fn is_transaction(args: Args, only: &std::ops::Range<usize>) -> bool {
    args.get(only.start).eq_ignore_ascii_case(b"WT.TRANSACTION")
}

/// Where the keys are of what is done once.
pub fn keys(args: Args) -> Vec<usize> {
    match only(args) {
        Ok(only) if is_transaction(args, &only) => {
            let commands = nested::ranges(args.len(), only.start + 1, |at| args.get(at));
            nested::keys(&commands.unwrap_or_default())
        }
        Ok(only) => nested::keys(&[only]),
        Err(_) => Vec::new(),
    }
}

/// Runs the command. `None`: the client is blocked.
pub fn run(ctx: &Writable, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    let found = only(args).map_err(Failure::Input).and_then(|only| {
        let token = args.get(1);
        if token.is_empty() || token.len() > TOKEN_MAX {
            let problem = format!("a token has 1 to {TOKEN_MAX} bytes, not {}", token.len());
            return Err(Failure::Input(problem));
        }
        let is_list = is_transaction(args, &only);
        let commands = match is_list {
            true => commands(module, args, only.start + 1)?,
            false => vec![only],
        };
        Ok((commands, OnceArgs { token, is_list }))
    });
    match found {
        Ok((commands, once)) => send(ctx, module, args, &commands, Some(once)),
        Err(failure) => Some(refuse(module, &failure)),
    }
}

/// What the database has to know to do it once.
pub fn of(
    module: &Module,
    args: Args,
    prepared: &Transacted,
    once: &OnceArgs,
) -> Result<Once, Failure> {
    let mut command = Vec::new();
    for arg in args.from(3) {
        command.extend((arg.len() as u64).to_be_bytes());
        command.extend(arg);
    }
    let said = prepared.writes.iter().map(|prepared| said(&prepared.write));
    let Some(replies) = said.collect::<Option<Vec<Said>>>() else {
        let problem = "what changes the cache only can't be done once";
        return Err(Failure::Input(problem.into()));
    };
    Ok(Once {
        token: once.token.to_vec(),
        command,
        is_list: once.is_list,
        replies,
        spans: prepared.spans.clone(),
        ttl: module.shared.limits.get(Limit::OnceTtl),
    })
}

/// How a write is answered by the database. Fields that are kept in Redis only are counted as new, and as not
/// there when they leave. `None`: it has no part in the write.
fn said(write: &Write) -> Option<Said> {
    let columns = |named: &[Named]| {
        let column = |name: &Named| match name {
            Named::Column(column) => Some(*column),
            Named::Kept(_) | Named::Dropped(_) => None,
        };
        named.iter().filter_map(column).collect()
    };
    Some(match &write.reply {
        // A deletion whose row the next write replaces.
        _ if write.cache.is_some() && write.action == Action::Read => Said::Row,
        _ if write.cache.is_some() => return None,
        Reply::NewFields(named) => Said::Empty(columns(named)),
        Reply::OldFields(named) => Said::Full(columns(named)),
        Reply::Integer(column) => Said::Number(*column),
        Reply::Text(column) => Said::Text(*column),
        Reply::Filled => Said::Filled,
        Reply::Existed | Reply::Found => Said::Row,
        Reply::Number(number) => Said::Fixed(*number),
        Reply::Done => Said::Done,
        Reply::Bytes(_) | Reply::Changed => return None,
    })
}

/// A stored reply.
pub fn decode(mut stored: &[u8]) -> Value {
    value(&mut stored)
        .unwrap_or_else(|| Value::error("ERR writethrough: the stored reply is unreadable"))
}

fn value(rest: &mut &[u8]) -> Option<Value> {
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let (kind, text) = rest[..end].split_first()?;
    *rest = &rest[end + 2..];
    let number = || std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    match kind {
        b'+' => Some(Value::OK),
        b':' => Some(Value::Integer(number()?)),
        b'$' => {
            let len = usize::try_from(number()?).ok()?;
            let text = rest.get(..len)?.to_vec();
            *rest = rest.get(len + 2..)?;
            Some(Value::Bytes(text))
        }
        b'*' => (0..number()?).map(|_| value(rest)).collect::<Option<Vec<_>>>().map(Value::List),
        _ => None,
    }
}
