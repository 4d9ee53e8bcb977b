use std::time::Duration;

use super::*;
use crate::manager::operation::Wait;
use crate::manager::protocol::acquired;

const ME: SessionId = SessionId(1);
const YOU: SessionId = SessionId(2);

/// An object, its calls by one or two sessions, and what came of them.
struct Subject(Box<dyn Builtin>);

impl Subject {
    fn new(type_name: &str, args: Vec<Object>) -> Self {
        Self(
            create(type_name, Given::positional(args))
                .expect("there is such a type")
                .expect("it can be created"),
        )
    }

    fn step(&mut self, session: SessionId, method: &str, args: Vec<Object>) -> Step {
        self.0.call(method, Given::positional(args), session).expect("there is such a method")
    }

    fn now(&mut self, method: &str, args: Vec<Object>) -> Outcome {
        match self.step(ME, method, args) {
            Step::Done(outcome) => outcome,
            Step::Wait(_) => panic!("{method} waits"),
        }
    }

    fn waits(&mut self, session: SessionId, method: &str, args: Vec<Object>) -> Wait {
        match self.step(session, method, args) {
            Step::Wait(wait) => wait,
            Step::Done(outcome) => panic!("{method} does not wait but gives {outcome:?}"),
        }
    }

    /// What Python shows for the outcome.
    fn shows(&mut self, method: &str, args: Vec<Object>) -> String {
        shown(self.now(method, args))
    }
}

fn shown(outcome: Outcome) -> String {
    match outcome {
        Ok(value) => value.to_string(),
        Err(exception) => exception.to_string(),
    }
}

/// What a parked call has been given.
fn given(wait: &mut Wait) -> Option<String> {
    wait.receiver.try_recv().ok().map(shown)
}

fn text(text: &str) -> Object {
    Object::Str(text.to_owned())
}

fn list(items: impl IntoIterator<Item = i64>) -> Object {
    Object::List(items.into_iter().map(Object::from).collect())
}

fn slice(start: Object, stop: Object, step: Object) -> Object {
    let class = slice::CLASS.to_owned();
    crate::object::Instance { class, args: vec![start, stop, step], state: Object::None }.into()
}

#[test]
fn every_table_is_sorted_so_that_its_methods_are_found() {
    for name in names() {
        let args = if name == "Value" { vec![text("i"), 0.into()] } else { vec![] };
        let methods = Subject::new(name, args).0.methods();
        assert!(methods.is_sorted(), "the methods of {name} are not sorted: {methods:?}");
    }
}

#[test]
fn a_dict_does_what_a_python_dict_does() {
    let mut dict = Subject::new("dict", vec![Object::Dict(vec![(text("a"), 1.into())])]);
    assert_eq!(dict.shows("__getitem__", vec![text("a")]), "1");
    assert_eq!(dict.shows("__getitem__", vec![text("b")]), "KeyError: 'b'");
    assert_eq!(dict.shows("__setitem__", vec![text("b"), 2.into()]), "None");
    assert_eq!(dict.shows("setdefault", vec![text("c"), 3.into()]), "3");
    assert_eq!(dict.shows("setdefault", vec![text("c"), 4.into()]), "3");
    assert_eq!(dict.shows("keys", vec![]), "['a', 'b', 'c']");
    assert_eq!(dict.shows("values", vec![]), "[1, 2, 3]");
    assert_eq!(dict.shows("items", vec![]), "[('a', 1), ('b', 2), ('c', 3)]");
    assert_eq!(dict.shows("__reversed__", vec![]), "['c', 'b', 'a']");
    assert_eq!(dict.shows("pop", vec![text("b")]), "2");
    assert_eq!(dict.shows("pop", vec![text("b")]), "KeyError: 'b'");
    assert_eq!(dict.shows("pop", vec![text("b"), Object::None]), "None");
    assert_eq!(dict.shows("__delitem__", vec![text("z")]), "KeyError: 'z'");
    assert_eq!(dict.shows("popitem", vec![]), "('c', 3)");
    assert_eq!(
        dict.shows("update", vec![Object::List(vec![Object::Tuple(vec![1.into(), 2.into()])])]),
        "None"
    );
    assert_eq!(dict.shows("__or__", vec![Object::Dict(vec![(1.into(), 5.into())])]), "{'a': 1, 1: 5}");
    assert_eq!(dict.0.repr(), "{'a': 1, 1: 2}");
    assert_eq!(dict.shows("__len__", vec![]), "2");
    assert_eq!(dict.shows("clear", vec![]), "None");
    assert_eq!(dict.shows("popitem", vec![]), "KeyError: 'popitem(): dictionary is empty'");
}

#[test]
fn keys_are_equal_as_python_has_it_and_the_first_one_stays() {
    let mut dict = Subject::new("dict", vec![]);
    dict.shows("__setitem__", vec![1.into(), text("int")]);
    dict.shows("__setitem__", vec![true.into(), text("bool")]);
    dict.shows("__setitem__", vec![1.0.into(), text("float")]);
    assert_eq!(dict.shows("copy", vec![]), "{1: 'float'}");
    assert_eq!(dict.shows("__setitem__", vec![list([]), 1.into()]), "TypeError: unhashable type: 'list'");
}

#[test]
fn a_dict_keeps_its_order_over_many_removals() {
    let mut dict = Subject::new("dict", vec![]);
    for key in 0..1000 {
        dict.shows("__setitem__", vec![key.into(), key.into()]);
    }
    for key in (0..1000).filter(|key| key % 10 != 0) {
        assert_eq!(dict.shows("pop", vec![key.into()]), key.to_string());
    }
    let Object::List(keys) = dict.now("keys", vec![]).unwrap() else { panic!("keys are a list") };
    assert_eq!(keys, (0..1000).step_by(10).map(Object::from).collect::<Vec<_>>());
    for key in (0..1000).step_by(10).rev() {
        assert_eq!(dict.shows("popitem", vec![]), format!("({key}, {key})"));
    }
}

#[test]
fn a_list_does_what_a_python_list_does() {
    let mut it = Subject::new("list", vec![list([3, 1, 2])]);
    assert_eq!(it.shows("append", vec![5.into()]), "None");
    assert_eq!(it.shows("insert", vec![0.into(), 9.into()]), "None");
    assert_eq!(it.shows("insert", vec![(-100).into(), 8.into()]), "None");
    assert_eq!(it.shows("copy", vec![]), "[8, 9, 3, 1, 2, 5]");
    assert_eq!(it.shows("sort", vec![]), "None");
    assert_eq!(it.shows("reverse", vec![]), "None");
    assert_eq!(it.shows("copy", vec![]), "[9, 8, 5, 3, 2, 1]");
    assert_eq!(it.shows("__getitem__", vec![(-1).into()]), "1");
    assert_eq!(it.shows("__getitem__", vec![6.into()]), "IndexError: list index out of range");
    assert_eq!(
        it.shows("__getitem__", vec![text("x")]),
        "TypeError: list indices must be integers or slices, not str"
    );
    assert_eq!(it.shows("index", vec![8.into()]), "1");
    assert_eq!(it.shows("index", vec![9.into(), 1.into()]), "ValueError: 9 is not in list");
    assert_eq!(it.shows("count", vec![8.0.into()]), "1");
    assert_eq!(it.shows("__contains__", vec![7.into()]), "False");
    assert_eq!(it.shows("remove", vec![7.into()]), "ValueError: list.remove(x): x not in list");
    assert_eq!(it.shows("pop", vec![]), "1");
    assert_eq!(it.shows("pop", vec![0.into()]), "9");
    assert_eq!(it.shows("__add__", vec![list([7])]), "[8, 5, 3, 2, 7]");
    assert_eq!(it.shows("extend", vec![text("ab")]), "None");
    assert_eq!(it.shows("sort", vec![]), "TypeError: '<' not supported between instances of 'str' and 'int'");
    assert_eq!(it.0.repr(), "[8, 5, 3, 2, 'a', 'b']");
    assert_eq!(it.shows("clear", vec![]), "None");
    assert_eq!(it.shows("pop", vec![]), "IndexError: pop from empty list");
    let product = it.shows("__mul__", vec![i64::MAX.into()]);
    assert_eq!(product, "[]");
    it.shows("append", vec![0.into()]);
    assert!(it.shows("__mul__", vec![i64::MAX.into()]).starts_with("MemoryError"));
}

#[test]
fn slices_of_a_list_are_those_of_python() {
    let none = || Object::None;
    let mut it = Subject::new("list", vec![list(0..6)]);
    for (start, stop, step, expected) in [
        (none(), none(), none(), "[0, 1, 2, 3, 4, 5]"),
        (1.into(), 3.into(), none(), "[1, 2]"),
        ((-2).into(), none(), none(), "[4, 5]"),
        (none(), none(), (-1).into(), "[5, 4, 3, 2, 1, 0]"),
        (10.into(), (-10).into(), (-2).into(), "[5, 3, 1]"),
        (4.into(), 1.into(), none(), "[]"),
        (none(), none(), 4.into(), "[0, 4]"),
        (none(), none(), i64::MAX.into(), "[0]"),
    ] {
        assert_eq!(it.shows("__getitem__", vec![slice(start, stop, step)]), expected);
    }
    let whole = || slice(none(), none(), 0.into());
    assert_eq!(it.shows("__getitem__", vec![whole()]), "ValueError: slice step cannot be zero");
    it.shows("__setitem__", vec![slice(1.into(), 3.into(), none()), list([7, 8, 9])]);
    assert_eq!(it.0.repr(), "[0, 7, 8, 9, 3, 4, 5]");
    it.shows("__delitem__", vec![slice(none(), none(), 2.into())]);
    assert_eq!(it.0.repr(), "[7, 9, 4]");
    assert_eq!(
        it.shows("__setitem__", vec![slice(none(), none(), 2.into()), list([1])]),
        "ValueError: attempt to assign sequence of size 1 to extended slice of size 2"
    );
    let mut empty = Subject::new("list", vec![]);
    assert_eq!(empty.shows("__getitem__", vec![slice(5.into(), none(), (-1).into())]), "[]");
}

#[test]
fn sorting_is_stable_exact_and_leaves_all_as_it_was_when_it_fails() {
    let big = (1_i128 << 53) + 1;
    let mut it = Subject::new(
        "list",
        vec![Object::List(vec![
            Object::Int(big),
            Object::Float((1_u64 << 53) as f64),
            true.into(),
            1.into(),
            1.0.into(),
            Object::Float(f64::INFINITY),
            Object::Float(-0.5),
            0.into(),
        ])],
    );
    it.shows("sort", vec![]);
    assert_eq!(it.0.repr(), "[-0.5, 0, True, 1, 1.0, 9007199254740992.0, 9007199254740993, inf]");
    let mixed = Object::List(vec![2.into(), text("a"), 1.into()]);
    let mut it = Subject::new("list", vec![mixed]);
    assert!(it.shows("sort", vec![]).starts_with("TypeError"));
    assert_eq!(it.0.repr(), "[2, 'a', 1]");
}

#[test]
fn arguments_that_do_not_fit_are_type_errors_that_name_the_method() {
    let mut dict = Subject::new("dict", vec![]);
    assert_eq!(
        dict.shows("__getitem__", vec![]),
        "TypeError: __getitem__() missing required argument: 'key'"
    );
    assert_eq!(
        dict.shows("__len__", vec![1.into()]),
        "TypeError: __len__() got 1 positional arguments too many"
    );
    let given = Given { positional: vec![], keywords: vec![("colour".to_owned(), 1.into())] };
    let Some(Step::Done(outcome)) = dict.0.call("clear", given, ME) else { panic!("clear does not wait") };
    assert_eq!(shown(outcome), "TypeError: clear() got an unexpected keyword argument 'colour'");
    assert!(dict.0.call("fly", Given::default(), ME).is_none());
}

#[test]
fn items_go_to_getters_in_the_order_in_which_they_came() {
    let mut queue = Subject::new("Queue", vec![]);
    let mut first = queue.waits(ME, "get", vec![]);
    let mut second = queue.waits(YOU, "get", vec![]);
    queue.shows("put", vec![text("a")]);
    assert_eq!(given(&mut first), Some("'a'".to_owned()));
    assert_eq!(given(&mut second), None);
    queue.shows("put", vec![text("b")]);
    assert_eq!(given(&mut second), Some("'b'".to_owned()));
    assert_eq!(queue.shows("qsize", vec![]), "0");
    assert_eq!(queue.shows("get_nowait", vec![]), "queue.Empty");
    assert_eq!(queue.shows("get", vec![false.into()]), "queue.Empty");
    assert_eq!(
        queue.shows("get", vec![true.into(), (-1).into()]),
        "ValueError: 'timeout' must be a non-negative number"
    );
}

#[test]
fn an_item_whose_getter_has_gone_is_the_next_ones() {
    let mut queue = Subject::new("Queue", vec![]);
    let gone = queue.waits(ME, "get", vec![]);
    let mut waiting = queue.waits(YOU, "get", vec![]);
    drop(gone);
    queue.shows("put", vec![1.into()]);
    assert_eq!(given(&mut waiting), Some("1".to_owned()));
    // Given, and given back.
    queue.shows("put", vec![2.into()]);
    queue.shows("put", vec![3.into()]);
    let item = queue.now("get", vec![]).unwrap();
    queue.0.give_back(ME, item);
    assert_eq!(queue.shows("get", vec![]), "2");
}

#[test]
fn a_bounded_queue_parks_who_puts_and_lets_them_in_in_order() {
    let mut queue = Subject::new("Queue", vec![1.into()]);
    queue.shows("put", vec![1.into()]);
    assert_eq!(queue.shows("full", vec![]), "True");
    assert_eq!(queue.shows("put_nowait", vec![9.into()]), "queue.Full");
    assert_eq!(queue.shows("put", vec![9.into(), false.into()]), "queue.Full");
    let mut second = queue.waits(ME, "put", vec![2.into()]);
    let gone = queue.waits(ME, "put", vec![8.into()]);
    let mut third = queue.waits(ME, "put", vec![3.into()]);
    drop(gone);
    assert_eq!(queue.shows("get", vec![]), "1");
    assert_eq!(given(&mut second), Some("None".to_owned()));
    assert_eq!(given(&mut third), None);
    assert_eq!(queue.shows("get", vec![]), "2");
    assert_eq!(queue.shows("get", vec![]), "3");
    assert_eq!(given(&mut third), Some("None".to_owned()));
    assert_eq!(queue.shows("empty", vec![]), "True");
}

#[test]
fn join_waits_until_everything_is_done() {
    let mut queue = Subject::new("JoinableQueue", vec![]);
    assert_eq!(queue.shows("join", vec![]), "None");
    queue.shows("put", vec![1.into()]);
    queue.shows("put", vec![2.into()]);
    let mut joined = queue.waits(ME, "join", vec![]);
    queue.shows("task_done", vec![]);
    assert_eq!(given(&mut joined), None);
    queue.shows("task_done", vec![]);
    assert_eq!(given(&mut joined), Some("None".to_owned()));
    assert_eq!(queue.shows("task_done", vec![]), "ValueError: task_done() called too many times");
}

#[test]
fn withdrawn_calls_do_not_pile_up() {
    let mut queue = queue::Queue::create(Args::new("Queue", Given::default())).unwrap();
    for _ in 0..10_000 {
        let call = queue.call("get", Given::default(), ME);
        drop(call);
    }
    assert!(queue.parked() <= 32, "{} calls are parked", queue.parked());
}

#[test]
fn a_lock_is_passed_on_in_order() {
    let mut lock = Subject::new("Lock", vec![]);
    assert_eq!(lock.shows("acquire", vec![]), "True");
    assert_eq!(lock.shows("acquire", vec![false.into()]), "False");
    assert_eq!(lock.shows("locked", vec![]), "True");
    let mut second = lock.waits(YOU, "acquire", vec![true.into(), (-1).into()]);
    assert_eq!(given(&mut second), None);
    assert_eq!(lock.shows("release", vec![]), "None");
    assert_eq!(given(&mut second), Some("True".to_owned()));
    lock.shows("release", vec![]);
    assert_eq!(lock.shows("release", vec![]), "RuntimeError: release unlocked lock");
    assert_eq!(
        lock.shows("acquire", vec![false.into(), 1.into()]),
        "ValueError: can't specify a timeout for a non-blocking call"
    );
}

#[test]
fn a_lock_is_released_when_its_holder_ends_and_the_next_one_is_told() {
    let mut lock = Subject::new("Lock", vec![]);
    lock.shows("acquire", vec![]);
    let mut next = lock.waits(YOU, "#ACQUIRE", vec![]);
    lock.0.on_session_end(YOU);
    assert_eq!(given(&mut next), None, "somebody else ended");
    lock.0.on_session_end(ME);
    assert_eq!(given(&mut next), Some(acquired::OWNER_DIED.to_string()));
    lock.shows("release", vec![]);
    assert_eq!(lock.shows("#ACQUIRE", vec![Object::None]), acquired::YES.to_string(), "it is told once");
    assert_eq!(lock.shows("#ACQUIRE", vec![0.0.into()]), acquired::NO.to_string());
}

#[test]
fn a_lock_given_to_a_caller_that_is_gone_is_given_to_the_next() {
    let mut lock = Subject::new("Lock", vec![]);
    lock.shows("acquire", vec![]);
    let mut gone = lock.waits(YOU, "acquire", vec![]);
    let mut next = lock.waits(ME, "acquire", vec![]);
    lock.shows("release", vec![]);
    let answer = gone.receiver.try_recv().unwrap().unwrap();
    lock.0.give_back(YOU, answer);
    assert_eq!(given(&mut next), Some("True".to_owned()));
}

#[test]
fn an_rlock_is_its_holders_as_often_as_it_was_acquired() {
    let mut lock = Subject::new("RLock", vec![]);
    lock.shows("acquire", vec![]);
    lock.shows("acquire", vec![]);
    let mut other = lock.waits(YOU, "acquire", vec![]);
    let Step::Done(outcome) = lock.step(YOU, "release", vec![]) else { panic!("release does not wait") };
    assert_eq!(shown(outcome), "RuntimeError: cannot release un-acquired lock");
    lock.shows("release", vec![]);
    assert_eq!(given(&mut other), None);
    lock.shows("release", vec![]);
    assert_eq!(given(&mut other), Some("True".to_owned()));
}

#[test]
fn a_semaphore_counts() {
    let mut semaphore = Subject::new("BoundedSemaphore", vec![2.into()]);
    semaphore.shows("acquire", vec![]);
    semaphore.shows("acquire", vec![]);
    let gone = semaphore.waits(ME, "acquire", vec![]);
    let mut waiting = semaphore.waits(ME, "acquire", vec![]);
    drop(gone);
    semaphore.shows("release", vec![]);
    assert_eq!(given(&mut waiting), Some("True".to_owned()));
    semaphore.shows("release", vec![2.into()]);
    assert_eq!(semaphore.shows("release", vec![]), "ValueError: Semaphore released too many times");
}

#[test]
fn an_event_lets_all_go_that_wait() {
    let mut event = Subject::new("Event", vec![]);
    assert_eq!(event.shows("wait", vec![0.into()]), "False");
    let mut one = event.waits(ME, "wait", vec![]);
    let mut two = event.waits(YOU, "wait", vec![5.into()]);
    assert_eq!(two.limit, Some(Duration::from_secs(5)));
    event.shows("set", vec![]);
    assert_eq!(given(&mut one), Some("True".to_owned()));
    assert_eq!(given(&mut two), Some("True".to_owned()));
    assert_eq!(event.shows("wait", vec![]), "True");
    event.shows("clear", vec![]);
    assert_eq!(event.shows("is_set", vec![]), "False");
}

#[test]
fn a_namespace_has_attributes_and_a_value_has_its_value() {
    let given = Given { positional: vec![], keywords: vec![("x".to_owned(), 1.into())] };
    let mut names = Subject(create("Namespace", given).unwrap().unwrap());
    names.shows("__setattr__", vec![text("y"), 2.into()]);
    names.shows("__setattr__", vec![text("_hidden"), 3.into()]);
    assert_eq!(names.0.repr(), "Namespace(x=1, y=2)");
    names.shows("__delattr__", vec![text("x")]);
    assert_eq!(
        names.shows("__getattribute__", vec![text("x")]),
        "AttributeError: 'Namespace' object has no attribute 'x'"
    );
    let mut value = Subject::new("Value", vec![text("i"), 5.into()]);
    value.shows("set", vec![6.into()]);
    assert_eq!(value.shows("get", vec![]), "6");
    assert_eq!(value.0.repr(), "Value('i', 6)");
}

#[test]
fn the_methods_for_rust_alone_are_not_shown() {
    assert_eq!(Subject::new("Lock", vec![]).0.methods(), ["acquire", "locked", "release"]);
}
