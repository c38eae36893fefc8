//! A chart as an SVG: axes, lines, bars and words.

use std::fmt::Write;

pub const WIDTH: f64 = 860.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;

/// Told apart by most kinds of colour vision (Okabe and Ito).
pub const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// How a value becomes a place on an axis.
#[derive(Clone, Copy)]
pub enum Scale {
    Linear,
    /// Decades; the smallest value is where the axis begins.
    Log,
}

pub struct Chart {
    body: String,
    height: f64,
    x: (f64, f64, Scale),
    y: (f64, f64),
}

impl Chart {
    pub fn new(title: &str, height: f64, x: (f64, f64, Scale), y: (f64, f64)) -> Chart {
        let mut chart = Chart {
            body: String::new(),
            height,
            x,
            y,
        };
        chart.text_at(LEFT, 28.0, "start", 17, title);
        chart
    }

    pub fn x(&self, value: f64) -> f64 {
        let (from, to, scale) = self.x;
        let part = match scale {
            Scale::Linear => (value - from) / (to - from),
            Scale::Log => (value.max(from) / from).ln() / (to / from).ln(),
        };
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    pub fn y(&self, value: f64) -> f64 {
        let (from, to) = self.y;
        let part = (value - from) / (to - from);
        self.height - BOTTOM - part.clamp(0.0, 1.0) * (self.height - TOP - BOTTOM)
    }

    /// Labels along the bottom, with a grid line each, and what they count.
    pub fn x_axis(&mut self, ticks: &[f64], name: &str) {
        let (top, bottom) = (TOP, self.height - BOTTOM);
        for tick in ticks {
            let x = self.x(*tick);
            self.line((x, top), (x, bottom), "grid");
            self.text_at(x, bottom + 18.0, "middle", 13, &tick.to_string());
        }
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        self.text_at(middle, bottom + 38.0, "middle", 13, name);
    }

    pub fn y_axis(&mut self, ticks: &[f64], unit: &str) {
        for tick in ticks {
            let y = self.y(*tick);
            self.line((LEFT, y), (WIDTH - RIGHT, y), "grid");
            let label = format!("{tick}{unit}");
            self.text_at(LEFT - 8.0, y + 4.0, "end", 13, &label);
        }
    }

    /// A line through points, with its name where it ends.
    pub fn curve(&mut self, points: &[(f64, f64)], colour: &str, name: &str) {
        let places: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y)))
            .collect();
        let places = places.join(" ");
        let _ = writeln!(
            self.body,
            "<polyline points=\"{places}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>"
        );
        if let Some((x, y)) = points.last() {
            let (x, y) = (self.x(*x) + 8.0, self.y(*y) + 4.0);
            self.text_at(x, y, "start", 13, name);
        }
    }

    /// A bar between two values of the x axis, at a place of the y axis.
    pub fn bar(&mut self, (from, to): (f64, f64), y: f64, thickness: f64, colour: &str) {
        let (left, right) = (self.x(from), self.x(to));
        let (width, top) = ((right - left).max(0.75), self.y(y) - thickness / 2.0);
        let _ = writeln!(
            self.body,
            "<rect x=\"{left:.2}\" y=\"{top:.1}\" width=\"{width:.2}\" height=\"{thickness}\" \
             fill=\"{colour}\"/>"
        );
    }

    /// A small square of a colour, for a legend.
    pub fn swatch(&mut self, x: f64, y: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"
        );
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    pub fn text_at(&mut self, x: f64, y: f64, anchor: &str, size: u32, words: &str) {
        let words = words.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{words}\
             </text>"
        );
    }

    /// The name of a lane, left of the axis.
    pub fn lane(&mut self, y: f64, name: &str) {
        let y = self.y(y) + 4.0;
        self.text_at(WIDTH - RIGHT + 8.0, y, "start", 13, name);
    }

    pub fn finish(self) -> String {
        let Chart { body, height, .. } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"system-ui, sans-serif\">\n\
             <style>text {{ fill: #222 }} .back {{ fill: #fff }} .grid {{ stroke: #ddd }} \
             .mark {{ stroke: #222; stroke-dasharray: 5 4 }}\n\
             @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} .back {{ fill: #111 }} \
             .grid {{ stroke: #333 }} .mark {{ stroke: #ddd }} }}</style>\n\
             <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n"
        )
    }
}
