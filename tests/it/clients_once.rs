//! docs/clients.md, "Transactions, and sending again": its code sends again until it is answered, and
//! what it sends is done once.

use std::sync::Arc;
use std::thread;

use crate::clients::{current_python, node_is_installed, python_is_installed, shop};
use crate::clients_compiled::{go_is_installed, in_go, in_java, in_rust, java_is_installed};
use crate::clients_page::{in_current_python, in_node, in_python, Code, Run};
use crate::clients_page::{
    ASYNCIO_BOXES, GO_BOXES, JAVA_BOXES, NODE_BOXES, PYTHON_BOXES, RUST_BOXES,
};
use crate::support::*;

/// The client whose WT.ONCE waits, as CLIENT LIST shows it.
fn waiting(stack: &Stack) -> Option<String> {
    let list = stack.run("CLIENT LIST").text();
    let line = list.lines().find(|line| line.contains(" cmd=wt.once "))?;
    let id = line.split(' ').find_map(|word| word.strip_prefix("id="));
    Some(id.expect("its id").to_owned())
}

/// The database is away; then a connection is cut while its write waits for a row.
fn sends_again(code: Code, run: Run) {
    let server = Arc::new(PostgresServer::start_new());
    let stack = shop().told_soon_of_outages().postgres(&server).start();
    code.prepare(&stack);
    server.stop_fast();
    thread::scope(|scope| {
        let program = scope.spawn(|| code.prints_what_it_says(run, &stack));
        eventually("a write is answered with WTDOWN", || {
            stack.info_int("writes_refused_down") > 0 || program.is_finished()
        });
        server.start_again();
    });

    stack.execute("truncate shop.products cascade");
    code.prepare(&stack);
    let row = stack.database.hold("select from shop.products for update");
    thread::scope(|scope| {
        let program = scope.spawn(|| code.prints_what_it_says(run, &stack));
        let another = |before: &str| {
            let mut found = None;
            eventually("a write waits", || {
                found = waiting(&stack).filter(|id| id != before);
                found.is_some() || program.is_finished()
            });
            found.unwrap_or_default()
        };
        let first = another("");
        assert_eq!(stack.run(&format!("CLIENT KILL ID {first}")), int(1));
        another(&first);
        row.rollback();
    });
}

#[test]
fn the_python_code_sends_again() {
    if python_is_installed() {
        sends_again(PYTHON_BOXES, in_python);
    }
}

#[test]
fn the_python_code_sends_again_with_the_current_redis_py() {
    if current_python().is_some() {
        sends_again(PYTHON_BOXES, in_current_python);
    }
}

#[test]
fn the_asyncio_code_sends_again() {
    if python_is_installed() {
        sends_again(ASYNCIO_BOXES, in_python);
    }
}

#[test]
fn the_asyncio_code_sends_again_with_the_current_redis_py() {
    if current_python().is_some() {
        sends_again(ASYNCIO_BOXES, in_current_python);
    }
}

#[test]
fn the_node_code_sends_again() {
    if node_is_installed() {
        sends_again(NODE_BOXES, in_node);
    }
}

#[test]
fn the_rust_code_sends_again() {
    sends_again(RUST_BOXES, in_rust);
}

#[test]
fn the_go_code_sends_again() {
    if go_is_installed() {
        sends_again(GO_BOXES, in_go);
    }
}

#[test]
fn the_java_code_sends_again() {
    if java_is_installed() {
        sends_again(JAVA_BOXES, in_java);
    }
}
