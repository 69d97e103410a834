//! The append-only file ends within a unit: neither the entry of that unit comes back, nor the change of the hash.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::behind::builder;
use crate::scene::fault;
use crate::support::*;

/// Entries that wait, the last one in the last unit.
const WAITING: i64 = 4;

pub fn scene(seed: usize) {
    let server = Arc::new(PostgresServer::start_new());
    let s =
        builder().postgres(&server).redis_conf("appendonly yes").redis_conf("appendfsync always");
    let s = s.redis_conf("aof-load-truncated yes").start();
    assert_eq!(s.run("HINCRBY __{counters:1} n 1"), int(1));
    assert_eq!(s.run("WT.FLUSH counters"), ok());
    server.stop_immediate();
    let folder = s.redis.dir().join("appendonlydir");
    let mut ends = Vec::new();
    for n in 2..2 + WAITING {
        assert_eq!(s.run("HINCRBY __{counters:1} n 1"), int(n));
        ends.push(fs::metadata(last_file(&folder)).expect("the file").len());
    }
    s.redis.stop("KILL");
    let kept = s.redis.dir().join("kept");
    copy(&folder, &kept);
    let [.., begin, end] = ends[..] else { panic!("{ends:?}") };
    let come_back_with = |len: u64| {
        fs::remove_dir_all(&folder).expect("the damaged files");
        copy(&kept, &folder);
        let file = File::options().write(true).open(last_file(&folder)).expect("the file");
        file.set_len(len).expect("a shorter file");
        s.start_again();
        fault();
        i64::from(len == end)
    };
    for len in begin..=end {
        let whole = come_back_with(len);
        let n = (WAITING + whole).to_string();
        assert_eq!(s.run("HGET counters:1 n"), bulk(n), "{len} of {begin} to {end}");
        let entries = s.run("XLEN {writethrough}:behind:counters");
        assert_eq!(entries, int(WAITING - 1 + whole), "{len} of {begin} to {end}");
        s.redis.stop("KILL");
    }
    // The row is what came back; and of a file that comes back once more nothing is written twice.
    server.start_again();
    let torn = begin + Lcg::new(seed as u64).below((end - begin) as usize) as u64;
    for (len, n) in [(torn, 4), (torn, 4), (end, 5), (torn, 5), (end, 5)] {
        come_back_with(len);
        assert_eq!(s.run("WT.FLUSH counters"), ok());
        assert_eq!(s.one("select n from counters"), n.to_string(), "{len} of {begin} to {end}");
        eventually("the hash is the row", || s.run("HGET counters:1 n") == bulk(n.to_string()));
        s.redis.stop("KILL");
    }
    s.redis.start_again();
    s.connect_again();
}

/// Where the last unit is.
fn last_file(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder).expect("the append-only files");
    let paths = entries.map(|entry| entry.expect("a file").path());
    let last = paths.filter(|path| path.display().to_string().ends_with(".incr.aof")).max();
    last.expect("an append-only file")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("a file").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
    }
}
