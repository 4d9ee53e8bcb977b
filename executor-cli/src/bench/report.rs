//! The figures, as a table for people and as JSON for programs.

use serde::Serialize;

use super::workload::{Metric, Workload};

/// One metric of one executor, over the rounds.
pub struct Series {
    subject: String,
    workload: Workload,
    metric: &'static Metric,
    values: Vec<f64>,
}

#[derive(Serialize)]
struct Line<'a> {
    subject: &'a str,
    workload: &'a str,
    metric: &'a str,
    min: f64,
    median: f64,
    max: f64,
}

impl Series {
    pub fn new(subject: &str, workload: Workload, metric: &'static Metric) -> Self {
        Self { subject: subject.to_owned(), workload, metric, values: Vec::new() }
    }

    /// Adds the value of a round.
    pub fn push(&mut self, value: f64) {
        let at = self.values.partition_point(|it| *it < value);
        self.values.insert(at, value);
    }

    fn min(&self) -> f64 {
        self.values.first().copied().unwrap_or(0.0)
    }

    fn max(&self) -> f64 {
        self.values.last().copied().unwrap_or(0.0)
    }

    fn median(&self) -> f64 {
        match self.values.len() {
            0 => 0.0,
            len if len % 2 == 1 => self.values[len / 2],
            len => f64::midpoint(self.values[len / 2 - 1], self.values[len / 2]),
        }
    }

    /// One object on one line.
    pub fn json(&self) -> String {
        let line = Line {
            subject: &self.subject,
            workload: self.workload.name(),
            metric: self.metric.name,
            min: self.min(),
            median: self.median(),
            max: self.max(),
        };
        serde_json::to_string(&line).expect("strings and finite numbers have a JSON form")
    }
}

/// A block for each metric, with how each executor compares to the best.
pub fn table(series: &[Series]) -> String {
    let mut out = String::new();
    let width = series.iter().map(|it| it.subject.chars().count()).max().unwrap_or(0).max(7);
    for block in series.chunk_by(|a, b| a.workload == b.workload) {
        for metric in block[0].workload.metrics() {
            let rows: Vec<&Series> = block.iter().filter(|it| it.metric == metric).collect();
            let better = |a: f64, b: f64| if metric.higher_is_better { a.max(b) } else { a.min(b) };
            let best = rows.iter().map(|it| it.median()).reduce(better).unwrap_or(0.0);
            out += &format!("{} {}\n", block[0].workload.name(), metric.name);
            out +=
                &format!("  {:width$} {:>11} {:>11} {:>11} {:>8}\n", "", "min", "median", "max", "of best");
            for row in rows {
                let ratio = match metric.higher_is_better {
                    true => row.median() / best,
                    false => best / row.median(),
                };
                out += &format!(
                    "  {:width$} {:>11} {:>11} {:>11} {:>7}%\n",
                    row.subject,
                    number(row.min()),
                    number(row.median()),
                    number(row.max()),
                    percent(100.0 * ratio),
                );
            }
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}

fn percent(value: f64) -> String {
    match value {
        it if it >= 10.0 => format!("{it:.0}"),
        it => format!("{it:.2}"),
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        it if it >= 1e6 => format!("{:.2} M", value / 1e6),
        it if it >= 1e4 => format!("{:.1} k", value / 1e3),
        it if it >= 100.0 => format!("{value:.0}"),
        it if it >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(subject: &str, values: &[f64]) -> Series {
        let mut series = Series::new(subject, Workload::Noop, &Workload::Noop.metrics()[0]);
        for value in values {
            series.push(*value);
        }
        series
    }

    #[test]
    fn json_has_the_median_between_the_extremes() {
        let line = series("thread://?workers=2", &[4.0, 1.0, 2.0]).json();
        assert_eq!(
            line,
            r#"{"subject":"thread://?workers=2","workload":"noop","metric":"tasks_per_second","min":1.0,"median":2.0,"max":4.0}"#
        );
        assert!(series("x", &[1.0, 4.0]).json().contains(r#""median":2.5"#));
    }

    #[test]
    fn the_table_compares_with_the_best() {
        let table = table(&[series("serial://", &[2e6]), series("thread://", &[500.0, 1e6])]);
        assert_eq!(
            table,
            "noop tasks_per_second\n                    min      median         max  of best\n\
             \x20 serial://      2.00 M      2.00 M      2.00 M     100%\n\
             \x20 thread://         500     500.2 k      1.00 M      25%\n"
        );
    }
}
