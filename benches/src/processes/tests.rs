use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use super::*;

#[test]
fn a_child_belongs_to_the_family_until_it_is_reaped() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = child.id() as i32;
    assert!(family().contains(&pid));
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(!family().contains(&pid));
}

#[test]
fn memory_that_was_written_counts() {
    // Other tests run at the same time, which make and free some memory.
    const SIZE: usize = 512 << 20;
    let before = memory().unwrap();
    let written = black_box(vec![1u8; SIZE]);
    let after = memory().unwrap();
    drop(written);
    assert!(after >= before + SIZE as u64 / 2, "{before} and then {after}");
}

#[test]
fn a_thread_that_works_and_sleeps_is_seen_and_this_one_is_not() {
    let (to_thread, from_here) = channel::<()>();
    let (to_here, from_thread) = channel();
    let working = thread::spawn(move || {
        while from_here.recv().is_ok() {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(20) {
                black_box(0);
            }
            thread::sleep(Duration::from_millis(1));
            to_here.send(()).unwrap();
        }
    });
    let before = activities().unwrap();
    assert!(!before.contains_key(&gettid().as_raw_nonzero().get()));
    for _ in 0..5 {
        to_thread.send(()).unwrap();
        from_thread.recv().unwrap();
    }
    let meanwhile = since(&before).unwrap();
    drop(to_thread);
    working.join().unwrap();
    // Other tests run at the same time: there may be more.
    assert!(meanwhile.on_cpu > 0 && meanwhile.sleeps >= 5, "{meanwhile:?}");
}

#[test]
fn figures_are_found_by_the_name_before_them() {
    let text = "Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
    assert_eq!(figure(text, "voluntary_ctxt_switches:", "status").unwrap(), 7);
    assert_eq!(figure("Pss:        1024 kB\n", "Pss:", "smaps").unwrap(), 1024);
    let error = figure(text, "Pss:", "status").unwrap_err().to_string();
    assert_eq!(error, "status has no `Pss:`");
}
