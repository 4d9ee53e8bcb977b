use super::*;

#[test]
fn every_workload_parses_back_from_its_name() {
    for workload in Workload::ALL {
        assert_eq!(workload.name().parse::<Workload>().unwrap(), workload);
    }
}

#[test]
fn an_unknown_workload_names_the_nearest() {
    let error = "rountrip".parse::<Workload>().unwrap_err().to_string();
    assert!(error.contains("did you mean `roundtrip`"), "{error}");
}

#[test]
fn quick_runs_a_tenth() {
    let full = Scale::new(Speed::Millions, false);
    let quick = Scale::new(Speed::Millions, true);
    assert_eq!(full.noop_tasks(), 1_000_000);
    assert_eq!(quick.noop_tasks(), 100_000);
    assert!(quick.round_trips() > 0 && quick.payload_echoes() > 0);
}

#[test]
fn spinning_depends_on_the_seed_and_on_each_iteration() {
    assert_ne!(spin(1, 10), spin(3, 10));
    assert_ne!(spin(1, 10), spin(1, 11));
    assert_eq!(spin_1us(7), spin(7, SPINS_PER_MICROSECOND));
}
