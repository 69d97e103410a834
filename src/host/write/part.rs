//! A command within another one: WT.BATCH, WT.TRANSACTION, WT.ONCE.

use std::collections::HashSet;
use std::ffi::CStr;
use std::sync::Arc;

use super::acknowledge::Acknowledgement;
use super::admit::{self, refuse};
use super::behind::{self, Command};
use super::command::{answer_by_staged, understand};
use super::parse::{self, Parse};
use super::plain::{self, Written};
use super::server_errors::{no_permission, wrong_arity};
use super::stage::{stage_plain, unstage};
use crate::command::entry::Op;
use crate::command::{self, rewrite, Write};
use crate::config::OnDelete;
use crate::host::ffi::{Args, Str, Value, Writable};
use crate::host::module::Module;
use crate::model::action::Action;
use crate::model::failure::Failure;
use crate::model::key::{RowKey, Show};
use crate::model::mapping::Mapping;
use crate::pg::catalog::PlainKey;

/// A write within another command, ready to be sent.
pub struct Prepared {
    /// The table.
    pub mapping: Arc<Mapping>,
    /// The final key.
    pub target: Vec<u8>,
    /// What it does.
    pub write: Write,
    /// Where what becomes of it is told, too.
    pub acknowledgement: Option<Acknowledgement>,
    /// It is DEL or UNLINK of a plain key.
    pub deletes_plain: bool,
}

/// The commands that can be part of another one.
const PARTS: [(&CStr, Parse); 8] = [
    (c"HSET", parse::hset),
    (c"HMSET", parse::hset),
    (c"HSETNX", parse::hsetnx),
    (c"HINCRBY", parse::hincrby),
    (c"HINCRBYFLOAT", parse::hincrbyfloat),
    (c"HDEL", parse::hdel),
    (c"DEL", parse::del),
    (c"UNLINK", parse::del),
];

/// A command of a transaction, a write for each of its keys. Besides writes it can say what a row has to hold.
pub fn prepare_in_transaction(
    ctx: &Writable,
    module: &Module,
    args: Args,
) -> Result<Vec<Prepared>, Value> {
    if args.get(0).eq_ignore_ascii_case(b"WT.EXPECT") {
        return expect(ctx, module, args).map(|expected| vec![expected]);
    }
    let writes = each_key(args, |args| {
        let understood = of_one_key(ctx, module, args)?;
        admit::together(&understood.mapping).map_err(|failure| refuse(module, &failure))?;
        if behind::waits(ctx, module, understood.row.target) {
            let problem = "entries of the row wait to be written behind";
            return Err(Value::error(format!("WTBUSY {problem}; try again later")));
        }
        understood.stage(ctx, module)
    });
    let writes = writes.map_err(|(staged, refusal)| {
        unstage(ctx, module, staged.iter().map(|write| &write.target[..]));
        refusal
    })?;
    let Some(change) = writes.iter().find_map(|write| write.write.kept_change.as_ref()) else {
        return Ok(writes);
    };
    let problem = format!(
        "field {} is kept in Redis only: what the transaction writes could not be taken back when the server \
         refuses it",
        Show(&change.field)
    );
    unstage(ctx, module, writes.iter().map(|write| &write.target[..]));
    Err(refuse(module, &Failure::Input(problem)))
}

/// `WT.EXPECT key field value [field value …]`
fn expect(ctx: &Writable, module: &Module, args: Args) -> Result<Prepared, Value> {
    if args.len() < 4 || !args.len().is_multiple_of(2) {
        return Err(wrong_arity(c"WT.EXPECT"));
    }
    let name = args.get(1);
    let written = plain::written(ctx, module, name);
    let admitted = admit::row(ctx, module, written, name).and_then(|(mapping, row)| {
        admit::together(&mapping)?;
        let write = command::expect(&mapping, args.from(2)).map_err(Failure::Input)?;
        let (target, acknowledgement) = (row.target.to_vec(), None);
        Ok(Prepared { mapping, target, write, acknowledgement, deletes_plain: false })
    });
    let prepared = admitted.map_err(|failure| refuse(module, &failure))?;
    // Who is told whether a field holds a value may read it.
    let words = args.strings(1);
    let fields = words[1..].iter().step_by(2);
    let read: Vec<&Str> = words[..1].iter().chain(fields).copied().collect();
    match ctx.may_run(c"HMGET", &read) {
        true => Ok(prepared),
        false => Err(no_permission(c"HMGET", name)),
    }
}

/// Adds a command to those of its transaction. HSET of a plain key that the one before it deletes replaces the
/// row: nothing is deleted.
pub fn push(all: &mut Vec<Prepared>, mut next: Prepared) {
    if let Some(last) =
        all.last_mut().filter(|last| last.deletes_plain && last.target == next.target)
    {
        if matches!(next.write.action, Action::Upsert(_)) && next.write.cache.is_none() {
            next.write.replaces(&next.mapping);
            last.write = Write::make_way(&last.write);
        }
    }
    all.push(next);
}

/// A part of WT.BATCH.
pub enum InBatch {
    /// It goes to the workers.
    Through(Box<Prepared>),
    /// It is written behind.
    Behind(Command),
}

impl InBatch {
    /// The final key.
    pub fn target(&self) -> &[u8] {
        match self {
            InBatch::Through(write) => &write.target,
            InBatch::Behind(command) => command.target(),
        }
    }
}

/// A command of WT.BATCH, a part for each of its keys; or what its client reads instead.
pub fn prepare_in_batch(
    ctx: &Writable,
    module: &Module,
    args: Args,
) -> Result<Vec<InBatch>, Value> {
    let parts = each_key(args, |args| {
        let understood = of_one_key(ctx, module, args)?;
        let Some(op) = understood.goes_behind() else {
            return understood.stage(ctx, module).map(Box::new).map(InBatch::Through);
        };
        let Understood { mapping, row, write, args, .. } = understood;
        Ok(InBatch::Behind(Command::of(&mapping, row.target, op, args, write)))
    });
    parts.map_err(|(staged, refusal)| {
        unstage(ctx, module, staged.iter().map(InBatch::target));
        refusal
    })
}

/// DEL and UNLINK of several keys is one command for each. The first error, with what was made before it.
fn each_key<T>(
    args: Args,
    mut make: impl FnMut(Args) -> Result<T, Value>,
) -> Result<Vec<T>, (Vec<T>, Value)> {
    let name = args.get(0);
    let deletes = name.eq_ignore_ascii_case(b"DEL") || name.eq_ignore_ascii_case(b"UNLINK");
    let mut made = Vec::new();
    if !deletes || args.len() <= 2 {
        return match make(args) {
            Ok(one) => Ok(vec![one]),
            Err(refusal) => Err((made, refusal)),
        };
    }
    let mut seen = HashSet::new();
    for key in args.from(1).filter(|key| seen.insert(*key)) {
        match make(Args::of(&[Str::new(name), Str::new(key)])) {
            Ok(one) => made.push(one),
            Err(refusal) => return Err((made, refusal)),
        }
    }
    Ok(made)
}

/// A command within another one, checked.
struct Understood<'a> {
    plain: &'static CStr,
    args: Args<'a>,
    written: Written,
    mapping: Arc<Mapping>,
    row: RowKey<'a>,
    write: Write,
    acknowledgement: Option<Acknowledgement>,
}

/// Checks a command of one key. An error is what its client reads.
fn of_one_key<'a>(
    ctx: &Writable,
    module: &Module,
    args: Args<'a>,
) -> Result<Understood<'a>, Value> {
    let name = args.get(0);
    let is_it = |(plain, _): &&(&CStr, Parse)| plain.to_bytes().eq_ignore_ascii_case(name);
    let refused = |problem: String| refuse(module, &Failure::Input(problem));
    let Some((plain, parse)) = PARTS.iter().find(is_it) else {
        let problem = format!("{} can't be part of a batch or a transaction", Show(name));
        return Err(refused(format!(
            "{problem}; HSET, HMSET, HSETNX, HINCRBY, HINCRBYFLOAT, HDEL, DEL and UNLINK can"
        )));
    };
    if rewrite::rule(name, args.len()).is_none() {
        return Err(wrong_arity(plain));
    }
    let written = plain::written(ctx, module, args.get(1));
    if written == Written::Elsewhere {
        admit::in_our_database(ctx, module).map_err(|failure| refuse(module, &failure))?;
    }
    let (mapping, row, mut write, acknowledgement) =
        understand(ctx, module, written, args, plain, (*parse, true))?;
    let evicts = |key: PlainKey| deletes(plain) && key.on_delete == OnDelete::Evict;
    if matches!(written, Written::Plain(key) if evicts(key)) {
        write = Write::evict();
    }
    Ok(Understood { plain, args, written, mapping, row, write, acknowledgement })
}

fn deletes(plain: &CStr) -> bool {
    plain == c"DEL" || plain == c"UNLINK"
}

impl Understood<'_> {
    /// Which entry it is, where it is written behind. What changes the cache only is none.
    fn goes_behind(&self) -> Option<Op> {
        match &self.write {
            write if !self.mapping.is_behind || write.cache.is_some() => None,
            write if write.action == Action::Delete => Some(Op::Delete),
            _ => Op::of(self.plain),
        }
    }

    /// Ready to be written through.
    fn stage(self, ctx: &Writable, module: &Module) -> Result<Prepared, Value> {
        let Understood { plain, args, written, mapping, row, mut write, acknowledgement } = self;
        if write.cache.is_none() {
            let reply = stage_plain(ctx, module, args, plain, row.target, &write)?;
            answer_by_staged(&mut write, reply);
        }
        let deletes_plain = deletes(plain) && matches!(written, Written::Plain(_));
        let target = row.target.to_vec();
        Ok(Prepared { mapping, target, write, acknowledgement, deletes_plain })
    }
}
