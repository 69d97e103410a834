//! A panel of a chart: axes, and curves over a logarithmic x.

use std::fmt::Write;

const TOP: f64 = 92.0;
const WIDTH: f64 = 390.0;
const HEIGHT: f64 = 270.0;

/// What the y axis shows.
pub enum Scale {
    /// Decades that hold all values.
    Decades { low: f64, high: f64 },
    /// From nothing to this, in five steps.
    UpTo(f64),
}

impl Scale {
    pub fn decades(values: impl Iterator<Item = f64>) -> Scale {
        let (low, high) = values
            .filter(|v| *v > 0.0)
            .fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        Scale::Decades { low: low.log10().floor(), high: high.log10().ceil() }
    }

    /// To the next 10, 25 or 50 with zeros.
    pub fn up_to(values: impl Iterator<Item = f64>) -> Scale {
        let most = values.fold(1.0, f64::max);
        let decade = 10f64.powf(most.log10().floor());
        let steps = [1.0, 2.5, 5.0, 10.0].map(|step| step * decade);
        Scale::UpTo(steps.into_iter().find(|step| *step >= most).unwrap_or(most))
    }

    /// Where a value is, 0 to 1.
    fn part(&self, value: f64) -> f64 {
        match self {
            Scale::Decades { low, high } => (value.log10() - low) / (high - low).max(1.0),
            Scale::UpTo(most) => value / most,
        }
    }

    /// The lines of the grid; true: with its value.
    fn grid(&self) -> Vec<(f64, bool)> {
        match self {
            Scale::Decades { low, high } => {
                let decades = (*low as i32)..=(*high as i32);
                let steps = [1.0, 2.0, 5.0];
                let all = decades
                    .flat_map(|decade| steps.map(|step| (step * 10f64.powi(decade), step == 1.0)));
                all.filter(|(value, _)| value.log10() <= high + 0.01).collect()
            }
            Scale::UpTo(most) => (0..=5).map(|n| (most * f64::from(n) / 5.0, true)).collect(),
        }
    }
}

pub struct Panel<'a> {
    pub left: f64,
    /// The values of x that have a measurement.
    pub ticks: &'a [usize],
    pub scale: Scale,
}

impl Panel<'_> {
    fn x(&self, at: usize) -> f64 {
        let ln = |tick: usize| (tick as f64).ln();
        let (first, last) = (self.ticks[0], self.ticks[self.ticks.len() - 1]);
        self.left + WIDTH * (ln(at) - ln(first)) / (ln(last) - ln(first))
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT * (1.0 - self.scale.part(value))
    }

    /// `unit` writes a value of y.
    pub fn frame(&self, out: &mut String, title: &str, axis: &str, unit: fn(f64) -> String) {
        let (bottom, right) = (TOP + HEIGHT, self.left + WIDTH);
        text(out, self.left, TOP - 14.0, "start", "600", "#0f172a", title);
        for (value, has_value) in self.scale.grid() {
            let y = self.y(value);
            line(out, [self.left, y, right, y], if has_value { "#cbd5e1" } else { "#eef2f6" });
            if has_value {
                text(out, self.left - 8.0, y + 4.0, "end", "400", "#475569", &unit(value));
            }
        }
        for &tick in self.ticks {
            let x = self.x(tick);
            line(out, [x, TOP, x, bottom], "#eef2f6");
            text(out, x, bottom + 18.0, "middle", "400", "#475569", &tick.to_string());
        }
        let middle = self.left + WIDTH / 2.0;
        text(out, middle, bottom + 38.0, "middle", "400", "#475569", axis);
    }

    pub fn curve(
        &self,
        out: &mut String,
        color: &str,
        dashes: &str,
        values: impl Iterator<Item = (usize, f64)>,
    ) {
        let points: Vec<(f64, f64)> = values
            .filter(|(_, value)| *value > 0.0)
            .map(|(at, value)| (self.x(at), self.y(value)))
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

pub fn text(
    out: &mut String,
    x: f64,
    y: f64,
    anchor: &str,
    weight: &str,
    color: &str,
    words: &str,
) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        out,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-weight="{weight}" fill="{color}">{words}</text>"#
    );
}
