use super::*;

fn series(subject: &str, family: Family, side: Side, values: &[f64]) -> Series {
    Series {
        subject: subject.to_owned(),
        family,
        side,
        workload: Workload::Noop,
        metric: Metric::TasksPerSecond,
        values: values.to_vec(),
    }
}

/// The widths of the bars, in their order; the legend's squares are 12 wide.
fn widths(svg: &str) -> Vec<f64> {
    let after = |piece: &str| -> f64 { piece.split('"').next().unwrap().parse().unwrap() };
    let rects = svg.split("<rect x=").skip(1);
    let widths = rects.map(|rect| after(rect.split("width=\"").nth(1).unwrap()));
    widths.filter(|&width| width != 12.0).collect()
}

#[test]
fn bars_are_in_proportion_within_a_family_and_not_across() {
    let all = [
        series("a", Family::Threads, Side::Peer, &[1e6]),
        series("b", Family::Threads, Side::Ours, &[4e6]),
        series("c", Family::Processes, Side::Peer, &[10.0]),
    ];
    let expected = [BAR_LENGTH / 4.0, BAR_LENGTH, BAR_LENGTH];
    assert_eq!(widths(&svg(&all)), expected);
}

#[test]
fn names_cannot_break_the_markup() {
    let all = [series("x://?a=1&b=<2>", Family::Threads, Side::Ours, &[1.0])];
    let svg = svg(&all);
    assert!(svg.contains("x://?a=1&amp;b=&lt;2&gt;"), "{svg}");
}

#[test]
fn values_of_zero_and_no_values_at_all_still_draw() {
    let all = [series("a", Family::Threads, Side::Peer, &[0.0])];
    assert_eq!(widths(&svg(&all)), [0.0]);
    assert!(svg(&[]).ends_with("</svg>\n"));
}
