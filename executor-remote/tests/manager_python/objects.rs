//! What objects do for Python's proxies.

use executor_remote::manager::Registry;
use serde::Deserialize;

use crate::support::{Python, run, serve, unix_address};

tests![
    every_type_of_a_sync_manager_works_over_tcp,
    every_type_of_a_sync_manager_works_over_a_unix_socket,
    proxies_that_know_nothing_but_what_the_server_tells_work,
    locks_exclude_threads,
    the_server_answers_about_itself,
    a_proxy_is_stored_inside_of_another_object,
    a_wrong_key_is_an_authentication_error,
    types_of_users_have_their_methods,
    a_client_can_end_the_server,
];

fn every_type_of_a_sync_manager_works_over_tcp() {
    run(&serve("127.0.0.1:0", Registry::new()).address, "sync");
}

fn every_type_of_a_sync_manager_works_over_a_unix_socket() {
    run(&serve(&unix_address("sync"), Registry::new()).address, "sync");
}

fn proxies_that_know_nothing_but_what_the_server_tells_work() {
    run(&serve(&unix_address("base"), Registry::new()).address, "base");
}

fn locks_exclude_threads() {
    run(&serve(&unix_address("locks"), Registry::new()).address, "locks");
}

fn the_server_answers_about_itself() {
    run(&serve("127.0.0.1:0", Registry::new()).address, "server");
}

fn a_proxy_is_stored_inside_of_another_object() {
    run(&serve(&unix_address("nested"), Registry::new()).address, "nested");
}

fn a_wrong_key_is_an_authentication_error() {
    let served = serve("127.0.0.1:0", Registry::new());
    Python::start(&served.address, "another", "wrong_key").finish();
}

/// Takes its argument by position or by name.
#[derive(Deserialize)]
struct Step {
    n: i64,
}

struct Counter {
    count: i64,
}

fn types_of_users_have_their_methods() {
    let registry = Registry::new()
        .register("Counter", |start: i64| Counter { count: start })
        .method("add", |counter: &mut Counter, step: Step| {
            counter.count += step.n;
            counter.count
        })
        .method("count", |counter: &mut Counter, (): ()| counter.count)
        .method("panic", |_: &mut Counter, (): ()| -> i64 { panic!("no") })
        .method_fallible("fail", |_: &mut Counter, reason: String| Err::<(), _>(reason))
        .finish();
    run(&serve(&unix_address("user"), registry).address, "user_type");
}

fn a_client_can_end_the_server() {
    let served = serve("127.0.0.1:0", Registry::new());
    run(&served.address, "shutdown");
    served.serving.wait();
}
