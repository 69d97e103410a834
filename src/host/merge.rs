//! The row that the database returned becomes the final key.

use super::ffi::{Ctx, Key, Kind, Mode, Str};
use super::state::{Module, Pending, Reply};
use super::value::Value;
use crate::command::Named;
use crate::config::Unmapped;
use crate::engine::Image;
use crate::mapping::Mapping;

/// Makes `target` hold the row, unless it must stay invisible. Returns each write's answer, which
/// is what its command would have said on `target`.
pub fn present(
    ctx: &Ctx,
    module: &Module,
    target: &Str,
    image: &Image,
    pendings: &[Option<Pending>],
    visible: bool,
) -> Vec<Value> {
    let Some(mapping) = pendings.iter().flatten().map(|p| &p.mapping).next() else {
        return Vec::new();
    };
    let fields = module.state().field_strings(mapping);
    let key = ctx.open(target);
    let kind = key.kind();
    let answers = answers(&key, &fields, pendings);
    drop(key);
    if visible {
        if kind == Kind::Other {
            ctx.call(c"UNLINK", Mode::Propagate, &[target]);
        }
        write(ctx, target, mapping, &fields, image, pendings, kind == Kind::Hash);
    }
    answers
}

fn answers(key: &Key, fields: &[Option<Str>], pendings: &[Option<Pending>]) -> Vec<Value> {
    // Fields that an earlier write of the same row has made.
    let mut made: Vec<&[u8]> = Vec::new();
    let mut answers = Vec::with_capacity(pendings.len());
    for pending in pendings {
        let Some(pending) = pending else {
            answers.push(Value::OK);
            continue;
        };
        let named = match &pending.reply {
            Reply::NewFields(named) => named,
            Reply::Fixed(value) => {
                answers.push(value.clone());
                continue;
            }
        };
        let mut new = 0;
        for name in named {
            let (field, exists) = match *name {
                Named::Column(c) => (
                    pending.mapping.columns[c].field.as_deref().unwrap_or_default(),
                    fields[c].as_ref().is_some_and(|field| key.has(field)),
                ),
                Named::Kept(k) => {
                    let field = &pending.kept[k].0;
                    (&field[..], key.has(&Str::new(field)))
                }
            };
            if !exists && !made.contains(&field) {
                new += 1;
                made.push(field);
            }
        }
        answers.push(Value::Integer(new));
    }
    answers
}

fn write(
    ctx: &Ctx,
    target: &Str,
    mapping: &Mapping,
    fields: &[Option<Str>],
    image: &Image,
    pendings: &[Option<Pending>],
    existed: bool,
) {
    let (mut names, mut values, mut nulls) = (Vec::new(), Vec::new(), vec![target]);
    for (column, field) in fields.iter().enumerate() {
        let Some(field) = field else { continue };
        match image.get(column) {
            Some(value) => {
                names.push(field);
                values.push(Str::new(value));
            }
            None => nulls.push(field),
        }
    }
    let kept: Vec<(Str, Str)> = pendings
        .iter()
        .flatten()
        .flat_map(|pending| &pending.kept)
        .map(|(field, value)| (Str::new(field), Str::new(value)))
        .collect();
    let mut args = Vec::with_capacity(1 + 2 * (names.len() + kept.len()));
    args.push(target);
    args.extend(names.iter().zip(&values).flat_map(|(name, value)| [*name, value]));
    args.extend(kept.iter().flat_map(|(name, value)| [name, value]));
    if args.len() > 1 {
        ctx.call(c"HSET", Mode::Propagate, &args);
    }
    // Columns that are NULL now leave the hash. Its length says whether there can be any.
    let may_hold_nulls = existed
        && nulls.len() > 1
        && (mapping.unmapped == Unmapped::Keep || ctx.open(target).len() > names.len());
    if may_hold_nulls {
        ctx.call(c"HDEL", Mode::Propagate, &nulls);
    }
    if let Some(ttl) = mapping.ttl {
        ctx.call(c"EXPIRE", Mode::Propagate, &[target, &Str::new(ttl.to_string().as_bytes())]);
    }
}
