//! Draws the medians as bars into an SVG written by hand: a panel per metric, in two columns; within it a group per
//! family with a scale of its own, because a process pool beside a thread pool would be a bar of no length.
//! A thin line over each bar spans minimum to maximum.

use std::fmt::Write as _;

use crate::report::{Series, human};
use crate::subject::{Family, Side};
use crate::workload::{Metric, Workload};

const COLUMN: f64 = 560.0;
const MARGIN: f64 = 24.0;
const TITLE: f64 = 30.0;
const GROUP: f64 = 18.0;
const ROW: f64 = 20.0;
const PANEL_GAP: f64 = 22.0;
/// Where bars begin and how long the longest is, from the left of the panel; the value is written behind it.
const BAR_LEFT: f64 = 210.0;
const BAR_LENGTH: f64 = 260.0;

const FAMILIES: [(Family, &str); 3] =
    [(Family::Threads, "threads"), (Family::Processes, "processes"), (Family::Network, "network")];

/// The whole picture.
pub fn svg(all: &[Series]) -> String {
    let header = MARGIN + 34.0;
    let mut body = String::new();
    let mut bottoms = [header; 2];
    for workload in Workload::ALL {
        for &metric in workload.metrics() {
            let groups = groups(all, workload, metric);
            if groups.is_empty() {
                continue;
            }
            let column = usize::from(bottoms[1] < bottoms[0]);
            let left = MARGIN + column as f64 * (COLUMN + MARGIN);
            let top = bottoms[column];
            bottoms[column] = panel(&mut body, &groups, workload, metric, left, top) + PANEL_GAP;
        }
    }
    let width = 3.0 * MARGIN + 2.0 * COLUMN;
    let height = bottoms[0].max(bottoms[1]) + MARGIN - PANEL_GAP;
    let mut out = String::new();
    // Here and below: writing into a String cannot fail.
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{INK}">
    <rect width="{width}" height="{height}" fill="white"/>"#
    );
    legend(&mut out);
    out.push_str(&body);
    out.push_str("</svg>\n");
    out
}

const INK: &str = "#1f2933";

fn colour(side: Side) -> &'static str {
    match side {
        Side::Ours => "#1f6feb",
        Side::Peer => "#a9b4c0",
        Side::Limit => "#e3b341",
    }
}

fn legend(out: &mut String) {
    let entries = [(Side::Ours, "executor"), (Side::Peer, "peers"), (Side::Limit, "limit of the machine")];
    let mut x = MARGIN;
    for (side, text) in entries {
        let (y, fill) = (MARGIN, colour(side));
        let _ = writeln!(
            out,
            r#"<rect x="{x}" y="{y}" width="12" height="12" fill="{fill}"/><text x="{}" y="{}">{text}</text>"#,
            x + 18.0,
            y + 10.5,
        );
        x += 40.0 + 7.0 * text.len() as f64;
    }
    let _ = writeln!(
        out,
        r#"<text x="{x}" y="{}" fill="{FAINT}">medians, lines from minimum to maximum; each group has its own scale</text>"#,
        MARGIN + 10.5,
    );
}

const FAINT: &str = "#667380";

type Group<'a> = (&'static str, Vec<&'a Series>);

/// The series of a metric by family, without the empty families.
fn groups(all: &[Series], workload: Workload, metric: Metric) -> Vec<Group<'_>> {
    let of_family = |family| -> Vec<&Series> {
        let wanted = |s: &&Series| (s.workload, s.metric, s.family) == (workload, metric, family);
        all.iter().filter(wanted).collect()
    };
    FAMILIES
        .iter()
        .map(|&(family, name)| (name, of_family(family)))
        .filter(|(_, series)| !series.is_empty())
        .collect()
}

/// Draws a panel and returns its bottom.
fn panel(
    out: &mut String,
    groups: &[Group<'_>],
    workload: Workload,
    metric: Metric,
    left: f64,
    top: f64,
) -> f64 {
    let better = if metric.higher_is_better() { "longer is better" } else { "shorter is better" };
    let _ = writeln!(
        out,
        r#"<text x="{left}" y="{}" font-size="15" font-weight="bold">{workload}: {} <tspan font-size="12" font-weight="normal" fill="{FAINT}">{better}</tspan></text>"#,
        top + 15.0,
        metric.name(),
    );
    let mut y = top + TITLE;
    for (name, series) in groups {
        let _ = writeln!(
            out,
            r#"<text x="{left}" y="{}" font-size="11" fill="{FAINT}">{name}</text>"#,
            y + 11.0,
        );
        y += GROUP;
        let longest = series.iter().map(|s| s.max()).fold(0.0, f64::max);
        for series in series {
            bar(out, series, longest, left, y);
            y += ROW;
        }
    }
    y
}

fn bar(out: &mut String, series: &Series, longest: f64, left: f64, y: f64) {
    // The scale ends at the largest maximum, so that no line leaves the panel.
    let length = |value: f64| {
        if longest > 0.0 { value / longest * BAR_LENGTH } else { 0.0 }
    };
    let start = left + BAR_LEFT;
    let (from, to) = (start + length(series.min()), start + length(series.max()));
    let middle = y + 9.0;
    let _ = writeln!(
        out,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text><rect x="{start:.1}" y="{:.1}" width="{:.1}" height="13" fill="{}"/><line x1="{from:.1}" y1="{middle:.1}" x2="{to:.1}" y2="{middle:.1}" stroke="{INK}"/><text x="{:.1}" y="{:.1}">{}</text>"#,
        start - 8.0,
        y + 13.0,
        escaped(&series.subject),
        y + 2.5,
        length(series.median()),
        colour(series.side),
        to.max(start + length(series.median())) + 6.0,
        y + 13.0,
        human(series.median()),
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
