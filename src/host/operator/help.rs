//! WT.HELP: what there is to type.

use std::ffi::CStr;

use crate::host::ffi::Value;

/// As Redis' own HELP sub-commands answer: a command, and below it what it does.
const LINES: &[&CStr] = &[
    c"On a staged key, __{name:id}, these write its row in PostgreSQL; name:id then holds it:",
    c"HSET|HMSET key field value [field value ...], HSETNX key field value",
    c"    Sets columns of the row; makes the row where there is none.",
    c"HINCRBY|HINCRBYFLOAT key field number",
    c"    Adds to the column.",
    c"HDEL key field [field ...]",
    c"    Sets columns to NULL.",
    c"DEL|UNLINK key [key ...]",
    c"    Deletes the rows.",
    c"RENAME|RENAMENX|COPY|RESTORE onto it",
    c"    Writes the whole hash.",
    c"WT.BATCH n argc command ... [argc command ...]",
    c"    n writes in one command, each for itself.",
    c"WT.TRANSACTION n argc command ... [argc command ...]",
    c"    n writes as one transaction: all of them or none. WT.EXPECT key field value ... among them compares a row.",
    c"WT.ONCE token argc command ...",
    c"    A write, or a WT.TRANSACTION, at most once, however often it is sent.",
    c"For the administrator:",
    c"WT.STATUS",
    c"    The state of the database, the queue, the counters; INFO writethrough has the same.",
    c"WT.MAPPINGS",
    c"    Which hash is which table, and which field is which column.",
    c"WT.REFRESH key [key ...]",
    c"    Reads rows into name:id again.",
    c"WT.VERIFY name [REPAIR] [SAMPLE n]",
    c"    Compares the hashes of a mapping with their rows.",
    c"WT.LOAD name [LIMIT n] [BACKGROUND] | STOP",
    c"    Loads the rows of a mapping.",
    c"WT.TRIGGERS [name] [DROP]",
    c"    The triggers by which other programs are followed.",
    c"WT.FLUSH name, WT.RETRY name",
    c"    What is written behind: waits until it is in PostgreSQL; puts refused writes back.",
    c"WT.RELOAD",
    c"    Reads the document and the tables' definitions again.",
    c"WT.HELP",
    c"    Prints this help.",
];

/// The lines, as status replies: redis-cli shows them as they are.
pub fn help() -> Value {
    Value::List(LINES.iter().map(|line| Value::Status(line)).collect())
}
