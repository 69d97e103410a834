//! Many clients at once: in the end the cache is the table.

use crate::support::*;

#[test]
fn sixteen_clients_on_one_hot_key_and_many_keys() {
    const CLIENTS: usize = 16;
    const WRITES: usize = 60;
    let s = Stack::users().patient().start();
    s.add_user(0);
    let owned: Vec<Vec<(i64, String)>> = std::thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|client| {
            let s = &s;
            scope.spawn(move || {
                let mut random = Lcg::new(client as u64 + 1);
                let mut conn = s.conn();
                let mut last = std::collections::BTreeMap::new();
                for n in 0..WRITES {
                    let value = format!("c{client}n{n}");
                    match random.below(4) {
                        0 => {
                            let reply =
                                conn.run(&format!("HSET __{{users:0}} first {value} last {value}"));
                            assert!(reply.is_int(), "{reply:?}");
                        }
                        1 => {
                            conn.run("MULTI");
                            conn.run(&format!("HSET __{{users:0}} username {value}"));
                            assert_eq!(conn.run("EXEC"), Reply::Array(vec![int(0)]));
                        }
                        // Refused now and then, which disturbs nobody else.
                        2 => {
                            conn.run(&format!("HSET __{{users:0}} dob {value}"))
                                .assert_error("WTERR 22007 ");
                        }
                        _ => {
                            let id = (1 + client * 10 + random.below(10)) as i64;
                            let line = format!(
                                "HSET __{{users:{id}}} username {value} email e{id} pwhash h"
                            );
                            assert!(conn.run(&line).is_int());
                            last.insert(id, value);
                        }
                    }
                }
                last.into_iter().collect()
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(s.run("KEYS __*"), Reply::Array(vec![]), "nothing is left staged");
    s.assert_user_cached(0);
    for (id, value) in owned.into_iter().flatten() {
        assert_eq!(user_row(&s, id)["username"], value, "an acknowledged write is in the table");
        s.assert_user_cached(id);
    }
    assert_eq!(s.run("DBSIZE"), int(s.count("users")));
    assert_eq!((s.info_int("in_flight"), s.info_int("waiting")), (0, 0));
}
