//! The commands on the streams, and their replies.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use super::queue::Segment;
use crate::host::ffi::{Ctx, Reply, Str, Value, Writable};
use crate::model::entry_id::EntryId;

/// What the names of the consumer groups begin with that are identities.
const IDENTITY: &str = "wt:";

/// An entry as it is read.
pub struct Raw {
    pub id: EntryId,
    pub fields: Vec<Vec<u8>>,
}

impl Raw {
    /// Its fields and values.
    pub fn fields(&self) -> Vec<&[u8]> {
        self.fields.iter().map(Vec::as_slice).collect()
    }
}

fn word(text: impl ToString) -> Str {
    Str::new(text.to_string().as_bytes())
}

/// Entries from an id on, at most so many. `None`: the server doesn't tell, since the stream is another node's, or
/// the cluster is down.
pub fn range(
    ctx: &Ctx,
    stream: &Str,
    from: EntryId,
    until: Option<EntryId>,
    most: usize,
) -> Option<Vec<Raw>> {
    let until = until.map_or_else(|| Str::new(b"+"), word);
    let args = [&word(from), &until, &Str::new(b"COUNT"), &word(most)];
    let args: Vec<&Str> = std::iter::once(stream).chain(args).collect();
    let reply = ctx.read(c"XRANGE", &args);
    let entry = |at| {
        let entry = reply.element(at);
        let id = EntryId::parse(entry.element(0).text())?;
        let fields = entry.element(1).texts().into_iter().map(<[u8]>::to_vec).collect();
        Some(Raw { id, fields })
    };
    reply.error().is_none().then(|| (0..reply.len()).filter_map(entry).collect())
}

/// How many entries a stream has; 0 when there is none.
pub fn len(ctx: &Ctx, stream: &Str) -> u64 {
    ctx.read(c"XLEN", &[stream]).integer().max(0) as u64
}

/// What a reply of names and values says of a name.
fn named(reply: &Reply, name: &[u8]) -> Vec<u8> {
    let at = (0..reply.len()).step_by(2).find(|&at| reply.element(at).text() == name);
    at.map(|at| reply.element(at + 1).text().to_vec()).unwrap_or_default()
}

/// The greatest id that a stream has had, and who made which entries.
pub fn look(ctx: &Ctx, stream: &Str) -> Option<(EntryId, Vec<Segment>)> {
    let about = ctx.read(c"XINFO", &[&Str::new(b"STREAM"), stream]);
    let last = EntryId::parse(&named(&about, b"last-generated-id"))?;
    let groups = ctx.read(c"XINFO", &[&Str::new(b"GROUPS"), stream]);
    let segment = |at| {
        let group = groups.element(at);
        let identity = String::from_utf8(named(&group, b"name")).ok()?;
        let after = EntryId::parse(&named(&group, b"last-delivered-id"))?;
        identity.starts_with(IDENTITY).then(|| Segment { identity: identity.into(), after })
    };
    let mut segments: Vec<Segment> = (0..groups.len()).filter_map(segment).collect();
    segments.sort_by_key(|segment| segment.after);
    Some((last, segments))
}

/// Makes an identity: the entries after this one are its own.
pub fn identify(ctx: &Writable, stream: &Str, after: EntryId) -> Result<Segment, Value> {
    let (one, other) =
        (RandomState::new().hash_one(after.ms), RandomState::new().hash_one(stream.as_bytes()));
    let identity: Arc<str> = format!("{IDENTITY}{one:016x}{other:016x}").into();
    let args =
        [&Str::new(b"CREATE"), stream, &word(&identity), &word(after), &Str::new(b"MKSTREAM")];
    match ctx.call(c"XGROUP", &args).refusal() {
        Some(refusal) => Err(refusal),
        None => Ok(Segment { identity, after }),
    }
}

/// The next entry's id is greater than this one.
pub fn skip(ctx: &Writable, stream: &Str, id: EntryId) -> Result<(), Value> {
    let reply = ctx.call(c"XSETID", &[stream, &word(id)]);
    reply.refusal().map_or(Ok(()), Err)
}

/// An identity whose entries are all settled is not needed any more.
pub fn forget_identity(ctx: &Writable, stream: &Str, identity: &str) {
    ctx.call(c"XGROUP", &[&Str::new(b"DESTROY"), stream, &word(identity)]);
}

/// What each XADD has before its fields, made once.
static ADDING: LazyLock<[Str; 2]> = LazyLock::new(|| [Str::new(b"NOMKSTREAM"), Str::new(b"*")]);

/// Adds an entry to a stream that is there. `Ok(None)`: it isn't.
pub fn add(ctx: &Writable, stream: &Str, words: &[&Str]) -> Result<Option<EntryId>, Value> {
    let [nomkstream, any] = &*ADDING;
    let mut args = Vec::with_capacity(words.len() + 3);
    args.extend([stream, nomkstream, any]);
    args.extend(words);
    let reply = ctx.call(c"XADD", &args);
    match reply.refusal() {
        Some(refusal) => Err(refusal),
        None => Ok(EntryId::parse(reply.text())),
    }
}

/// Takes an entry out.
pub fn delete(ctx: &Writable, stream: &Str, id: EntryId) {
    ctx.call(c"XDEL", &[stream, &word(id)]);
}

/// Takes out all entries up to this one.
pub fn trim(ctx: &Writable, stream: &Str, up_to: EntryId) {
    ctx.call(c"XTRIM", &[stream, &Str::new(b"MINID"), &word(up_to.next())]);
}
