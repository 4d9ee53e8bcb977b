//! From samples to figures: quantiles, the JSON lines that programs read, and the tables that people read.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde::Serialize;

use crate::subject::{Family, Side};
use crate::workload::{Metric, Workload};

/// All samples of one metric of one workload of one subject.
#[derive(Clone, Debug)]
pub struct Series {
    /// The subject's fixed name.
    pub subject: String,
    /// With whom it is compared.
    pub family: Family,
    /// On which side it stands.
    pub side: Side,
    /// The workload.
    pub workload: Workload,
    /// The metric.
    pub metric: Metric,
    /// A value a round.
    pub values: Vec<f64>,
}

/// A line of the JSON output. Other programs read it: the fields and their order are fixed.
#[derive(Debug, Serialize)]
struct Line<'a> {
    subject: &'a str,
    workload: &'static str,
    metric: &'static str,
    min: f64,
    median: f64,
    max: f64,
}

impl Series {
    /// The smallest sample.
    pub fn min(&self) -> f64 {
        quantile(&self.sorted(), 0.0)
    }

    /// The middle sample, or the mean of the middle two.
    pub fn median(&self) -> f64 {
        quantile(&self.sorted(), 0.5)
    }

    /// The largest sample.
    pub fn max(&self) -> f64 {
        quantile(&self.sorted(), 1.0)
    }

    /// The series as one JSON object without a line break.
    pub fn json(&self) -> String {
        let line = Line {
            subject: &self.subject,
            workload: self.workload.name(),
            metric: self.metric.name(),
            min: self.min(),
            median: self.median(),
            max: self.max(),
        };
        serde_json::to_string(&line).expect("strings and numbers always encode")
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// The value at `q` (0 to 1) of sorted values, interpolated between neighbours; NaN of none.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = q * last as f64;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// How many times better `value` is than `reference`: above 1 is better, whichever way the metric points.
pub fn times_better(metric: Metric, value: f64, reference: f64) -> f64 {
    if metric.higher_is_better() { value / reference } else { reference / value }
}

/// The order of two values, the better one being the greater.
fn rank(metric: Metric, a: f64, b: f64) -> Ordering {
    if metric.higher_is_better() { a.total_cmp(&b) } else { b.total_cmp(&a) }
}

/// The best median among those of the family and metric of `series` that stand on `side`.
pub fn best<'a>(all: &'a [Series], series: &Series, side: Side) -> Option<&'a Series> {
    all.iter()
        .filter(|other| {
            other.workload == series.workload
                && other.metric == series.metric
                && other.family == series.family
                && other.side == side
        })
        .max_by(|a, b| rank(a.metric, a.median(), b.median()))
}

/// The tables: one per metric, families apart, best first.
pub fn tables(all: &[Series]) -> String {
    let mut out = String::new();
    for workload in Workload::ALL {
        for &metric in workload.metrics() {
            let rows: Vec<&Series> =
                all.iter().filter(|series| series.workload == workload && series.metric == metric).collect();
            if !rows.is_empty() {
                table(&mut out, all, rows, workload, metric);
            }
        }
    }
    out
}

fn table(out: &mut String, all: &[Series], mut rows: Vec<&Series>, workload: Workload, metric: Metric) {
    rows.sort_by(|a, b| {
        let best_first = rank(metric, b.median(), a.median());
        family_rank(a.family).cmp(&family_rank(b.family)).then(best_first)
    });
    let direction = if metric.higher_is_better() { "higher" } else { "lower" };
    let title = format!("{workload}: {} ({direction} is better)", metric.name());
    let columns = ["median", "min", "max", "of best peer", "of limit"];
    // Writing into a String cannot fail.
    let _ = write!(out, "{title}\n  {:28}", "");
    for column in columns {
        let _ = write!(out, "{column:>13}");
    }
    out.push('\n');
    let mut family = None;
    for row in rows {
        if family.replace(row.family).is_some_and(|last| last != row.family) {
            let _ = writeln!(out, "  {}", "-".repeat(28 + 13 * columns.len()));
        }
        let _ = write!(out, "  {:28}", row.subject);
        for value in [row.median(), row.min(), row.max()] {
            let _ = write!(out, "{:>13}", human(value));
        }
        for side in [Side::Peer, Side::Limit] {
            let ratio =
                best(all, row, side).map(|reference| times_better(metric, row.median(), reference.median()));
            // Of figures that may be zero, as those of an idle pool, there is not always one.
            let ratio = ratio
                .filter(|ratio| ratio.is_finite())
                .map_or_else(|| "-".to_owned(), |r| format!("{}x", human(r)));
            let _ = write!(out, "{ratio:>13}");
        }
        out.push('\n');
    }
    out.push('\n');
}

fn family_rank(family: Family) -> usize {
    match family {
        Family::Threads => 0,
        Family::Processes => 1,
        Family::Network => 2,
    }
}

/// A number with three significant digits, or all that are left of the point, and thousands set apart.
pub fn human(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return value.to_string();
    }
    if size >= 100.0 {
        return grouped(value.round() as i64);
    }
    let decimals = if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::from(if value < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
