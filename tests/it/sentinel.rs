//! examples/sentinel: three servers with the module, three sentinels, and a master that dies.

use crate::deployment::settings;
use crate::support::*;

struct Sentinel {
    _supervisor: Supervisor,
    port: u16,
}

impl Sentinel {
    fn start(master: u16) -> Sentinel {
        let (dir, port) = (server_dir("wt-sentinel-", None), free_port());
        let mut lines = settings("examples/sentinel/sentinel.conf");
        let monitor = lines.iter_mut().find(|line| line.starts_with("sentinel monitor "));
        let monitor = monitor.expect("the example names the master");
        *monitor = monitor.replace("10.0.0.1 6379", &format!("127.0.0.1 {master}"));
        lines.push(format!("port {port}\nbind 127.0.0.1\ndir {}", dir.display()));
        let file = dir.join("sentinel.conf");
        std::fs::write(&file, lines.join("\n") + "\n").expect("sentinel.conf");
        let argv =
            [redis_server().display().to_string(), file.display().to_string(), "--sentinel".into()];
        let supervisor = Supervisor::new(dir, "KILL", None, &argv);
        supervisor.start();
        eventually("the sentinel answers", || Conn::open(port).is_ok());
        Sentinel { _supervisor: supervisor, port }
    }

    fn ask(&self, line: &str) -> Reply {
        Conn::open(self.port).expect("the sentinel").run(line)
    }

    /// Where a client is sent.
    fn master(&self) -> u16 {
        let reply = self.ask("SENTINEL GET-MASTER-ADDR-BY-NAME shop");
        reply.array()[1].text().parse().expect("a port")
    }

    fn sees(&self, what: &str) -> String {
        let reply = self.ask("SENTINEL MASTER shop");
        let pairs: Vec<String> = reply.array().iter().map(Reply::text).collect();
        let pair = pairs.chunks(2).find(|pair| pair[0] == what);
        pair.unwrap_or_else(|| panic!("no {what} in {pairs:?}"))[1].clone()
    }
}

#[test]
fn sentinels_promote_a_replica_and_no_answered_write_is_lost() {
    let start = |builder: Builder| {
        let lines = settings("examples/sentinel/redis.conf");
        lines.iter().fold(builder, |builder, line| builder.redis_conf(line)).start()
    };
    let first = start(Stack::users());
    let url = first.database.url();
    let others = (1..3).map(|_| start(Stack::users().option("url", url.as_str())));
    let servers: Vec<Stack> = std::iter::once(first).chain(others).collect();
    let of_port = |port: u16| servers.iter().find(|s| s.redis.port() == port).expect("one of them");
    for replica in &servers[1..] {
        let line = format!("REPLICAOF 127.0.0.1 {}", servers[0].redis.port());
        assert_eq!(replica.run(&line), ok());
    }
    let sentinels: Vec<Sentinel> =
        (0..3).map(|_| Sentinel::start(servers[0].redis.port())).collect();
    eventually("the sentinels know all", || {
        let knows_all = |sentinel: &Sentinel| {
            sentinel.sees("num-slaves") == "2" && sentinel.sees("num-other-sentinels") == "2"
        };
        sentinels.iter().all(knows_all)
    });

    // As a client does: it asks a sentinel, and again when it is not answered.
    let write = |id: i64, name: &str| {
        let line = format!("HSET __{{users:{id}}} username {name}{id} email {name}{id} pwhash h");
        eventually("the write is answered", || {
            let server = of_port(sentinels[0].master());
            server.redis.is_alive() && server.conn().run(&line).is_int()
        });
    };
    (1..=20).for_each(|id| write(id, "before"));
    let old = sentinels[0].master();
    of_port(old).redis.stop("KILL");
    eventually("the sentinels have chosen another", || {
        sentinels.iter().all(|sentinel| sentinel.master() != old)
    });
    (11..=30).for_each(|id| write(id, "after"));

    let master = of_port(sentinels[0].master());
    master.connect_again();
    master.wait_until_in_sync();
    for id in 1..=30 {
        let expected = if id <= 10 { format!("before{id}") } else { format!("after{id}") };
        let row = user_row(&servers[0], id); // its database is that of all
        assert_eq!(row["username"], expected);
        assert_eq!(master.hgetall(&format!("users:{id}")), row);
    }

    // The old one comes back as a replica, by the sentinels, and serves what the table has.
    let back = of_port(old);
    back.start_again();
    eventually("it follows", || {
        back.connect_again();
        let info = back.info_of("replication");
        info["role"] == "slave" && info["master_link_status"] == "up"
    });
    eventually("it has the rows", || back.run("HGET users:30 username") == bulk("after30"));
    assert_eq!(back.run("HGET users:11 username"), bulk("after11"));
}
