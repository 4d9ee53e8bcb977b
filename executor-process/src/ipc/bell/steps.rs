//! The steps of a bell: rules 1 to 3.

/// The words and the kernel: the real ones, or those of the models.
pub(super) trait Cell {
    fn add_one(&self);
    fn sleepers(&self) -> bool;
    fn set_sleepers(&self, are_there: bool);
    /// Wakes all who sleep.
    fn wake_all(&self);
}

/// Rings after `change`.
pub(super) fn ring_after<T>(cell: &impl Cell, change: impl FnOnce() -> T) -> T {
    let result = change();
    if cell.sleepers() {
        wake(cell);
        return result;
    }
    cell.add_one();
    // Only now: who has not said so before will find the new count.
    if cell.sleepers() {
        wake(cell);
    }
    result
}

/// Rings, whether or not anybody is known to sleep.
pub(super) fn wake(cell: &impl Cell) {
    cell.set_sleepers(false);
    cell.add_one();
    cell.wake_all();
}
