//! Scopes of collecting and providing, as the module documentation numbers them.

use super::*;

#[derive(Debug)]
struct Thing;

impl Local for Thing {
    fn what(&self) -> &'static str {
        "Thing"
    }
}

fn blob(byte: u8) -> Attachment {
    Attachment::Blob(Blob::from(vec![byte; 3]))
}

fn byte_of(attachment: Option<Attachment>) -> Option<u8> {
    match attachment? {
        Attachment::Blob(blob) => blob.first().copied(),
        Attachment::Local(_) => None,
    }
}

#[test]
fn outside_of_a_message_nothing_is_attached() {
    assert_eq!(attach(blob(1)), None);
    assert!(attached(0).is_none());
    assert!(!is_collecting());
}

#[test]
fn what_is_attached_is_found_at_its_index() {
    let thing: Arc<dyn Local> = Arc::new(Thing);
    let (indices, list) =
        collect(|| [attach(blob(1)), attach(Attachment::Local(Arc::clone(&thing))), attach(blob(2))]);
    assert_eq!(indices, [Some(0), Some(1), Some(2)]);
    provide(list, || {
        assert_eq!(byte_of(attached(0)), Some(1));
        assert!(matches!(attached(1), Some(Attachment::Local(it)) if Arc::ptr_eq(&it, &thing)));
        assert_eq!(byte_of(attached(2)), Some(2));
        assert!(attached(3).is_none());
    });
    assert!(attached(0).is_none(), "the scope has ended");
}

#[test]
fn the_same_thing_is_attached_once_and_an_equal_one_again() {
    let one = Blob::from(vec![1; 3]);
    let (indices, list) =
        collect(|| [one.clone(), one.clone(), Blob::from(vec![1; 3])].map(|it| attach(Attachment::Blob(it))));
    assert_eq!(indices, [Some(0), Some(0), Some(1)]);
    assert_eq!(list.len(), 2);
}

#[test]
fn a_message_within_a_message_has_its_own_list() {
    let ((inner, at), outer) = collect(|| {
        attach(blob(1));
        let ((), inner) = collect(|| {
            assert_eq!(attach(blob(2)), Some(0));
        });
        (inner, attach(blob(3)))
    });
    assert_eq!((inner.len(), outer.len(), at), (1, 2, Some(1)));
    provide(outer, || {
        provide(inner, || assert_eq!(byte_of(attached(0)), Some(2)));
        assert_eq!(byte_of(attached(0)), Some(1));
    });
}

#[test]
fn a_message_that_carries_nothing_hides_one_that_does() {
    let (inner, outer) = collect(|| collect_job(false, || (attach(blob(1)), is_collecting())));
    assert_eq!(inner.0, (None, false));
    assert!(inner.1.is_none());
    assert!(outer.is_empty());
}

#[test]
fn a_panic_leaves_the_scope() {
    let panicked = |f: fn()| std::panic::catch_unwind(f).is_err();
    assert!(panicked(|| drop(collect(|| panic!("of a Serialize")))));
    assert!(!is_collecting());
    let ((), list) = collect(|| assert_eq!(attach(blob(1)), Some(0)));
    let decode = std::panic::AssertUnwindSafe(|| provide(list, || panic!("of a Deserialize")));
    assert!(std::panic::catch_unwind(decode).is_err());
    assert!(attached(0).is_none());
}

#[test]
fn each_thread_encodes_for_itself() {
    let ((), list) = collect(|| {
        let other = std::thread::spawn(|| attach(blob(1)));
        assert_eq!(other.join().unwrap(), None);
    });
    assert!(list.is_empty());
}

#[test]
fn what_is_kept_has_no_index_and_only_what_stays_here_keeps() {
    let thing: Arc<dyn Any + Send + Sync> = Arc::new(7u8);
    assert!(!keep(Arc::clone(&thing)), "no message is encoded");
    let (kept, list) = collect(|| keep(Arc::clone(&thing)));
    assert!(!kept && list.is_empty(), "a message that goes away keeps nothing");
    let ((twice, at), collected) = collect_job(true, || {
        let twice = keep(Arc::clone(&thing)) && keep(Arc::clone(&thing));
        (twice, attach(blob(1)))
    });
    let collected = collected.expect("something was collected");
    assert!(twice);
    assert_eq!((at, collected.attachments.len(), collected.kept.len()), (Some(0), 1, 1));
    assert_eq!(Arc::strong_count(&thing), 2);
    drop(collected);
    assert_eq!(Arc::strong_count(&thing), 1);
}
