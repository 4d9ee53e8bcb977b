use super::*;
use crate::manager::protocol::PROXY_MARK;

const FIRST: u64 = 100;

fn store() -> Arc<Store> {
    Arc::new(Store::new(Registry::new(), FIRST))
}

fn dict(store: &Arc<Store>) -> Reference {
    store.create("dict", Given::default()).unwrap()
}

/// What a Rust proxy serialises as.
fn proxy(id: u64) -> Object {
    let address = Object::from("unix:@somewhere");
    Object::Tuple(vec![PROXY_MARK.into(), address, Object::None, id.into(), "dict".into()])
}

fn set(reference: &Reference, key: i64, value: Object) {
    let given = Given::positional(vec![key.into(), value]);
    let step = reference.entry().call("__setitem__", given, SessionId(0)).unwrap();
    assert!(matches!(step, Step::Done(Ok(Object::None))));
}

fn is_there(store: &Store, id: u64) -> bool {
    store.entry(id).is_ok()
}

#[test]
fn an_object_dies_with_its_last_reference() {
    let store = store();
    let one = dict(&store);
    let id = one.entry().id();
    assert_eq!(id, FIRST);
    let two = store.incref(id).unwrap();
    drop(one);
    assert_eq!(store.number_of_objects(), 1);
    drop(two);
    assert_eq!(store.number_of_objects(), 0);
    let error = store.incref(id).err().unwrap();
    assert_eq!(error.type_name, "ReferenceError");
    assert_eq!(store.decref(id).unwrap_err().type_name, "ReferenceError");
}

#[test]
fn a_reference_that_was_left_is_given_up_by_whoever_says_so() {
    let store = store();
    let reference = dict(&store);
    let id = reference.entry().id();
    reference.leave();
    assert!(is_there(&store, id));
    store.decref(id).unwrap();
    assert!(!is_there(&store, id));
}

#[test]
fn a_name_keeps_its_object() {
    let store = store();
    let reference = dict(&store);
    let id = reference.entry().id();
    store.publish("settings", id).unwrap();
    drop(reference);
    let found = store.find("settings").unwrap();
    assert_eq!(found.entry().id(), id);
    assert_eq!(store.create("settings", Given::default()).unwrap().entry().id(), id, "as Python finds it");
    let error = store.create("settings", Given::positional(vec![1.into()])).err().unwrap();
    assert_eq!(error.type_name, "TypeError");
    assert_eq!(store.publish("settings", id).unwrap_err().type_name, "ValueError");
    assert_eq!(store.publish("dict", id).unwrap_err().type_name, "ValueError");
    assert!(store.withdraw("settings"));
    assert!(!store.withdraw("settings"));
    drop(found);
    assert!(!is_there(&store, id));
    let error = store.find_or_raise("settings").err().unwrap();
    assert_eq!(error.message(), "'settings: nothing was published'");
}

#[test]
fn a_lease_keeps_an_object_until_it_is_over() {
    let store = store();
    let reference = dict(&store);
    let id = reference.entry().id();
    let now = Instant::now();
    store.lease(id, Duration::from_secs(60), now).unwrap();
    drop(reference);
    store.sweep(now + Duration::from_secs(59));
    assert!(is_there(&store, id));
    let arrived = store.incref(id).unwrap();
    store.sweep(now + Duration::from_secs(61));
    assert!(is_there(&store, id), "it has arrived");
    drop(arrived);
    store.sweep(now + Duration::from_secs(62));
    assert!(!is_there(&store, id));
}

#[test]
fn a_short_lease_does_not_cut_a_long_one() {
    let store = store();
    let reference = dict(&store);
    let id = reference.entry().id();
    let now = Instant::now();
    store.lease(id, Duration::from_secs(60), now).unwrap();
    store.lease(id, Duration::from_secs(1), now).unwrap();
    drop(reference);
    store.sweep(now + Duration::from_secs(30));
    assert!(is_there(&store, id));
}

#[test]
fn an_object_lives_inside_of_another_that_lives() {
    let store = store();
    let now = Instant::now();
    let outer = dict(&store);
    let [middle, inner] = [dict(&store), dict(&store)];
    let ids = [middle.entry().id(), inner.entry().id()];
    for id in ids {
        store.lease(id, Duration::from_secs(60), now).unwrap();
    }
    set(&middle, 0, Object::List(vec![proxy(ids[1])]));
    set(&outer, 0, Object::Dict(vec![("deep".into(), proxy(ids[0]))]));
    drop((middle, inner));
    let later = now + Duration::from_secs(61);
    store.sweep(later);
    assert!(ids.iter().all(|id| is_there(&store, *id)));
    set(&outer, 0, Object::None);
    store.sweep(later);
    assert!(ids.iter().all(|id| !is_there(&store, *id)), "nothing mentions them any more");
    assert!(is_there(&store, outer.entry().id()));
}

#[test]
fn objects_that_only_mention_each_other_are_dropped() {
    let store = store();
    let now = Instant::now();
    let [a, b] = [dict(&store), dict(&store)];
    let ids = [a.entry().id(), b.entry().id()];
    ids.iter().for_each(|id| store.lease(*id, Duration::ZERO, now).unwrap());
    set(&a, 0, proxy(ids[1]));
    set(&b, 0, proxy(ids[0]));
    drop((a, b));
    assert!(ids.iter().all(|id| is_there(&store, *id)));
    store.sweep(now);
    assert!(ids.iter().all(|id| !is_there(&store, *id)));
}

#[test]
fn an_answer_leases_what_it_mentions() {
    let store = store();
    let now = Instant::now();
    let reference = dict(&store);
    let id = reference.entry().id();
    store.lease(id, Duration::ZERO, now).unwrap();
    store.lease_mentioned(&Object::Tuple(vec![proxy(id), proxy(7)]));
    drop(reference);
    store.sweep(now + LEASE_OF_MENTIONED / 2);
    assert!(is_there(&store, id));
    store.sweep(now + LEASE_OF_MENTIONED * 2);
    assert!(!is_there(&store, id));
}

#[test]
fn an_unknown_type_is_an_error_that_lists_the_known_ones() {
    let store = store();
    let error = store.create("dictionary", Given::default()).err().unwrap();
    assert_eq!(error.type_name, "KeyError");
    assert!(error.message().contains("Namespace, Queue"), "{error}");
}

#[test]
fn debug_info_has_the_form_of_python() {
    let store = store();
    let reference = dict(&store);
    set(&reference, 1, "one".into());
    assert_eq!(store.debug_info(), "  64:       refcount=1\n    {1: 'one'}");
}
