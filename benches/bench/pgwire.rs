//! As much of PostgreSQL's protocol as one prepared statement needs, for thousands of connections
//! in one thread: what an application's driver sends, at the least cost to this machine.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::scan::Scan;

/// Starts a session (trusted) and prepares `sql`.
pub fn open(stream: &mut TcpStream, sql: &str) {
    let mut startup = vec![0, 0, 0, 0, 0, 3, 0, 0];
    startup.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
    let length = (startup.len() as u32).to_be_bytes();
    startup[..4].copy_from_slice(&length);
    stream.write_all(&startup).expect("PostgreSQL");
    wait(stream, "the start of a session");
    let mut out = Vec::new();
    message(&mut out, b'P', |out| {
        out.extend_from_slice(b"s\0");
        out.extend_from_slice(sql.as_bytes());
        // The end of the text, and no parameter's type.
        out.extend_from_slice(&[0, 0, 0]);
    });
    message(&mut out, b'S', |_| {});
    stream.write_all(&out).expect("PostgreSQL");
    wait(stream, sql);
}

/// Appends one execution of the statement; `value` appends each parameter's text.
pub fn execute(out: &mut Vec<u8>, params: u16, mut value: impl FnMut(u16, &mut Vec<u8>)) {
    message(out, b'B', |out| {
        out.extend_from_slice(b"\0s\0\0\0");
        out.extend_from_slice(&params.to_be_bytes());
        for p in 0..params {
            let at = out.len();
            out.extend_from_slice(&[0; 4]);
            value(p, out);
            let length = ((out.len() - at - 4) as u32).to_be_bytes();
            out[at..at + 4].copy_from_slice(&length);
        }
        out.extend_from_slice(&[0, 0]);
    });
    message(out, b'E', |out| out.extend_from_slice(&[0; 5]));
    message(out, b'S', |_| {});
}

fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = ((out.len() - at) as u32).to_be_bytes();
    out[at..at + 4].copy_from_slice(&length);
}

/// Looks for the end of an execution: ReadyForQuery.
pub fn scan(bytes: &[u8]) -> Scan {
    let (mut at, mut error) = (0, None);
    while let Some(head) = bytes.get(at..at + 5) {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some(body) = bytes.get(at + 5..at + 1 + length) else {
            break;
        };
        match head[0] {
            b'E' => error = Some(String::from_utf8_lossy(body).replace('\0', " ")),
            b'Z' => return Scan::Done(error),
            _ => {}
        }
        at += 1 + length;
    }
    Scan::Partial
}

fn wait(stream: &mut TcpStream, what: &str) {
    let (mut answer, mut chunk) = (Vec::new(), [0; 8192]);
    loop {
        let n = stream.read(&mut chunk).expect("PostgreSQL");
        answer.extend_from_slice(&chunk[..n]);
        match scan(&answer) {
            Scan::Partial if n > 0 => continue,
            Scan::Done(None) => return,
            _ => panic!("{what}: {}", String::from_utf8_lossy(&answer)),
        }
    }
}
