//! Labelled points and a line among them, as SVG text.

use std::ops::Range;

use plotters::prelude::*;

use super::{BAR, Drawn, failure};
use crate::exit::Failure;

/// One plot.
pub(super) struct Scatter<'a> {
    /// What the axes measure.
    pub(super) axes: [&'a str; 2],
    /// What they show.
    pub(super) ranges: [Range<f64>; 2],
    /// Joined in this order, behind the points.
    pub(super) line: Vec<(f64, f64)>,
    /// The points; those of later series lie on top.
    pub(super) series: Vec<Series<'a>>,
}

/// Points of one look.
pub(super) struct Series<'a> {
    /// For the legend; none if empty.
    pub(super) name: &'a str,
    /// Filled or a ring.
    pub(super) style: ShapeStyle,
    pub(super) dots: Vec<Dot<'a>>,
}

/// One point.
#[derive(Clone, Copy)]
pub(super) struct Dot<'a> {
    /// Written beside it; nothing if empty.
    label: &'a str,
    at: (f64, f64),
}

/// Across from the left, down from the top.
type Pixel = (i32, i32);

/// Left, top, right, bottom in pixels.
type Frame = [i32; 4];

const SIZE: (u32, u32) = (720, 400);
const RADIUS: i32 = 5;
const FONT: (&str, u32) = ("sans-serif", 13);
const LINE_HEIGHT: i32 = 14;

impl<'a> Dot<'a> {
    pub(super) fn new(label: &'a str, x: f64, y: f64) -> Self {
        Self { label, at: (x, y) }
    }
}

impl Scatter<'_> {
    /// The plot.
    pub(super) fn svg(&self) -> Result<String, Failure> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(failure)?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Drawn {
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let mut builder = ChartBuilder::on(&root);
        builder.margin(12).x_label_area_size(44).y_label_area_size(70);
        let [x, y] = self.ranges.clone();
        let mut chart = builder.build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .max_light_lines(1)
            .x_desc(self.axes[0])
            .y_desc(self.axes[1])
            .label_style(("sans-serif", 15))
            .draw()?;
        chart.draw_series(LineSeries::new(self.line.iter().copied(), BAR.stroke_width(2)))?;
        for series in &self.series {
            let dot = |dot: &Dot<'_>| Circle::new(dot.at, RADIUS, series.style);
            let drawn = chart.draw_series(series.dots.iter().map(dot))?;
            if !series.name.is_empty() {
                let style = series.style;
                drawn.label(series.name).legend(move |(x, y)| Circle::new((x + 10, y), RADIUS, style));
            }
        }
        if self.series.iter().any(|series| !series.name.is_empty()) {
            let mut legend = chart.configure_series_labels();
            legend.position(SeriesLabelPosition::UpperLeft).label_font(FONT);
            legend.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2)).draw()?;
        }
        let (across, down) = chart.plotting_area().get_pixel_range();
        let inside = [across.start, down.start, across.end, down.end];
        for (label, at) in self.labels(&|at| chart.backend_coord(at), inside) {
            root.draw(&Text::new(label, at, FONT))?;
        }
        Ok(root.present()?)
    }

    /// Every label and where it begins.
    fn labels(&self, pixel: &dyn Fn(&(f64, f64)) -> Pixel, inside: Frame) -> Vec<(&str, Pixel)> {
        let dots = || self.series.iter().flat_map(|series| &series.dots);
        let labels: Vec<&str> = dots().map(|dot| dot.label).collect();
        let points: Vec<Pixel> = dots().map(|dot| pixel(&dot.at)).collect();
        let line: Vec<Pixel> = self.line.iter().map(pixel).collect();
        let places = places(&labels, &points, &line, inside);
        labels.into_iter().zip(places).filter(|(label, _)| !label.is_empty()).collect()
    }
}

/// The upper left corner of every label: beside its point, where it covers no point, no label before it, and nothing of
/// the line, if there is such a place.
fn places(labels: &[&str], points: &[Pixel], line: &[Pixel], inside: Frame) -> Vec<Pixel> {
    let around = |(x, y): Pixel, by: i32| [x - by, y - by, x + by, y + by];
    let line = line.windows(2).flat_map(|pair| between(pair[0], pair[1])).map(|at| around(at, 1));
    let mut taken: Vec<Frame> = points.iter().map(|&at| around(at, RADIUS)).chain(line).collect();
    let place = |(label, &at): (&&str, &Pixel)| {
        let width = 7 * label.chars().count() as i32;
        let frame = |(left, top): Pixel| [left, top, left + width, top + LINE_HEIGHT];
        let free = |&at: &Pixel| {
            let frame = frame(at);
            contains(inside, frame) && !taken.iter().any(|&taken| overlap(taken, frame))
        };
        let mut candidates = candidates(at, width);
        let at = candidates.find(free).unwrap_or((at.0 + RADIUS, at.1));
        if width > 0 {
            taken.push(frame(at));
        }
        at
    };
    labels.iter().zip(points).map(place).collect()
}

/// Where a label of this width may begin, the best first: to the right, to the left, above, below, further off.
fn candidates((x, y): Pixel, width: i32) -> impl Iterator<Item = Pixel> {
    let sides = [x + RADIUS + 4, x - RADIUS - 4 - width];
    let (middle, centre) = (y - LINE_HEIGHT / 2, x - width / 2);
    let beside = sides.map(|left| (left, middle));
    let around = [(centre, y - RADIUS - 2 - LINE_HEIGHT), (centre, y + RADIUS + 2)];
    let lines = (1..6).flat_map(|lines| [-lines, lines]);
    let further = lines.flat_map(move |lines| sides.map(|left| (left, middle + lines * LINE_HEIGHT)));
    beside.into_iter().chain(around).chain(further)
}

/// Points from `a` to `b`, close enough that no label fits between two.
fn between(a: Pixel, b: Pixel) -> impl Iterator<Item = Pixel> {
    let steps = ((b.0 - a.0).abs().max((b.1 - a.1).abs()) / (LINE_HEIGHT / 2)).max(1);
    (0..=steps).map(move |step| (a.0 + (b.0 - a.0) * step / steps, a.1 + (b.1 - a.1) * step / steps))
}

fn overlap(a: Frame, b: Frame) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

fn contains(outer: Frame, inner: Frame) -> bool {
    outer[0] <= inner[0] && outer[1] <= inner[1] && inner[2] <= outer[2] && inner[3] <= outer[3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cover_neither_points_nor_line_nor_each_other_and_stay_inside() {
        let points = [(50, 50), (52, 51), (54, 49), (50, 50), (290, 150), (10, 5)];
        let labels = ["seed 1", "seed 2", "seed 3", "seed 4", "at the edge", "corner"];
        let line = [(0, 90), (50, 90), (50, 50), (300, 50)];
        let inside = [0, 0, 300, 200];
        let frames: Vec<Frame> = labels
            .iter()
            .zip(places(&labels, &points, &line, inside))
            .map(|(label, (x, y))| [x, y, x + 7 * label.len() as i32, y + LINE_HEIGHT])
            .collect();
        for (index, &frame) in frames.iter().enumerate() {
            assert!(contains(inside, frame), "{frame:?}");
            let [horizontal, vertical] = [[50, 50, 300, 50], [50, 50, 50, 90]];
            assert!(!overlap(horizontal, frame) && !overlap(vertical, frame), "{index}");
            assert!(frames[..index].iter().all(|&other| !overlap(other, frame)), "{index}");
            assert!(points.iter().all(|&(x, y)| !overlap([x - 5, y - 5, x + 5, y + 5], frame)), "{index}");
        }
    }

    #[test]
    fn names_are_text_and_the_line_is_there() {
        let series = |name| Series { name, style: BAR.filled(), dots: vec![Dot::new("<b>&", 1.0, 2.0)] };
        let line = vec![(0.0, 0.0), (1.0, 2.0)];
        let scatter =
            Scatter { axes: ["x", "y"], ranges: [0.0..2.0, 0.0..3.0], line, series: vec![series("a<i>")] };
        let svg = scatter.svg().unwrap();
        assert!(
            svg.contains("<polyline") && svg.contains("<circle") && svg.contains("&lt;b&gt;&amp;"),
            "{svg}"
        );
        assert!(svg.contains("a&lt;i&gt;") && !svg.contains("<b>") && !svg.contains("NaN"));
    }
}
