//! Horizontal bars of parts, as SVG text.

use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;

use super::{COLORS, Drawn, failure};
use crate::exit::Failure;

/// Bars below each other, the first on top.
pub(crate) struct Stacked {
    pub(crate) bars: Vec<Bar>,
    /// What the values of every bar are, from left to right.
    pub(crate) parts: Vec<String>,
    /// What is measured.
    pub(crate) axis: String,
}

/// One bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    /// One for each part, none negative.
    pub(crate) values: Vec<f64>,
}

const ROW: u32 = 30;
const FONT: (&str, u32) = ("sans-serif", 13);

impl Stacked {
    /// The plot; nothing for no bars.
    pub(crate) fn svg(&self) -> Result<String, Failure> {
        let mut svg = String::new();
        if !self.bars.is_empty() {
            self.draw(&mut svg).map_err(failure)?;
        }
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Drawn {
        let lines = self.bars.len().max(self.parts.len().div_ceil(2)) as u32;
        let root = SVGBackend::with_string(svg, (820, 90 + ROW * lines)).into_drawing_area();
        let most = self.bars.iter().map(Bar::total).fold(f64::MIN_POSITIVE, f64::max);
        let rows = (0..self.bars.len().saturating_sub(1)).into_segmented();
        let mut builder = ChartBuilder::on(&root);
        builder.margin(12).x_label_area_size(40).y_label_area_size(150);
        // Room for the total behind the longest bar and for the legend.
        let mut chart = builder.build_cartesian_2d(0.0..1.35 * most, rows)?;
        let name = |at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(row) => {
                self.bar_in_row(*row).map_or_else(String::new, |bar| bar.label.clone())
            }
            _ => String::new(),
        };
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh().max_light_lines(1).y_labels(self.bars.len()).y_label_formatter(&name);
        let number = |value: &f64| if most >= 10.0 { format!("{value:.0}") } else { format!("{value:.1}") };
        mesh.x_label_formatter(&number).x_desc(self.axis.as_str()).label_style(FONT).draw()?;
        for (index, part) in self.parts.iter().enumerate() {
            let color = color(index);
            let drawn = chart.draw_series((0..self.bars.len()).filter_map(|row| {
                let (from, to) = self.bar_in_row(row)?.part(index);
                let corners = [(from, SegmentValue::Exact(row)), (to, SegmentValue::Exact(row + 1))];
                let mut rectangle = Rectangle::new(corners, color.filled());
                rectangle.set_margin(5, 5, 0, 0);
                Some(rectangle)
            }))?;
            drawn
                .label(part)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.filled()));
        }
        chart.draw_series((0..self.bars.len()).filter_map(|row| {
            let total = self.bar_in_row(row)?.total();
            let style = FONT.into_font().into_text_style(&root);
            Some(
                EmptyElement::at((total, SegmentValue::CenterOf(row)))
                    + Text::new(amount(total), (6, -7), style),
            )
        }))?;
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::LowerRight).label_font(FONT);
        legend.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2)).draw()?;
        Ok(root.present()?)
    }

    /// The bar in a row counted from the bottom.
    fn bar_in_row(&self, row: usize) -> Option<&Bar> {
        self.bars.get(self.bars.len().checked_sub(row + 1)?)
    }
}

impl Bar {
    fn total(&self) -> f64 {
        self.values.iter().sum()
    }

    /// Where a part begins and ends.
    fn part(&self, index: usize) -> (f64, f64) {
        let before: f64 = self.values.iter().take(index).sum();
        (before, before + self.values.get(index).copied().unwrap_or(0.0))
    }
}

fn amount(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Okabe and Ito's colours, then the same paler.
fn color(index: usize) -> RGBAColor {
    COLORS[index % COLORS.len()].mix(if index < COLORS.len() { 1.0 } else { 0.5 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, values: &[f64]) -> Bar {
        Bar { label: label.to_owned(), values: values.to_vec() }
    }

    #[test]
    fn every_part_has_its_name_and_every_bar_its_total() {
        let parts = vec!["a <1>".to_owned(), "b".to_owned()];
        let bars = vec![bar("x & y", &[1000.0, 234.0]), bar("z", &[0.0, 0.5])];
        let svg = Stacked { bars, parts, axis: "MB".to_owned() }.svg().unwrap();
        for text in ["a &lt;1&gt;", "x &amp; y", "1234", "0.50", "MB"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn nothing_and_zeros_are_no_failure() {
        let none = Stacked { bars: Vec::new(), parts: Vec::new(), axis: String::new() };
        assert_eq!(none.svg().unwrap(), "");
        let zero = Stacked { bars: vec![bar("a", &[0.0])], parts: vec!["p".to_owned()], axis: String::new() };
        let svg = zero.svg().unwrap();
        assert!(svg.contains("</svg>") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
