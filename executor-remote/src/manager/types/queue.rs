//! `Queue` and `JoinableQueue`: items in order, with a bound.
//!
//! 1. While a getter is parked there are no items, and while a putter is parked there is no room.
//! 2. An item goes straight to the getter that has waited longest; where room is made, the item of the putter that has
//!    waited longest goes in. Who is parked is never overtaken.

use std::collections::VecDeque;

use super::waiters::Waiters;
use super::{Kind, Method, Now, Parks};
use crate::manager::operation::{Args, Outcome, Patience, SessionId, Step, Wait};
use crate::manager::raise;
use crate::object::{Exception, Object};

#[derive(Default)]
pub(super) struct Queue {
    /// `None` is no bound.
    bound: Option<usize>,
    items: VecDeque<Object>,
    getters: Waiters<()>,
    /// With what they put.
    putters: Waiters<Object>,
    joiners: Waiters<()>,
    /// Items that were put and not reported done.
    unfinished: u64,
}

impl Queue {
    #[cfg(test)]
    pub(super) fn parked(&self) -> usize {
        self.getters.len()
    }

    fn is_full(&self) -> bool {
        self.bound.is_some_and(|bound| self.items.len() >= bound)
    }

    /// Gives an item to the getter that has waited longest; the item, if there is none.
    fn hand_over(&mut self, mut item: Object) -> Option<Object> {
        while let Some(((), getter)) = self.getters.pop() {
            match getter.send(Ok(item)) {
                Ok(()) => return None,
                Err(back) => item = back.ok()?,
            }
        }
        Some(item)
    }

    /// Puts an item in, or into the hands of who waits for one.
    fn accept(&mut self, item: Object) {
        self.unfinished += 1;
        let item = self.hand_over(item);
        self.items.extend(item);
    }

    /// Takes the first item, and lets in whoever waits for the room.
    fn take(&mut self) -> Option<Object> {
        let item = self.items.pop_front()?;
        while !self.is_full() {
            let Some((waiting, putter)) = self.putters.pop() else { break };
            if putter.send(Ok(Object::None)).is_ok() {
                self.accept(waiting);
            }
        }
        Some(item)
    }

    fn get(&mut self, mut args: Args, _session: SessionId) -> Step {
        let is_blocking = args.flag("block", true);
        let patience = args.seconds("timeout").and_then(|limit| {
            args.end()?;
            Patience::of_flag(is_blocking, limit)
        });
        let patience = match patience {
            Ok(patience) => patience,
            Err(exception) => return Step::Done(Err(exception)),
        };
        match (self.take(), patience) {
            (Some(item), _) => Step::Done(Ok(item)),
            (None, Patience::No) => Step::Done(Err(raise::empty())),
            (None, Patience::For(limit)) => Step::Wait(Wait {
                receiver: self.getters.park(()),
                limit,
                late: Err(raise::empty()),
                gives: true,
            }),
        }
    }

    fn get_nowait(&mut self, args: Args) -> Outcome {
        args.end()?;
        self.take().ok_or_else(raise::empty)
    }

    fn put(&mut self, mut args: Args, _session: SessionId) -> Step {
        let parsed = args.required("item").and_then(|item| {
            let is_blocking = args.flag("block", true);
            let limit = args.seconds("timeout")?;
            args.end()?;
            Ok((item, Patience::of_flag(is_blocking, limit)?))
        });
        match parsed {
            Err(exception) => Step::Done(Err(exception)),
            Ok((item, _)) if !self.is_full() => {
                self.accept(item);
                Step::Done(Ok(Object::None))
            }
            Ok((_, Patience::No)) => Step::Done(Err(raise::full())),
            Ok((item, Patience::For(limit))) => Step::Wait(Wait {
                receiver: self.putters.park(item),
                limit,
                late: Err(raise::full()),
                gives: false,
            }),
        }
    }

    fn put_nowait(&mut self, mut args: Args) -> Outcome {
        let item = args.required("item")?;
        args.end()?;
        if self.is_full() {
            return Err(raise::full());
        }
        self.accept(item);
        Ok(Object::None)
    }

    fn qsize(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(self.items.len().into())
    }

    fn empty(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(self.items.is_empty().into())
    }

    fn full(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(self.is_full().into())
    }

    fn task_done(&mut self, args: Args) -> Outcome {
        args.end()?;
        self.unfinished = self
            .unfinished
            .checked_sub(1)
            .ok_or_else(|| raise::value_error("task_done() called too many times"))?;
        if self.unfinished == 0 {
            self.joiners.answer_all(|()| Ok(Object::None));
        }
        Ok(Object::None)
    }

    /// Waits until all that was put is done.
    fn join(&mut self, args: Args, _session: SessionId) -> Step {
        match args.end() {
            Err(exception) => Step::Done(Err(exception)),
            Ok(()) if self.unfinished == 0 => Step::Done(Ok(Object::None)),
            Ok(()) => Step::Wait(Wait {
                receiver: self.joiners.park(()),
                limit: None,
                late: Ok(Object::None),
                gives: false,
            }),
        }
    }
}

impl Kind for Queue {
    const METHODS: &'static [(&'static str, Method<Self>)] = &[
        ("empty", Now(Self::empty)),
        ("full", Now(Self::full)),
        ("get", Parks(Self::get)),
        ("get_nowait", Now(Self::get_nowait)),
        ("join", Parks(Self::join)),
        ("put", Parks(Self::put)),
        ("put_nowait", Now(Self::put_nowait)),
        ("qsize", Now(Self::qsize)),
        ("task_done", Now(Self::task_done)),
    ];

    fn create(mut args: Args) -> Result<Self, Exception> {
        let bound = args.integer("maxsize", 0)?;
        args.end()?;
        // As in Python, where no bound and a negative one are the same.
        let bound = usize::try_from(bound).ok().filter(|bound| *bound > 0);
        Ok(Self { bound, ..Self::default() })
    }

    fn value(&self) -> Outcome {
        Err(raise::type_error("cannot pickle a Queue"))
    }

    fn repr(&self) -> String {
        format!("<Queue: {} items>", self.items.len())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Object)) {
        self.items.iter().chain(self.putters.tags()).for_each(visit);
    }

    /// An item whose getter is gone is the first again.
    fn give_back(&mut self, _session: SessionId, given: Object) {
        if let Some(item) = self.hand_over(given) {
            self.items.push_front(item);
        }
    }
}
