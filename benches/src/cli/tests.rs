use clap::CommandFactory;

use super::*;

fn parse(args: &[&str]) -> Result<Args, clap::Error> {
    Args::try_parse_from(std::iter::once("benches").chain(args.iter().copied()))
}

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn lists_are_split_at_commas_and_workloads_keep_their_fixed_order() {
    let args = parse(&["--only", "procspawn,thread://?workers=2", "--workload", "map,noop"]).unwrap();
    assert_eq!(args.only, ["procspawn", "thread://?workers=2"]);
    assert_eq!(args.workloads(), [Workload::Noop, Workload::Map]);
}

#[test]
fn without_a_workload_all_are_run() {
    assert_eq!(parse(&[]).unwrap().workloads(), Workload::ALL);
}

#[test]
fn a_mistyped_workload_is_an_error_that_names_the_nearest() {
    let error = parse(&["--workload", "nop"]).unwrap_err().to_string();
    assert!(error.contains("did you mean `noop`"), "{error}");
}

#[test]
fn zero_rounds_are_refused() {
    assert!(parse(&["--rounds", "0"]).is_err());
}

#[test]
fn quick_means_three_rounds_unless_told() {
    assert_eq!(parse(&[]).unwrap().rounds(), 5);
    assert_eq!(parse(&["--quick"]).unwrap().rounds(), 3);
    assert_eq!(parse(&["--quick", "--rounds", "7"]).unwrap().rounds(), 7);
}
