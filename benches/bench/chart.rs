//! Throughput and latency over the number of clients, as an SVG chart.

use std::fmt::Write;

use crate::groups::CLIENTS;
use crate::rounds::Summary;

/// One contestant, measured with several numbers of clients.
pub struct Line {
    pub name: &'static str,
    pub points: Vec<(usize, Summary)>,
}

impl Line {
    pub fn new(name: &'static str) -> Line {
        let points = Vec::new();
        Line { name, points }
    }
}

const COLORS: [&str; 4] = ["#c2410c", "#64748b", "#1d4ed8", "#7c3aed"];
/// Where each entry of the legend begins.
const LEGEND: [f64; 4] = [62.0, 268.0, 446.0, 720.0];
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 430.0;

/// A panel with logarithmic axes.
struct Panel {
    left: f64,
    low: f64,
    high: f64,
}

impl Panel {
    const TOP: f64 = 92.0;
    const WIDTH: f64 = 390.0;
    const HEIGHT: f64 = 270.0;

    /// Decades that hold all values.
    fn new(left: f64, values: impl Iterator<Item = f64>) -> Panel {
        let (low, high) = values
            .filter(|v| *v > 0.0)
            .fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        Panel { left, low: low.log10().floor(), high: high.log10().ceil() }
    }

    fn x(&self, clients: usize) -> f64 {
        let last = CLIENTS[CLIENTS.len() - 1] as f64;
        self.left + Self::WIDTH * (clients as f64).ln() / last.ln()
    }

    fn y(&self, value: f64) -> f64 {
        let part = (value.log10() - self.low) / (self.high - self.low).max(1.0);
        Self::TOP + Self::HEIGHT * (1.0 - part)
    }

    fn frame(&self, out: &mut String, title: &str, unit: fn(f64) -> String) {
        let (top, bottom, right) = (Self::TOP, Self::TOP + Self::HEIGHT, self.left + Self::WIDTH);
        text(out, self.left, top - 14.0, "start", "600", "#0f172a", title);
        let mut decade = self.low;
        while decade <= self.high {
            for step in [1.0, 2.0, 5.0] {
                let value = step * 10f64.powf(decade);
                let y = self.y(value);
                if y < top - 0.5 {
                    break;
                }
                let shade = if step == 1.0 { "#cbd5e1" } else { "#eef2f6" };
                line(out, [self.left, y, right, y], shade);
                if step == 1.0 {
                    text(out, self.left - 8.0, y + 4.0, "end", "400", "#475569", &unit(value));
                }
            }
            decade += 1.0;
        }
        for clients in CLIENTS {
            let x = self.x(clients);
            line(out, [x, top, x, bottom], "#eef2f6");
            text(out, x, bottom + 18.0, "middle", "400", "#475569", &clients.to_string());
        }
        let middle = self.left + Self::WIDTH / 2.0;
        text(out, middle, bottom + 38.0, "middle", "400", "#475569", "clients");
    }

    fn curve(
        &self,
        out: &mut String,
        color: &str,
        dashes: &str,
        of: &Line,
        value: fn(&Summary) -> f64,
    ) {
        let points: Vec<(f64, f64)> = of
            .points
            .iter()
            .filter(|(_, s)| value(s) > 0.0)
            .map(|(clients, s)| (self.x(*clients), self.y(value(s))))
            .collect();
        let joined: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2" stroke-dasharray="{dashes}"/>"#,
            joined.join(" ")
        );
        if dashes.is_empty() {
            for (x, y) in points {
                let _ = writeln!(out, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{color}"/>"#);
            }
        }
    }
}

fn line(out: &mut String, [x1, y1, x2, y2]: [f64; 4], color: &str) {
    let _ = writeln!(
        out,
        r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{color}"/>"#
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, weight: &str, color: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        out,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-weight="{weight}" fill="{color}">{words}</text>"#
    );
}

/// The chart. `about` says what it was measured on.
pub fn svg(lines: &[Line], about: &str) -> String {
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
"##
    );
    let all = || lines.iter().flat_map(|line| &line.points).map(|(_, s)| s);
    let rates = Panel::new(62.0, all().map(|s| s.rate));
    let times = Panel::new(542.0, all().flat_map(|s| [s.p50, s.p99]));
    rates.frame(&mut out, "Writes a second", |v| match v >= 1000.0 {
        true => format!("{}k", v / 1000.0),
        false => format!("{v}"),
    });
    times.frame(&mut out, "Time of a write: p50, p99 dashed", |us| match us >= 1000.0 {
        true => format!("{} ms", us / 1000.0),
        false => format!("{us} µs"),
    });
    for (n, of) in lines.iter().enumerate() {
        let color = COLORS[n % COLORS.len()];
        rates.curve(&mut out, color, "", of, |s| s.rate);
        times.curve(&mut out, color, "", of, |s| s.p50);
        times.curve(&mut out, color, "4 4", of, |s| s.p99);
        let x = LEGEND[n % LEGEND.len()];
        let _ =
            writeln!(out, r#"<rect x="{x}" y="22" width="14" height="4" rx="2" fill="{color}"/>"#);
        let words = match of.name {
            "write-through" => "write-through (4 connections)".into(),
            "plain HSET" => "plain HSET, no database".to_string(),
            name => format!("{name} (one connection each)"),
        };
        text(&mut out, x + 20.0, 28.0, "start", "500", "#0f172a", &words);
    }
    out += r#"<g font-size="11">"#;
    text(&mut out, 62.0, HEIGHT - 12.0, "start", "400", "#64748b", about);
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
