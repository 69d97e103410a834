//! The tables on the terminal, and the same as JSON.

use serde_json::{json, Value};

use crate::cpu;
use crate::rounds::Summary;
use crate::targets::{depends_on_the_host, ratio, ALSO, TARGETS};

pub fn print_group(summaries: &[Summary]) {
    let Some(first) = summaries.first() else {
        return;
    };
    println!(
        "\n{:<40} {:>9} {:>9} {:>9} {:>9}   CPU µs a write: {}",
        first.group,
        "writes/s",
        "p50 ms",
        "p99 ms",
        "rows/stmt",
        cpu::NAMES.join(", ")
    );
    for s in summaries {
        let ms = |us: f64| match us > 0.0 {
            true => format!("{:.2}", us / 1000.0),
            false => String::new(),
        };
        let rows = s.cpu.filter(|cpu| cpu.rows > 0.0);
        let cpu = s.cpu.map(|cpu| cpu.times.map(|us| format!("{us:>6.1}")).join(" "));
        let error = s.error.as_ref().map(|e| format!("   first error: {e:.60}"));
        println!(
            "  {:<38} {:>9.0} {:>9} {:>9} {:>9}   {}{}",
            s.name,
            s.rate,
            ms(s.p50),
            ms(s.p99),
            rows.map(|cpu| format!("{:.1}", cpu.rows)).unwrap_or_default(),
            cpu.unwrap_or_default(),
            error.unwrap_or_default()
        );
    }
}

pub fn print_targets(summaries: &[Summary]) {
    println!("\n{:<64} {:>8} {:>9} {:<9} by host", "case", "ratio", "at least", "");
    let by_host = |beside: &str| if depends_on_the_host(beside) { "yes" } else { "no" };
    for t in &TARGETS {
        let measured = ratio(summaries, t.of, t.beside);
        let verdict = match measured {
            Some(r) if r >= t.at_least => "pass",
            Some(_) => "MISS",
            None => "not run",
        };
        println!(
            "  {:<62} {:>8} {:>9} {verdict:<9} {}",
            t.case,
            two(measured),
            t.at_least,
            by_host(t.beside)
        );
    }
    for (case, of, beside) in ALSO {
        if let Some(measured) = ratio(summaries, of, beside) {
            let by_host = by_host(beside);
            println!("  {case:<62} {:>8} {:>9} {:<9} {by_host}", two(Some(measured)), "", "");
        }
    }
    println!(
        "\nby host: the ratio says something about this machine as well. To see what a change of the code does, \
         run the\nbuild before beside this one: BASE=<its libwritethrough.so>, or count: INSTRUCTIONS=1."
    );
}

fn two(ratio: Option<f64>) -> String {
    ratio.map_or("-".into(), |r| format!("{r:.2}"))
}

pub fn json(about: Value, summaries: &[Summary], growth: Value) -> Value {
    let cases = summaries.iter().map(|s| {
        json!({
            "group": s.group, "name": s.name, "writes_per_second": s.rate, "rounds": s.rates,
            "p50_us": s.p50, "p99_us": s.p99, "errors": s.errors, "error": s.error,
            "cpu_us_per_write": s.cpu.map(|cpu| cpu.times),
            "rows_per_statement": s.cpu.map(|cpu| cpu.rows),
        })
    });
    let targets = TARGETS.iter().map(|t| {
        let measured = ratio(summaries, t.of, t.beside);
        json!({
            "case": t.case, "ratio": measured, "at_least": t.at_least,
            "pass": measured.map(|r| r >= t.at_least),
            "depends_on_the_host": depends_on_the_host(t.beside),
        })
    });
    let also = ALSO
        .iter()
        .map(|(case, of, beside)| json!({ "case": case, "ratio": ratio(summaries, of, beside) }));
    json!({
        "about": about,
        "cases": cases.collect::<Vec<_>>(),
        "targets": targets.collect::<Vec<_>>(),
        "also": also.collect::<Vec<_>>(),
        "growth": growth,
    })
}
