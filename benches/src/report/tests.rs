use super::*;

fn series(subject: &str, side: Side, metric: Metric, values: &[f64]) -> Series {
    Series {
        subject: subject.to_owned(),
        family: Family::Threads,
        side,
        workload: Workload::Noop,
        metric,
        values: values.to_vec(),
    }
}

#[test]
fn quantiles_interpolate_between_neighbours() {
    let sorted = [1.0, 2.0, 3.0, 10.0];
    assert_eq!(quantile(&sorted, 0.0), 1.0);
    assert_eq!(quantile(&sorted, 0.5), 2.5);
    assert_eq!(quantile(&sorted, 1.0), 10.0);
    assert_eq!(quantile(&[7.0], 0.99), 7.0);
    assert!(quantile(&[], 0.5).is_nan());
}

#[test]
fn a_series_sorts_its_samples() {
    let series = series("x", Side::Peer, Metric::TasksPerSecond, &[3.0, 1.0, 2.0]);
    assert_eq!((series.min(), series.median(), series.max()), (1.0, 2.0, 3.0));
}

#[test]
fn a_json_line_has_the_fixed_fields_in_their_order() {
    let values = [2.5, 1.0, 4.0];
    let series = series("process://?workers=2", Side::Ours, Metric::TasksPerSecond, &values);
    assert_eq!(
        series.json(),
        r#"{"subject":"process://?workers=2","workload":"noop","metric":"tasks_per_second","min":1.0,"median":2.5,"max":4.0}"#
    );
}

#[test]
fn better_is_above_one_whichever_way_the_metric_points() {
    assert_eq!(times_better(Metric::TasksPerSecond, 200.0, 100.0), 2.0);
    assert_eq!(times_better(Metric::P50Us, 5.0, 10.0), 2.0);
    assert_eq!(times_better(Metric::BytesPerTask, 240.0, 120.0), 0.5);
}

#[test]
fn the_best_peer_is_neither_ours_nor_a_limit_nor_of_another_family() {
    for (metric, expected) in [(Metric::TasksPerSecond, "high"), (Metric::P50Us, "low")] {
        let mut all = vec![
            series("ours", Side::Ours, metric, &[1000.0]),
            series("low", Side::Peer, metric, &[10.0]),
            series("high", Side::Peer, metric, &[20.0]),
            series("middle", Side::Peer, metric, &[15.0]),
            series("limit", Side::Limit, metric, &[0.1]),
            series("far", Side::Peer, metric, &[0.01]),
            series("farther", Side::Peer, metric, &[9999.0]),
        ];
        all[5].family = Family::Network;
        all[6].family = Family::Processes;
        assert_eq!(best(&all, &all[0], Side::Peer).unwrap().subject, expected);
        assert_eq!(best(&all, &all[0], Side::Limit).unwrap().subject, "limit");
        assert!(best(&all, &all[5], Side::Limit).is_none());
    }
}

#[test]
fn a_table_shows_the_ratio_to_the_best_peer() {
    let all = [
        series("slow", Side::Peer, Metric::TasksPerSecond, &[500_000.0]),
        series("fast", Side::Peer, Metric::TasksPerSecond, &[2_000_000.0]),
        series("thread://?workers=2", Side::Ours, Metric::TasksPerSecond, &[3_000_000.0]),
    ];
    let tables = tables(&all);
    let lines: Vec<&str> = tables.lines().collect();
    assert_eq!(lines[0], "noop: tasks_per_second (higher is better)");
    assert!(lines[2].contains("thread://?workers=2") && lines[2].contains("1.50x"), "{tables}");
    assert!(lines[3].contains("fast") && lines[3].contains("2,000,000"), "{tables}");
    assert!(lines[4].contains("slow") && lines[4].contains("0.250x"), "{tables}");
}

#[test]
fn numbers_are_short_and_grouped() {
    assert_eq!(human(1_234_567.8), "1,234,568");
    assert_eq!(human(123.4), "123");
    assert_eq!(human(12.34), "12.3");
    assert_eq!(human(1.234), "1.23");
    assert_eq!(human(0.1234), "0.123");
}
