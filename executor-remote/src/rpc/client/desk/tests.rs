//! Every order of the steps of a few threads, futures, the driver and the network.

use super::*;
use crate::rpc::in_flight::Matching;

/// Who waits for a call.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Thread,
    /// A thread whose time may be up at any moment.
    Impatient,
    Task,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum At {
    /// About to ask for its answer: at first, or as it was woken.
    Asking,
    /// In the system call that reads.
    Reading,
    /// A thread that has parked, or a future that is pending.
    Asleep,
    Done,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum DriverAt {
    /// Has not been polled since it was woken.
    Woken,
    /// Registered for readability.
    Armed,
    Reading,
    /// Neither, as a thread reads.
    Off,
}

/// What can happen next.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Arrive(usize),
    Go(usize),
    TimeUp(usize),
    Driver,
}

struct World {
    desk: Desk<usize>,
    ids: Vec<CallId>,
    kinds: Vec<Kind>,
    at: Vec<At>,
    /// Parked threads keep a wake-up that came before they parked.
    tokens: Vec<bool>,
    driver: DriverAt,
    /// The driver is registered for readability.
    registered: bool,
    on_the_way: Vec<usize>,
    in_socket: Vec<usize>,
}

impl World {
    fn new(kinds: &[Kind]) -> World {
        let mut desk = Desk::new(InFlight::new(Matching::Cancellable));
        let ids = kinds.iter().map(|_| desk.calls.insert_sent()).collect();
        World {
            desk,
            ids,
            kinds: kinds.to_vec(),
            at: vec![At::Asking; kinds.len()],
            tokens: vec![false; kinds.len()],
            driver: DriverAt::Off,
            registered: false,
            on_the_way: (0..kinds.len()).collect(),
            in_socket: Vec::new(),
        }
    }

    fn enabled(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = self.on_the_way.iter().map(|call| Step::Arrive(*call)).collect();
        for (who, at) in self.at.iter().enumerate() {
            let goes = match at {
                At::Asking => true,
                At::Reading => !self.in_socket.is_empty(),
                At::Asleep => self.tokens[who],
                At::Done => false,
            };
            steps.extend(goes.then_some(Step::Go(who)));
            let impatient = self.kinds[who] == Kind::Impatient && matches!(at, At::Reading | At::Asleep);
            steps.extend(impatient.then_some(Step::TimeUp(who)));
        }
        let driver_goes = match self.driver {
            DriverAt::Woken | DriverAt::Reading => true,
            DriverAt::Armed => !self.in_socket.is_empty(),
            DriverAt::Off => false,
        };
        steps.extend(driver_goes.then_some(Step::Driver));
        steps
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive(call) => {
                self.on_the_way.retain(|other| *other != call);
                self.in_socket.push(call);
            }
            Step::Go(who) if self.at[who] == At::Reading => {
                self.read();
                self.at[who] = At::Asking;
            }
            Step::Go(who) => self.ask(who),
            Step::TimeUp(who) => {
                let (_, then, _) = self.desk.rise(self.ids[who]);
                self.at[who] = At::Done;
                self.follow(then);
                drop(self.desk.calls.forget(self.ids[who]));
            }
            Step::Driver => self.drive(),
        }
        let registered = self.desk.calls.tasks() + self.desk.calls.threads() > 0;
        assert!(
            !registered || self.desk.reader != Reader::Nobody || self.desk.watching,
            "somebody is registered, and nobody will read"
        );
    }

    fn ask(&mut self, who: usize) {
        self.tokens[who] = false;
        let id = self.ids[who];
        if self.kinds[who] == Kind::Task {
            let (poll, then, _) = self.desk.poll(id, Waker::noop());
            self.at[who] = if poll == Poll::Ready(who) { At::Done } else { At::Asleep };
            return self.follow(then);
        }
        let (seat, then, _) = self.desk.sit(id, std::thread::current);
        self.at[who] = match seat {
            Seat::Answered(answer) => {
                assert_eq!(answer, who);
                At::Done
            }
            Seat::Lead => At::Reading,
            Seat::Park => At::Asleep,
        };
        self.follow(then);
    }

    fn read(&mut self) {
        for call in std::mem::take(&mut self.in_socket) {
            if self.desk.calls.answer(self.ids[call], call).is_some() {
                self.tokens[call] = true;
            }
        }
    }

    fn drive(&mut self) {
        self.driver = match self.driver {
            DriverAt::Woken if !self.registered => {
                self.registered = self.desk.driver_returns();
                if self.registered { DriverAt::Woken } else { DriverAt::Off }
            }
            DriverAt::Woken | DriverAt::Armed if self.in_socket.is_empty() => DriverAt::Armed,
            DriverAt::Woken | DriverAt::Armed => match self.desk.driver_begins() {
                true => DriverAt::Reading,
                false => {
                    self.registered = false;
                    DriverAt::Off
                }
            },
            DriverAt::Reading => {
                self.read();
                let then = self.desk.driver_ends();
                self.driver = DriverAt::Armed;
                return self.follow(then);
            }
            DriverAt::Off => unreachable!("it is not enabled"),
        }
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Unpark(_) => {
                let Reader::Thread(reader) = self.desk.reader else {
                    panic!("the role went with the wake-up")
                };
                let who = self.ids.iter().position(|id| *id == reader).expect("it is one of them");
                self.tokens[who] = true;
            }
            Then::WakeDriver if self.driver == DriverAt::Reading => panic!("the driver is awake"),
            Then::WakeDriver => self.driver = DriverAt::Woken,
        }
    }
}

/// Walks through all orders; gives how many there were.
fn explore(kinds: &[Kind]) -> usize {
    // For each step of the order that is walked: which of how many was taken.
    let mut order: Vec<(usize, usize)> = Vec::new();
    for orders in 1.. {
        let mut world = World::new(kinds);
        let mut walked = Vec::new();
        for depth in 0.. {
            let enabled = world.enabled();
            if enabled.is_empty() {
                break;
            }
            if depth == order.len() {
                order.push((0, enabled.len()));
            }
            let step = enabled[order[depth].0];
            walked.push(step);
            world.step(step);
        }
        assert!(world.at.iter().all(|at| *at == At::Done), "somebody sleeps for ever after {walked:?}");
        while order.pop_if(|(taken, of)| *taken + 1 == *of).is_some() {}
        match order.last_mut() {
            Some((taken, _)) => *taken += 1,
            None => return orders,
        }
    }
    unreachable!("the orders are finite")
}

#[test]
fn two_threads_take_turns() {
    assert!(explore(&[Kind::Thread, Kind::Thread]) > 20);
}

#[test]
fn a_thread_hands_over_to_the_driver() {
    assert!(explore(&[Kind::Thread, Kind::Task]) > 20);
}

#[test]
fn a_thread_that_gives_up_hands_over() {
    assert!(explore(&[Kind::Impatient, Kind::Thread]) > 20);
    assert!(explore(&[Kind::Impatient, Kind::Task]) > 20);
    assert!(explore(&[Kind::Impatient, Kind::Impatient]) > 20);
}

#[test]
fn the_driver_reads_for_futures() {
    assert!(explore(&[Kind::Task, Kind::Task]) > 20);
}

#[test]
fn threads_and_futures_at_the_same_time() {
    assert!(explore(&[Kind::Thread, Kind::Thread, Kind::Task]) > 1000);
}
