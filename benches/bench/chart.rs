//! The charts that the documentation shows.

use std::fmt::Write;

use crate::meanwhile::RATES;
use crate::panel::{text, Panel, Scale};
use crate::rounds::Summary;

/// The clients of the chart.
pub const CLIENTS: [usize; 6] = [1, 4, 16, 64, 256, 1024];

/// One contestant, measured with several numbers of clients, or values of an option.
pub struct Line {
    pub name: String,
    pub points: Vec<(usize, Summary)>,
}

impl Line {
    fn values(&self, value: fn(&Summary) -> f64) -> impl Iterator<Item = (usize, f64)> + use<'_> {
        self.points.iter().map(move |(at, summary)| (*at, value(summary)))
    }

    fn ticks(&self) -> Vec<usize> {
        self.points.iter().map(|(at, _)| *at).collect()
    }
}

const COLORS: [&str; 4] = ["#c2410c", "#64748b", "#1d4ed8", "#7c3aed"];
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 430.0;
/// Where the panels begin.
const LEFT: [f64; 2] = [62.0, 542.0];

fn rate(summary: &Summary) -> f64 {
    summary.rate
}

/// Throughput and latency over the number of clients. `about` says what it was measured on.
pub fn over_clients(lines: &[Line], about: &str) -> String {
    let mut out = begin();
    let all = || lines.iter().flat_map(|line| &line.points).map(|(_, s)| s);
    let panel = |left, scale| Panel { left, ticks: &CLIENTS, scale };
    let rates = panel(LEFT[0], Scale::decades(all().map(rate)));
    let times = panel(LEFT[1], Scale::decades(all().flat_map(|s| [s.p50, s.p99])));
    rates.frame(&mut out, "Writes a second", "clients", thousands);
    times.frame(&mut out, "Time of a write: p50, p99 dashed", "clients", time);
    for (of, color) in lines.iter().zip(COLORS) {
        rates.curve(&mut out, color, "", of.values(rate));
        times.curve(&mut out, color, "", of.values(|s| s.p50));
        times.curve(&mut out, color, "4 4", of.values(|s| s.p99));
    }
    let words = lines.iter().map(|line| match line.name.as_str() {
        "write-through" => "write-through (4 connections)".into(),
        "plain HSET" => "plain HSET, no database".into(),
        name => format!("{name} (one connection each)"),
    });
    legend(&mut out, words.zip([62.0, 268.0, 446.0, 720.0]));
    end(out, about)
}

/// How late other programs' writes are, and another client's reads, over their rate.
pub fn over_foreign_writes(lines: &[Line], about: &str) -> String {
    let mut out = begin();
    let titles = ["From a foreign commit to the hash", "Another client's HGET meanwhile"];
    for ((line, title), left) in lines.iter().zip(titles).zip(LEFT) {
        let times = line.points.iter().flat_map(|(_, s)| [s.p50, s.p99]);
        let panel = Panel { left, ticks: &RATES, scale: Scale::decades(times) };
        panel.frame(&mut out, title, "rows a second that others write", time);
        panel.curve(&mut out, COLORS[0], "", line.values(|s| s.p50));
        panel.curve(&mut out, COLORS[2], "4 4", line.values(|s| s.p99));
    }
    let [median, late] = ["p50".to_string(), "p99, dashed".to_string()];
    legend(
        &mut out,
        [(median, LEFT[0]), (String::new(), WIDTH), (late, LEFT[0] + 80.0)].into_iter(),
    );
    end(out, about)
}

fn time(us: f64) -> String {
    match us >= 1000.0 {
        true => format!("{} ms", us / 1000.0),
        false => format!("{us} µs"),
    }
}

/// Throughput over the values of two options: title, axis, lines.
pub fn over_options(panels: [(&str, &str, &[Line]); 2], about: &str) -> String {
    let mut out = begin();
    for ((title, axis, lines), left) in panels.into_iter().zip(LEFT) {
        let Some(ticks) = lines.first().map(Line::ticks) else { continue };
        let rates = lines.iter().flat_map(|line| line.values(rate)).map(|(_, rate)| rate);
        let panel = Panel { left, ticks: &ticks, scale: Scale::up_to(rates) };
        panel.frame(&mut out, title, axis, thousands);
        for (of, color) in lines.iter().zip(COLORS) {
            panel.curve(&mut out, color, "", of.values(rate));
        }
    }
    let names = panels[0].2.iter().map(|line| line.name.clone());
    legend(&mut out, names.zip([62.0, 190.0, 330.0, 520.0]));
    end(out, about)
}

fn thousands(value: f64) -> String {
    match value >= 1000.0 {
        true => format!("{}k", value / 1000.0),
        false => format!("{value}"),
    }
}

fn begin() -> String {
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
"##
    )
}

/// Each entry's words, and where it begins.
fn legend(out: &mut String, entries: impl Iterator<Item = (String, f64)>) {
    for ((words, x), color) in entries.zip(COLORS) {
        let _ =
            writeln!(out, r#"<rect x="{x}" y="22" width="14" height="4" rx="2" fill="{color}"/>"#);
        text(out, x + 20.0, 28.0, "start", "500", "#0f172a", &words);
    }
}

fn end(mut out: String, about: &str) -> String {
    out += r#"<g font-size="11">"#;
    text(&mut out, LEFT[0], HEIGHT - 12.0, "start", "400", "#64748b", about);
    out + "</g>\n</svg>\n"
}

/// Whether throughput falls, or p99 grows faster than the clients, between two of [`CLIENTS`].
pub fn print_growth(lines: &[Line]) {
    let Some(own) = lines.first().filter(|line| line.points.len() > 1) else {
        return;
    };
    let pairs = || own.points.windows(2).map(|pair| (&pair[0], &pair[1]));
    let least = pairs().map(|(a, b)| b.1.rate / a.1.rate).fold(f64::MAX, f64::min);
    let most = pairs()
        .map(|(a, b)| b.1.p99 / a.1.p99 / (b.0 as f64 / a.0 as f64))
        .fold(f64::MIN, f64::max);
    let verdict = |pass: bool| if pass { "pass" } else { "MISS" };
    // Measurements differ by some per cent from round to round.
    println!(
        "  {:<56} {least:>8.2} {:>9} {}",
        "clients × 4: throughput × at least",
        0.95,
        verdict(least >= 0.95)
    );
    println!(
        "  {:<56} {most:>8.2} {:>9} {}",
        "clients × 4: p99 × this part of 4 at most",
        1.05,
        verdict(most <= 1.05)
    );
}
