//! When an agent is out.

use super::super::RemoteConfig;
use super::*;

#[test]
fn an_agent_that_is_being_greeted_is_not_out_before_that_has_failed() {
    let start = Instant::now();
    let config = RemoteConfig::new(["127.0.0.1:1".parse().unwrap()]);
    let late = start + 100 * config.unreachable;
    let mut core = Core::new(&config, start);
    let mut after = After::default();
    core.on_reached(0);
    core.look_for_out(&mut after, late);
    assert!(core.out().is_none(), "it may be taking the executable");
    let error = TaskError::unreachable("127.0.0.1:1", "it has left");
    core.on_not_connected(0, error.clone(), false, &mut after, late);
    assert_eq!(core.out(), Some(&error));
    after.finish();
}

#[test]
fn an_agent_that_does_not_answer_is_out_after_a_while() {
    let start = Instant::now();
    let config = RemoteConfig::new(["127.0.0.1:1".parse().unwrap()]);
    let mut core = Core::new(&config, start);
    let mut after = After::default();
    core.look_for_out(&mut after, start + config.unreachable / 2);
    assert!(core.out().is_none());
    core.look_for_out(&mut after, start + config.unreachable);
    assert!(core.out().is_some());
    after.finish();
}
