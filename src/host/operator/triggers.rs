//! WT.TRIGGERS: the triggers by which other programs' writes are followed.

use crate::host::ffi::{Args, Ctx, Value};
use crate::host::module::{module, Module};
use crate::host::write::admit::{mappings, named, not_ready, refuse};
use crate::model::failure::Failure;
use crate::model::key::Show;
use crate::pg::error::explain;
use crate::pg::follow;

/// `WT.TRIGGERS [name] [DROP]`: what is there and what is missing; or takes them away.
pub fn run(ctx: &Ctx, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    let words: Vec<Vec<u8>> = args.from(1).map(<[u8]>::to_vec).collect();
    let Some(client) = ctx.block() else { return Some(answer(module, &words)) };
    let thread = std::thread::Builder::new().name("wt-triggers".into());
    // When no thread can be started, the client is dropped and so answered with an error.
    let _ = thread.spawn(move || client.answer(answer(module, &words)));
    None
}

fn answer(module: &Module, words: &[Vec<u8>]) -> Value {
    look_or_drop(module, words).unwrap_or_else(|failure| refuse(module, &failure))
}

fn look_or_drop(module: &Module, words: &[Vec<u8>]) -> Result<Value, Failure> {
    let is_drop = |word: &[u8]| word.eq_ignore_ascii_case(b"DROP");
    let (name, drops) = match words {
        [] => (None, false),
        [word] if is_drop(word) => (None, true),
        [name] => (Some(name), false),
        [name, word] if is_drop(word) => (Some(name), true),
        [.., word] => {
            let problem = format!("expected WT.TRIGGERS [name] [DROP], not {}", Show(word));
            return Err(Failure::Input(problem));
        }
    };
    let all = mappings(module)?;
    let name = match name {
        Some(name) => Some(named(&all, name)?.name.clone()),
        None => None,
    };
    if drops && module.config.follow {
        let problem =
            "follow is true, so they would be made again; restart the server without it first";
        return Err(Failure::Input(problem.into()));
    }
    let mut session = module.manager.open().map_err(|error| Failure::Down(error.to_string()))?;
    let down = |error: postgres::Error| Failure::Down(explain(&error));
    if drops {
        let dropped = follow::drop(&mut session, &all, name.as_deref()).map_err(down)?;
        return Ok(Value::Integer(dropped as i64));
    }
    let wanted =
        all.iter().filter(|mapping| name.as_ref().is_none_or(|name| mapping.name == *name));
    let mut shown = Vec::new();
    for mapping in wanted {
        let state = follow::state(&mut session, mapping).map_err(down)?;
        let list = |texts: Vec<String>| Value::List(texts.into_iter().map(Value::text).collect());
        shown.push(Value::Map(vec![
            ("name".into(), Value::text(&*mapping.name)),
            ("present".into(), list(state.present.clone())),
            ("missing".into(), list(state.missing().collect())),
            ("sql".into(), Value::text(state.sql())),
        ]));
    }
    Ok(Value::List(shown))
}
