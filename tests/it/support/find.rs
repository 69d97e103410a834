//! Where the programs and the module are.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::supervisor::User;

/// A program of PostgreSQL: from `WT_PG_BIN`, the PATH, or the newest `/usr/lib/postgresql`.
pub fn postgres_program(name: &str) -> PathBuf {
    if let Some(bin) = std::env::var_os("WT_PG_BIN") {
        return Path::new(&bin).join(name);
    }
    in_path(name).or_else(|| in_newest_debian_version(name)).unwrap_or_else(|| {
        panic!("no {name} found: install PostgreSQL's server (apt-get install postgresql) or set WT_PG_BIN")
    })
}

pub fn redis_server() -> PathBuf {
    std::env::var_os("WT_REDIS_SERVER")
        .map(PathBuf::from)
        .or_else(|| in_path("redis-server"))
        .or_else(|| in_path("valkey-server"))
        .expect("no redis-server found: install it (apt-get install redis-server) or set WT_REDIS_SERVER")
}

/// The module that cargo built with this test binary: `target/<profile>/deps` holds the newest,
/// `target/<profile>` what `cargo build` left.
pub fn module() -> PathBuf {
    if let Some(path) = std::env::var_os("WT_MODULE") {
        return std::fs::canonicalize(&path).unwrap_or_else(|e| panic!("WT_MODULE {path:?}: {e}"));
    }
    let file = format!("libwritethrough{}", std::env::consts::DLL_SUFFIX);
    let exe = std::env::current_exe().expect("the test knows its own path");
    let deps = exe.parent().expect("a file is in a folder");
    let age = |path: &PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    [deps.join(&file), deps.join("..").join(&file)]
        .into_iter()
        .filter(|path| age(path).is_some())
        .max_by_key(age)
        .unwrap_or_else(|| panic!("no {file} near {exe:?}: run cargo build, or set WT_MODULE"))
}

/// PgBouncer, which Debian has where only root looks.
pub fn pgbouncer() -> Option<PathBuf> {
    in_path("pgbouncer")
        .or_else(|| Some(PathBuf::from("/usr/sbin/pgbouncer")).filter(|file| file.is_file()))
}

/// A program that `scripts/monitoring` has unpacked, or that is installed.
pub fn monitoring_program(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("the test knows its own path");
    let unpacked = exe.ancestors().nth(3).expect("the target folder").join("monitoring/usr/bin");
    in_path(name)
        .or_else(|| Some(unpacked.join(name)).filter(|file| file.is_file()))
        .unwrap_or_else(|| panic!("no {name} found: run make test-monitoring, which unpacks it"))
}

/// The same as text, for MODULE LOADEX.
pub fn module_path() -> String {
    module().display().to_string()
}

/// PostgreSQL doesn't run as root: somebody else then does it.
pub fn postgres_user() -> User {
    let own_uid =
        tempfile::tempdir().and_then(|dir| dir.path().metadata()).expect("a folder").uid();
    if own_uid != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let id_of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(|id| id.parse().ok());
        Some((ids.next()??, ids.next()??))
    };
    Some(id_of("postgres").or_else(|| id_of("nobody")).expect("a user postgres or nobody"))
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn in_newest_debian_version(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let file = entry.path().join("bin").join(name);
            file.is_file().then_some((version, file))
        })
        .max()
        .map(|(_, file)| file)
}
