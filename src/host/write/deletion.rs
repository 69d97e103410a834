//! DEL and UNLINK with staged keys among their arguments, or plain keys that stand for their rows.

use std::collections::HashSet;
use std::ffi::CStr;

use super::admit::{self, not_ready, refuse};
use super::plain::{self, Written};
use super::replacement;
use super::server_errors::{no_permission, wrong_arity};
use super::several::{self, Then};
use super::stage::{mark, note};
use crate::command::Write;
use crate::config::OnDelete;
use crate::host::ffi::{Args, Value, Writable};
use crate::host::module::{module, Module};
use crate::model::key;

/// Deletes the rows of the staged keys, and of plain keys where that is what `on_delete` says, each in its
/// own transaction; when all have succeeded, the other keys too. The answer counts rows and keys, or is
/// the first refusal.
pub fn run(ctx: &Writable, args: Args, plain: &'static CStr) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    if args.len() < 2 {
        return Some(wrong_arity(plain));
    }
    if let Some(reply) = replace(ctx, module, args, plain) {
        return Some(reply);
    }
    let prefix = module.config.prefix.as_bytes();
    let (mut writes, mut seen, mut by_plain) = (Vec::new(), HashSet::new(), HashSet::new());
    let mut then = Then { command: plain, keys: Vec::new() };
    for name in args.from(1).filter(|name| seen.insert(*name)) {
        let row = match plain::written(ctx, module, name) {
            _ if key::has_prefix(prefix, name) => admit::staged(ctx, module, name),
            written @ Written::Plain(plain) if plain.on_delete == OnDelete::Delete => {
                by_plain.insert(name);
                admit::row(ctx, module, written, name)
            }
            _ => {
                then.keys.push(name.to_vec());
                continue;
            }
        };
        match row {
            Ok((mapping, row)) => writes.push((mapping, row.target.to_vec(), Write::delete())),
            Err(failure) => return Some(refuse(module, &failure)),
        }
    }
    let names = args.strings(1);
    // As the server does: one selector of the user's has to allow them all.
    if !ctx.may_run(plain, &names) {
        let name = names.iter().find(|name| !ctx.may_run(plain, &[name])).unwrap_or(&names[0]);
        return Some(no_permission(plain, name.as_bytes()));
    }
    let stage = |target: &[u8]| match by_plain.contains(target) {
        true => note(ctx, module, target, plain),
        false => drop(mark(ctx, &key::staged(prefix, target), plain)),
    };
    several::send(ctx, module, writes, stage, then)
}

/// The key is set again by the next command of the transaction: the row stays until then, and only the
/// cached hash goes. `None` where that is not so.
fn replace(ctx: &Writable, module: &Module, args: Args, plain: &'static CStr) -> Option<Value> {
    let name = args.get(1);
    let written = match plain::written(ctx, module, name) {
        written @ Written::Plain(_) if args.len() == 2 => written,
        _ => return None,
    };
    if !ctx.may_run(plain, &args.strings(1)) || !replacement::begins(ctx, name) {
        return None;
    }
    let deletes = matches!(written, Written::Plain(key) if key.on_delete == OnDelete::Delete);
    let found = match deletes.then(|| plain::has_row(ctx, module, written, name)) {
        Some(Err(refusal)) => {
            replacement::ends(ctx, name);
            return Some(refusal);
        }
        found => found.and_then(Result::ok),
    };
    let then = Then { command: plain, keys: vec![name.to_vec()] };
    let evicted = then.run(ctx, module);
    Some(Value::Integer(found.map_or(evicted, i64::from)))
}
