//! Charts as SVG, without colour: lines differ by their dashes, and each says what it is.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 46.0;
/// More points than this are not to be told apart.
const POINTS: usize = 260;
const DASHES: [&str; 5] = ["", "9 4", "2 3", "12 3 2 3", "5 2 1 2 1 2"];

pub struct Chart {
    pub title: String,
    pub y_label: &'static str,
    pub lines: Vec<Line>,
    /// A level that all are measured by, and its name.
    pub level: Option<(f64, String)>,
    pub scale: Scale,
    /// The seconds that are shown.
    pub until: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From zero to 100.
    Percent,
    /// Powers of ten, from one.
    Powers,
}

pub struct Line {
    pub label: String,
    /// One value a second.
    pub values: Vec<f64>,
}

impl Chart {
    pub fn svg(&self) -> String {
        let mut out = String::new();
        self.draw(&mut out).map_or_else(|_| String::new(), |()| out)
    }

    fn draw(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\" role=\"img\">"
        )?;
        writeln!(out, "<title>{}</title>", escaped(&self.title))?;
        writeln!(out, "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>")?;
        text(out, LEFT, 20.0, "start", "14", &self.title)?;
        text(out, LEFT, 36.0, "start", "11", self.y_label)?;
        self.grid(out)?;
        if let Some((level, name)) = &self.level {
            let y = self.y(*level);
            writeln!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"black\" stroke-width=\"0.8\"/>",
                WIDTH - RIGHT
            )?;
            text(out, WIDTH - RIGHT - 4.0, y - 4.0, "end", "11", name)?;
        }
        for (index, line) in self.lines.iter().enumerate() {
            self.line(out, index, line)?;
        }
        writeln!(out, "</svg>")
    }

    fn grid(&self, out: &mut String) -> std::fmt::Result {
        let (left, right) = (LEFT, WIDTH - RIGHT);
        for (value, label) in self.marks() {
            let y = self.y(value);
            writeln!(
                out,
                "<line x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"
            )?;
            text(out, left - 6.0, y + 4.0, "end", "11", &label)?;
        }
        let step = nice_step(self.until);
        let mut at = 0.0;
        while at <= self.until {
            let x = self.x(at);
            let (top, bottom) = (TOP, HEIGHT - BOTTOM);
            writeln!(
                out,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"#eee\"/>"
            )?;
            text(out, x, HEIGHT - BOTTOM + 16.0, "middle", "11", &format!("{at}"))?;
            at += step;
        }
        let middle = (left + right) / 2.0;
        text(out, middle, HEIGHT - 10.0, "middle", "11", "seconds since the begin of the trouble")
    }

    fn line(&self, out: &mut String, index: usize, line: &Line) -> std::fmt::Result {
        let dash = DASHES[index % DASHES.len()];
        let style = format!(
            "fill=\"none\" stroke=\"black\" stroke-width=\"1.6\" stroke-dasharray=\"{dash}\""
        );
        let shown = line.values.len().min(self.until as usize + 1);
        let group = shown.div_ceil(POINTS).max(1);
        let mut points = String::new();
        for (number, values) in line.values[..shown].chunks(group).enumerate() {
            // The highest of a group: a peak must not get lost.
            let value = values.iter().copied().fold(0.0, f64::max);
            write!(points, "{:.1},{:.1} ", self.x((number * group) as f64), self.y(value))?;
        }
        writeln!(out, "<polyline points=\"{}\" {style}/>", points.trim_end())?;
        let (x, y) = (WIDTH - RIGHT + 8.0, TOP + 14.0 + 36.0 * index as f64);
        writeln!(out, "<line x1=\"{x}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" {style}/>", x + 44.0)?;
        for (row, part) in line.label.split('\n').enumerate() {
            text(out, x + 50.0, y + 4.0 + 13.0 * row as f64, "start", "11", part)?;
        }
        Ok(())
    }

    fn marks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Percent => [0, 25, 50, 75, 100].map(|n| (f64::from(n), format!("{n} %"))).into(),
            Scale::Powers => (0..=self.powers())
                .map(|n| (10_f64.powi(n), grouped(10_u64.pow(n as u32))))
                .collect(),
        }
    }

    /// The power of ten that holds all values.
    fn powers(&self) -> i32 {
        let values = self.lines.iter().flat_map(|line| &line.values).copied();
        let highest = values.chain(self.level.iter().map(|(level, _)| *level)).fold(10.0, f64::max);
        highest.log10().ceil() as i32
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds / self.until).min(1.0)
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Percent => value / 100.0,
            Scale::Powers => value.max(1.0).log10() / f64::from(self.powers()),
        };
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share.clamp(0.0, 1.0)
    }
}

fn text(
    out: &mut String,
    x: f64,
    y: f64,
    anchor: &str,
    size: &str,
    said: &str,
) -> std::fmt::Result {
    writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{}</text>",
        escaped(said)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// About six marks.
fn nice_step(until: f64) -> f64 {
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];
    steps.into_iter().find(|step| until / step <= 7.0).unwrap_or(7200.0)
}

/// 1234567 as 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_shows_its_peak_its_level_and_its_words() {
        let mut values = vec![1.0; 2000];
        values[1234] = 90_000.0;
        let lines = vec![
            Line { label: "a & b".into(), values },
            Line { label: "other".into(), values: vec![5.0; 2000] },
        ];
        let chart = Chart {
            title: "t".into(),
            y_label: "per second",
            lines,
            level: Some((2_000.0, "capacity".into())),
            scale: Scale::Powers,
            until: 2000.0,
        };
        let svg = chart.svg();
        assert!(svg.contains("a &amp; b") && svg.contains("capacity"));
        assert!(svg.contains("stroke-dasharray=\"9 4\""), "the second line is dashed");
        let top = format!(",{:.1} ", chart.y(90_000.0));
        assert!(svg.contains(&top), "the peak is drawn");
        assert!(svg.len() < 20_000, "small enough to be kept");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
