//! Collects figures, prints the table, writes the JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::args::Side;
use crate::metric::{Fold, Metric, Must};

/// All figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: BTreeMap<Metric, [Vec<f64>; 2]>,
    quick: bool,
}

/// One row, finished.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) metric: Metric,
    title: String,
    unit: &'static str,
    etcd: Option<f64>,
    vetch: Option<f64>,
    /// vetch / etcd; the median of the rounds' ratios where rounds are folded by their median.
    ratio: Option<f64>,
    /// Lowest and highest ratio of a round.
    ratio_spread: Option<[f64; 2]>,
    must: String,
    met: Option<bool>,
    etcd_rounds: Vec<f64>,
    vetch_rounds: Vec<f64>,
}

impl Row {
    /// Whether a must is known not to hold.
    pub(crate) fn missed(&self) -> bool {
        self.met == Some(false)
    }
}

impl Report {
    pub(crate) fn new(quick: bool) -> Self {
        Self { figures: BTreeMap::new(), quick }
    }

    /// One round's figure, in the metric's unit.
    pub(crate) fn record(&mut self, metric: Metric, side: Side, figure: f64) {
        self.figures.entry(metric).or_default()[side as usize].push(figure);
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.figures.iter().map(|(metric, figures)| self.row(*metric, figures)).collect()
    }

    fn row(&self, metric: Metric, [etcd_rounds, vetch_rounds]: &[Vec<f64>; 2]) -> Row {
        let spec = metric.spec();
        let etcd = fold(spec.fold, etcd_rounds);
        let vetch = fold(spec.fold, vetch_rounds);
        let ratios: Vec<f64> =
            etcd_rounds.iter().zip(vetch_rounds).map(|(etcd, vetch)| vetch / etcd).collect();
        let ratio = match spec.fold {
            Fold::Median => fold(Fold::Median, &ratios),
            Fold::Middle | Fold::Highest => etcd.zip(vetch).map(|(etcd, vetch)| vetch / etcd),
        };
        let judged = !(self.quick && spec.big);
        Row {
            metric,
            title: if self.quick { quick(spec.title) } else { spec.title.into() },
            unit: spec.unit,
            etcd,
            vetch,
            ratio,
            ratio_spread: lowest(&ratios).zip(fold(Fold::Highest, &ratios)).map(|(l, h)| [l, h]),
            must: describe(spec.must, spec.unit),
            met: met(spec.must, vetch, ratio).filter(|_| judged),
            etcd_rounds: etcd_rounds.clone(),
            vetch_rounds: vetch_rounds.clone(),
        }
    }
}

/// What a quick run has done instead.
fn quick(title: &str) -> String {
    title.replace("1 M", "100 k").replace("1 GiB", "64 MiB")
}

fn fold(fold: Fold, figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some(match fold {
        Fold::Median | Fold::Middle => f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]),
        Fold::Highest => sorted[last],
    })
}

fn lowest(figures: &[f64]) -> Option<f64> {
    figures.iter().copied().min_by(f64::total_cmp)
}

fn met(must: Must, vetch: Option<f64>, ratio: Option<f64>) -> Option<bool> {
    match must {
        Must::None => None,
        Must::AtMostTimes(limit) => ratio.map(|ratio| ratio <= limit),
        Must::AtLeastTimes(limit) => ratio.map(|ratio| ratio >= limit),
        Must::AtMost(limit) => vetch.map(|vetch| vetch <= limit),
    }
}

fn describe(must: Must, unit: &str) -> String {
    match must {
        Must::None => String::new(),
        Must::AtMostTimes(limit) => format!("≤ {limit} × etcd"),
        Must::AtLeastTimes(limit) => format!("≥ {limit} × etcd"),
        Must::AtMost(limit) if unit == "×" => format!("≤ {limit}"),
        Must::AtMost(limit) => format!("≤ {limit} {unit}"),
    }
}

/// The table as Markdown with aligned columns.
pub(crate) fn table(rows: &[Row]) -> String {
    let header = ["row", "unit", "etcd", "vetch", "ratio", "rounds", "must", "met?"];
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, cell) in line.iter().enumerate() {
            let fill = " ".repeat(widths[column] - cell.chars().count());
            let right = matches!(column, 2..=5);
            let (before, after) = if right { (fill.as_str(), "") } else { ("", fill.as_str()) };
            let _infallible = write!(text, "| {before}{cell}{after} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                let end = if matches!(column, 2..=5) { ":" } else { "-" };
                let _infallible = write!(text, "|{dashes}{end}");
            }
            text.push_str("|\n");
        }
    }
    text
}

fn cells(row: &Row) -> [String; 8] {
    let figure = |value: Option<f64>| value.map_or_else(|| "–".into(), readable);
    let met = match (row.met, row.must.is_empty()) {
        (Some(true), _) => "yes",
        (Some(false), _) => "NO",
        (None, true) => "",
        (None, false) => "not judged",
    };
    [
        row.title.clone(),
        row.unit.into(),
        figure(row.etcd),
        figure(row.vetch),
        figure(row.ratio),
        row.ratio_spread
            .map(|[l, h]| format!("{}–{}", readable(l), readable(h)))
            .unwrap_or_default(),
        row.must.clone(),
        met.into(),
    ]
}

/// Three digits and more.
fn readable(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(etcd: &[f64], vetch: &[f64], metric: Metric, quick: bool) -> Row {
        let mut report = Report::new(quick);
        for figure in etcd {
            report.record(metric, Side::Etcd, *figure);
        }
        for figure in vetch {
            report.record(metric, Side::Vetch, *figure);
        }
        report.rows().remove(0)
    }

    #[test]
    fn the_ratio_is_the_median_of_paired_rounds() {
        // The machine got twice as slow in the second round, for both.
        let row = report(&[100.0, 200.0, 100.0], &[80.0, 160.0, 79.0], Metric::Put1P50, false);
        assert_eq!(row.ratio, Some(0.8));
        assert_eq!(row.met, Some(true));
        let row = report(&[100.0], &[86.0], Metric::Put1P50, false);
        assert_eq!(row.met, Some(false));
    }

    #[test]
    fn throughput_must_be_higher_and_gaps_are_judged_by_the_worst_round() {
        assert_eq!(report(&[10.0], &[14.0], Metric::Put256Rate, false).met, Some(false));
        assert_eq!(report(&[10.0], &[15.0], Metric::Put256Rate, false).met, Some(true));
        let row = report(&[2_000.0, 2_100.0], &[4.0, 31.0], Metric::GapDefragment, false);
        assert_eq!((row.vetch, row.met), (Some(31.0), Some(false)));
    }

    #[test]
    fn what_chance_decides_is_compared_by_its_medians() {
        let row = report(
            &[1_000.0, 3_000.0, 1_500.0],
            &[1_400.0, 900.0, 2_000.0],
            Metric::ThreeKillGap,
            false,
        );
        assert_eq!((row.etcd, row.vetch, row.met), (Some(1_500.0), Some(1_400.0), Some(true)));
    }

    #[test]
    fn quick_runs_do_not_judge_the_big_store_and_one_side_has_no_ratio() {
        let row = report(&[1.0], &[1.0], Metric::PageBig, true);
        assert_eq!(row.met, None);
        assert!(row.title.contains("100 k"));
        let row = report(&[], &[20.0], Metric::Put1P50, false);
        assert_eq!((row.ratio, row.met), (None, None));
    }

    #[test]
    fn the_table_shows_what_is_missed() {
        let text = table(&[report(&[100.0], &[86.0], Metric::Put1P50, false)]);
        assert!(text.contains("| NO"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
