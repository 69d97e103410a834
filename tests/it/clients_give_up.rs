//! Clients whose read time-out passes before the server answers: nothing is counted twice.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::clients::{current_python, python, python_is_installed, shop};
use crate::readme::repository;
use crate::support::*;

const BUYERS: i64 = 10;
const LAMPS: i64 = 5;

/// The program `gives_up.py` and how it is run.
struct Client {
    python: fn() -> Command,
    flavour: &'static str,
}

const CURRENT: Client = Client { python: in_venv, flavour: "sync" };
const ASYNCIO: Client = Client { python: in_venv, flavour: "asyncio" };
const DEBIAN: Client = Client { python, flavour: "sync" };

fn in_venv() -> Command {
    let python: Option<&Path> = current_python();
    Command::new(python.expect("asked before"))
}

impl Client {
    /// `times` is how often each buyer gives up; `retries` how often the library repeats, by
    /// default as often as it wants to.
    fn start(&self, stack: &Stack, times: i64, retries: Option<i64>) -> Child {
        let mut command = (self.python)();
        command.arg(repository("tests/it/gives_up.py")).arg(self.flavour);
        command.arg(stack.redis.port().to_string()).arg(BUYERS.to_string()).arg(times.to_string());
        command.args(retries.map(|retries| retries.to_string()));
        command.stdout(Stdio::piped()).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }
}

fn printed(program: Child) -> Vec<String> {
    let output = program.wait_with_output().expect("the program");
    assert!(output.status.success(), "gives_up.py: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// Five lamps. The clients give up; the server doesn't.
fn five_lamps() -> Stack {
    let stack = shop().patient().start();
    stack.execute(&format!(
        "insert into shop.products (sku, title, price, stock) values ('lamp', 'Lamp', 1, {LAMPS})"
    ));
    stack
}

#[track_caller]
fn assert_each_lamp_is_sold_once(stack: &Stack, printed: Vec<String>) {
    let mut expected: Vec<String> = (0..LAMPS).map(|left| format!("bought, {left} left")).collect();
    expected.extend((LAMPS..BUYERS).map(|_| "WTERR 23514".to_owned()));
    expected.sort();
    let mut printed = printed;
    printed.sort();
    assert_eq!(printed, expected);
    assert_eq!(stack.one("select stock from shop.products"), "0");
    assert_eq!(stack.run("HGET products:lamp stock"), bulk("0"));
}

#[track_caller]
fn wait_for_given_up(stack: &Stack, writes: i64, program: &mut Child) {
    eventually("the clients have given up", || {
        let is_over = program.try_wait().expect("its state").is_some();
        stack.info_int("writes_abandoned") >= writes || is_over
    });
}

/// Nothing is repeated, as docs/clients.md advises: who gave up has bought nothing, and may ask
/// again.
fn without_retries(client: Client) {
    let stack = five_lamps();
    let row = stack.database.hold("select from shop.products for update");
    let gave_up = printed(client.start(&stack, 1, Some(0)));
    assert_eq!(gave_up, vec!["gave up"; BUYERS as usize]);
    eventually("what they gave up is dropped", || stack.info_int("writes_abandoned") == BUYERS);
    row.rollback();
    assert_eq!(stack.one("select stock from shop.products"), LAMPS.to_string());

    assert_each_lamp_is_sold_once(&stack, printed(client.start(&stack, 0, Some(0))));
    assert_eq!(stack.info_int("writes_abandoned"), BUYERS);
}

/// The library repeats by its own defaults; each buyer gives up twice while the row is locked.
fn with_the_librarys_retries(client: Client) {
    let stack = five_lamps();
    let row = stack.database.hold("select from shop.products for update");
    let mut program = client.start(&stack, 2, None);
    wait_for_given_up(&stack, 2 * BUYERS, &mut program);
    row.rollback();
    assert_each_lamp_is_sold_once(&stack, printed(program));
    assert_eq!(stack.info_int("writes_abandoned"), 2 * BUYERS);
}

#[test]
fn debians_redis_py_without_retries() {
    if python_is_installed() {
        without_retries(DEBIAN);
    }
}

#[test]
fn the_current_redis_py_without_retries() {
    if current_python().is_some() {
        without_retries(CURRENT);
    }
}

#[test]
fn asyncio_without_retries() {
    if current_python().is_some() {
        without_retries(ASYNCIO);
    }
}

#[test]
fn the_current_redis_py_with_its_own_retries() {
    if current_python().is_some() {
        with_the_librarys_retries(CURRENT);
    }
}

#[test]
fn asyncio_with_its_own_retries() {
    if current_python().is_some() {
        with_the_librarys_retries(ASYNCIO);
    }
}
