//! `Value` and `Array`.

use executor_process::ipc::{Array, TryLockError, Value};
use futures::executor::block_on;

use crate::support::{Child, Signals};

crate::tests![
    a_value_is_the_same_in_all_processes,
    atomic_operations_lose_nothing,
    a_value_whose_writer_was_killed_is_as_it_was,
    an_array_whose_writer_was_killed_is_as_far_as_it_came,
    values_of_all_sizes_come_out_as_they_went_in,
    operations_on_elements_and_guards_of_one_process_keep_out_of_each_others_way,
];

fn a_value_is_the_same_in_all_processes() {
    let value = Value::new([1.5f64, 2.5]).expect("a value");
    let array = Array::new(&[1u16, 2, 3]).expect("an array");
    let work = || {
        for _ in 0..1_000 {
            value.lock().expect("nobody died")[1] += 1.0;
            array.lock().expect("nobody died")[2] += 1;
        }
    };
    let child = Child::start(work);
    work();
    child.join();
    assert_eq!(value.get().expect("nobody died"), [1.5, 2002.5]);
    assert_eq!(*array.lock().expect("nobody died"), [1, 2, 2003]);
    assert_eq!(array.len(), 3);
}

fn atomic_operations_lose_nothing() {
    let value = Value::new(0i64).expect("a value");
    let array = Array::<u32>::zeroed(8).expect("an array");
    let work = || {
        for number in 0..100_000 {
            value.fetch_add(1);
            array.at(number % 8).fetch_add(1);
        }
    };
    let child = Child::start(work);
    work();
    child.join();
    assert_eq!(value.load(), 200_000);
    assert_eq!(*array.lock().expect("nobody died"), [25_000; 8]);
    value.store(5);
    assert_eq!(value.compare_exchange(6, 7), Err(5));
    assert_eq!((value.fetch_max(9), value.fetch_min(3), value.swap(12), value.fetch_sub(2)), (5, 9, 3, 12));
    assert_eq!((value.fetch_and(6), value.fetch_or(5), value.fetch_xor(1), value.load()), (10, 2, 7, 6));
}

fn a_value_whose_writer_was_killed_is_as_it_was() {
    let (value, signals) = (Value::new([1u64; 100]).expect("a value"), Signals::new());
    let writer = Child::start(|| {
        let mut guard = value.lock().expect("nobody died");
        guard.fill(2);
        signals.send(0);
        loop {
            std::thread::park();
        }
    });
    signals.next();
    writer.kill();
    let died = value.lock().expect_err("the writer was killed");
    assert_eq!(**died.get_ref(), [1; 100]);
    drop(died);
    assert!(value.get().is_err() && value.set([3; 100]).is_err());
    *value.lock().expect_err("nobody has taken care").into_inner() = [4; 100];
    assert_eq!(value.get().expect("somebody has taken care"), [4; 100]);
}

fn an_array_whose_writer_was_killed_is_as_far_as_it_came() {
    let (array, signals) = (Array::new(&[1u64; 100]).expect("an array"), Signals::new());
    let writer = Child::start(|| {
        let mut guard = block_on(array.lock_async()).expect("nobody died");
        guard[..50].fill(2);
        signals.send(0);
        loop {
            std::thread::park();
        }
    });
    signals.next();
    assert!(matches!(array.try_lock(), Err(TryLockError::WouldBlock)));
    writer.kill();
    let mut guard = array.lock().expect_err("the writer was killed").into_inner();
    assert_eq!((guard[49], guard[50]), (2, 1));
    guard.fill(0);
    drop(guard);
    assert_eq!(array.at(49).load(), 0);
}

fn values_of_all_sizes_come_out_as_they_went_in() {
    fn check<T: bytemuck::Pod + PartialEq + std::fmt::Debug>(one: T, other: T) {
        let value = Value::new(one).expect("a value");
        assert_eq!(value.get().expect("nobody died"), one);
        value.set(other).expect("nobody died");
        assert_eq!(*value.lock().expect("nobody died"), other);
        let array = Array::new(&[one, other]).expect("an array");
        assert_eq!(*array.lock().expect("nobody died"), [one, other]);
    }
    check(1u8, 255);
    check([1u8, 2, 3], [4, 5, 6]);
    check([0x1234u16; 5], [0xffff; 5]);
    check([1u32; 3], [u32::MAX; 3]);
    check(1u128, u128::MAX);
    check(-1.5f64, f64::INFINITY);
    check((), ());
    assert!(Array::<u64>::zeroed(usize::MAX / 4).is_err());
    assert!(Array::<u64>::new(&[]).expect("an array").is_empty());
}

fn operations_on_elements_and_guards_of_one_process_keep_out_of_each_others_way() {
    let array = Array::<u64>::zeroed(1).expect("an array");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                array.at(0).fetch_add(1);
            }
        });
        for _ in 0..20_000 {
            let mut guard = array.lock().expect("nobody died");
            let number = guard[0];
            guard[0] = std::hint::black_box(number) + 1;
        }
    });
    assert_eq!(array.at(0).load(), 40_000);
    let _guard = array.lock().expect("nobody died");
    let itself = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| array.at(0).load()));
    assert!(itself.is_err());
}
