use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::thread;

use tempfile::TempDir;

use super::*;

const LIMIT: u64 = 10_000;

fn cache() -> (TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("executor"), LIMIT).unwrap();
    (dir, cache)
}

/// Contents that differ by `seed`, and their hash.
fn contents(seed: u8, len: usize) -> (Vec<u8>, Hash) {
    let bytes: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_add(seed)).collect();
    let hash = blake3::hash(&bytes);
    (bytes, hash)
}

fn store(cache: &Cache, seed: u8, len: usize) -> Result<Executable, CacheError> {
    let (bytes, hash) = contents(seed, len);
    let mut writer = cache.begin_store(&hash, len as u64)?;
    for part in bytes.chunks(700) {
        writer.write(part)?;
    }
    writer.finish()
}

fn has(cache: &Cache, seed: u8, len: usize) -> bool {
    cache.lookup(&contents(seed, len).1).unwrap().is_some()
}

fn names(cache: &Cache) -> Vec<String> {
    let entries = std::fs::read_dir(cache.folder()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn reserved(cache: &Cache) -> u64 {
    cache.shared.state().reserved
}

#[test]
fn what_is_stored_is_found_under_its_hash_as_an_executable() {
    let (_dir, cache) = cache();
    let (bytes, hash) = contents(1, 5000);
    assert!(cache.lookup(&hash).unwrap().is_none());
    let stored = store(&cache, 1, 5000).unwrap();
    let found = cache.lookup(&hash).unwrap().unwrap();
    assert_eq!(stored.path(), found.path());
    assert_eq!(found.path().file_name().unwrap().to_str().unwrap(), hash.to_hex().as_str());
    assert_eq!(std::fs::read(found.path()).unwrap(), bytes);
    assert_eq!(found.path().metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(names(&cache).len(), 1);
    assert_eq!(reserved(&cache), 0);
}

#[test]
fn the_folder_is_made_for_its_owner_alone() {
    let (_dir, cache) = cache();
    assert_eq!(cache.folder().metadata().unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn a_folder_that_others_may_write_to_is_refused_with_the_remedy() {
    let (_dir, cache) = cache();
    for mode in [0o770, 0o707, 0o1777] {
        std::fs::set_permissions(cache.folder(), Permissions::from_mode(mode)).unwrap();
        let error = Cache::open(cache.folder(), LIMIT).unwrap_err();
        assert!(matches!(error, CacheError::Exposed { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("chmod go-w {}", cache.folder().display())), "{text}");
    }
}

#[test]
fn a_file_in_the_place_of_the_folder_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Cache::open(file.path(), LIMIT).unwrap_err();
    assert!(matches!(error, CacheError::NotAFolder { .. }), "{error}");
    let error = Cache::open(file.path().join("below"), LIMIT).unwrap_err();
    assert!(matches!(error, CacheError::Io { step: "make", .. }), "{error}");
}

#[test]
fn other_contents_than_announced_are_refused_and_leave_nothing() {
    let (_dir, cache) = cache();
    let (bytes, _) = contents(1, 100);
    let mut writer = cache.begin_store(&contents(2, 100).1, 100).unwrap();
    writer.write(&bytes).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, CacheError::WrongHash { .. }), "{error}");
    assert!(names(&cache).is_empty());
    assert_eq!(reserved(&cache), 0);
}

#[test]
fn another_length_than_announced_is_refused_and_leaves_nothing() {
    let (_dir, cache) = cache();
    let (bytes, hash) = contents(1, 100);
    let mut writer = cache.begin_store(&hash, 99).unwrap();
    let error = writer.write(&bytes).unwrap_err();
    assert!(matches!(error, CacheError::WrongLen { announced: 99, came: 100 }), "{error}");
    drop(writer);
    let mut writer = cache.begin_store(&hash, 101).unwrap();
    writer.write(&bytes).unwrap();
    assert_eq!(writer.missing(), 1);
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, CacheError::WrongLen { announced: 101, came: 100 }), "{error}");
    assert!(names(&cache).is_empty());
    assert_eq!(reserved(&cache), 0);
}

#[test]
fn an_abandoned_transfer_leaves_nothing() {
    let (_dir, cache) = cache();
    let mut writer = cache.begin_store(&contents(1, 100).1, 100).unwrap();
    writer.write(b"half").unwrap();
    assert_eq!(names(&cache).len(), 1);
    assert_eq!(reserved(&cache), 100);
    drop(writer);
    assert!(names(&cache).is_empty());
    assert_eq!(reserved(&cache), 0);
}

#[test]
fn a_disk_that_fills_up_is_named_and_nothing_is_left() {
    let (_dir, cache) = cache();
    let mut writer = cache.begin_store(&contents(1, 100).1, 100).unwrap();
    writer.file = File::options().write(true).open("/dev/full").unwrap();
    let error = writer.write(b"more than fits").unwrap_err();
    assert!(matches!(error, CacheError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains(cache.folder().to_str().unwrap()), "{error}");
    drop(writer);
    assert!(names(&cache).is_empty());
}

#[test]
fn a_disk_with_too_little_room_is_known_before_the_transfer() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), u64::MAX).unwrap();
    let error = cache.begin_store(&contents(1, 1).1, u64::MAX / 2).unwrap_err();
    assert!(matches!(error, CacheError::DiskFull { .. }), "{error}");
    assert!(names(&cache).is_empty());
    assert_eq!(reserved(&cache), 0);
}

#[test]
fn what_is_larger_than_the_cache_is_refused() {
    let (_dir, cache) = cache();
    let error = cache.begin_store(&contents(1, 1).1, LIMIT + 1).unwrap_err();
    assert!(matches!(error, CacheError::TooLarge { len: 10_001, limit: LIMIT }), "{error}");
}

#[test]
fn the_least_recently_used_makes_room() {
    let (_dir, cache) = cache();
    for seed in 1..=3 {
        store(&cache, seed, 3000).unwrap();
    }
    assert!(has(&cache, 1, 3000)); // now 2 is the oldest
    store(&cache, 4, 3000).unwrap();
    let left = [1, 2, 3, 4].map(|seed| cache.shared.path_of(&contents(seed, 3000).1).exists());
    assert_eq!(left, [true, false, true, true]);
}

#[test]
fn what_is_in_use_stays() {
    let (_dir, cache) = cache();
    let oldest = store(&cache, 1, 4000).unwrap();
    store(&cache, 2, 4000).unwrap();
    store(&cache, 3, 4000).unwrap();
    assert!(oldest.path().exists());
    assert!(!has(&cache, 2, 4000));

    let used = store(&cache, 4, 4000).unwrap();
    let error = store(&cache, 5, 4000).unwrap_err();
    assert!(matches!(error, CacheError::InUse { used: 8000, .. }), "{error}");
    assert!(error.to_string().contains(cache.folder().to_str().unwrap()), "{error}");
    assert_eq!(reserved(&cache), 0);
    drop((oldest, used));
    store(&cache, 5, 4000).unwrap();
}

#[test]
fn what_another_agent_uses_stays_too() {
    let (_dir, ours) = cache();
    let theirs = Cache::open(ours.folder(), LIMIT).unwrap();
    store(&ours, 1, 6000).unwrap();
    let guard = theirs.lookup(&contents(1, 6000).1).unwrap().unwrap();
    assert!(matches!(store(&ours, 2, 6000), Err(CacheError::InUse { .. })));
    drop(guard);
    store(&ours, 2, 6000).unwrap();
    assert!(!has(&theirs, 1, 6000));
}

#[test]
fn room_is_promised_once() {
    let (_dir, cache) = cache();
    let _writer = cache.begin_store(&contents(1, 6000).1, 6000).unwrap();
    let error = cache.begin_store(&contents(2, 6000).1, 6000).unwrap_err();
    assert!(matches!(error, CacheError::InUse { used: 6000, .. }), "{error}");
}

#[test]
fn leftovers_go_and_live_transfers_and_strangers_stay() {
    let (_dir, cache) = cache();
    let leftover = cache.folder().join(".incoming-1-1");
    std::fs::write(&leftover, b"half").unwrap();
    let stranger = cache.folder().join("README");
    std::fs::write(&stranger, b"mine").unwrap();
    let (bytes, hash) = contents(1, 100);
    let mut writer = cache.begin_store(&hash, 100).unwrap();
    Cache::open(cache.folder(), LIMIT).unwrap();
    assert!(!leftover.exists());
    assert!(stranger.exists());
    writer.write(&bytes).unwrap();
    writer.finish().unwrap();
}

#[test]
fn two_sessions_may_store_one_executable_at_once() {
    let (_dir, cache) = cache();
    let (bytes, hash) = contents(1, 3000);
    let mut writers = [(); 2].map(|()| cache.begin_store(&hash, 3000).unwrap());
    for writer in &mut writers {
        writer.write(&bytes).unwrap();
    }
    let [first, second] = writers.map(|writer| writer.finish().unwrap());
    assert_eq!(first.path(), second.path());
    assert_eq!(names(&cache).len(), 1);
    // Both keep the one file there is.
    drop(first);
    assert!(!remove_unless_used(second.path()).unwrap());
}

#[test]
fn threads_that_store_evict_and_look_up_do_not_disturb_each_other() {
    let (_dir, cache) = cache();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for thread in 0..4u8 {
            let (cache, start) = (&cache, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..30u8 {
                    // At most four of six are in use at once, and three fit.
                    let seed = (round * 5 + thread) % 6;
                    let (bytes, hash) = contents(seed, 3000);
                    let executable = match cache.lookup(&hash).unwrap() {
                        Some(found) => found,
                        None => match store(cache, seed, 3000) {
                            Ok(stored) => stored,
                            Err(CacheError::InUse { .. }) => continue,
                            Err(error) => panic!("{error}"),
                        },
                    };
                    assert_eq!(std::fs::read(executable.path()).unwrap(), bytes);
                }
            });
        }
    });
    assert_eq!(reserved(&cache), 0);
    assert!(names(&cache).iter().all(|name| !name.starts_with(INCOMING)));
}

#[test]
fn a_file_that_has_gone_bad_is_sent_anew() {
    let (_dir, cache) = cache();
    let hash = contents(1, 3000).1;
    for damage in [b"".to_vec(), vec![0; 3000]] {
        let path = store(&cache, 1, 3000).unwrap().path().to_owned();
        std::fs::write(&path, damage).unwrap();
        assert!(cache.lookup(&hash).unwrap().is_none());
        assert!(!path.exists());
    }
    store(&cache, 1, 3000).unwrap();
    assert!(has(&cache, 1, 3000));
}

#[test]
fn a_bad_file_in_the_way_is_replaced_by_a_finished_transfer() {
    let (_dir, cache) = cache();
    let (bytes, hash) = contents(1, 3000);
    let mut writer = cache.begin_store(&hash, 3000).unwrap();
    writer.write(&bytes).unwrap();
    std::fs::write(cache.shared.path_of(&hash), b"bad").unwrap();
    let stored = writer.finish().unwrap();
    assert_eq!(std::fs::read(stored.path()).unwrap(), bytes);
}

#[test]
fn contents_that_were_checked_are_not_hashed_again() {
    let (_dir, cache) = cache();
    let stored = store(&cache, 1, 3000).unwrap();
    // The lookup would notice, but for the same length, inode and time.
    let modified = stored.path().metadata().unwrap().modified().unwrap();
    std::fs::write(stored.path(), [0; 3000]).unwrap();
    let file = File::options().write(true).open(stored.path()).unwrap();
    file.set_modified(modified).unwrap();
    assert!(has(&cache, 1, 3000));
    // Another agent has not checked it.
    assert!(!has(&Cache::open(cache.folder(), LIMIT).unwrap(), 1, 3000));
}

#[test]
fn the_default_folder_follows_the_environment() {
    let folder =
        |xdg: Option<&str>, home: Option<&str>| folder_from(xdg.map(Into::into), home.map(Into::into));
    assert_eq!(folder(Some("/c"), Some("/h")).unwrap(), Path::new("/c/executor"));
    assert_eq!(folder(None, Some("/h")).unwrap(), Path::new("/h/.cache/executor"));
    assert_eq!(folder(Some("relative"), Some("/h")).unwrap(), Path::new("/h/.cache/executor"));
    assert!(matches!(folder(Some(""), None), Err(CacheError::NoHome)));
}
