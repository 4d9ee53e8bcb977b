//! A transport within one process: two queues of messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{Batch, ReceiveMessages, SendMessages, Transport, TransportError};

/// One end of a transport within one process; see [`pair`].
#[derive(Debug)]
pub struct MemoryTransport {
    incoming: Arc<Queue>,
    outgoing: Arc<Queue>,
}

/// Two ends of a transport within one process.
///
/// `capacity` is how many bytes each direction holds before the sender waits for the receiver; one message more is taken if
/// there is less in it. Too low makes the two sides take turns, too high is the memory that a receiver who does not receive
/// costs.
///
/// # Examples
///
/// ```
/// use executor_remote::rpc::transport;
/// let (client_end, server_end) = transport::pair(64 * 1024);
/// # let _ = (client_end, server_end);
/// ```
pub fn pair(capacity: usize) -> (MemoryTransport, MemoryTransport) {
    let (there, back) = (Queue::new(capacity), Queue::new(capacity));
    let near = MemoryTransport { incoming: back.clone(), outgoing: there.clone() };
    (near, MemoryTransport { incoming: there, outgoing: back })
}

impl Transport for MemoryTransport {
    fn split(self: Box<Self>) -> (Box<dyn SendMessages>, Box<dyn ReceiveMessages>) {
        let receiver = Receiver { queue: self.incoming, arrived: VecDeque::new(), current: Vec::new() };
        (Box::new(Sender(self.outgoing)), Box::new(receiver))
    }

    fn peer(&self) -> String {
        "this process".to_owned()
    }
}

#[derive(Debug)]
struct Queue {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    sender_gone: bool,
    receiver_gone: bool,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

impl Queue {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics with the state half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_sending(&self) {
        let waker = {
            let mut state = self.lock();
            state.sender_gone = true;
            state.receiver.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

struct Sender(Arc<Queue>);

impl SendMessages for Sender {
    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), TransportError>> {
        let mut state = self.0.lock();
        if state.receiver_gone {
            return Poll::Ready(Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()));
        }
        while state.bytes < self.0.capacity {
            let Some(message) = batch.pop() else { break };
            state.bytes += message.len();
            state.messages.push_back(message.to_vec());
        }
        let sent = batch.is_empty();
        if !sent {
            state.sender = Some(cx.waker().clone());
        }
        let receiver = state.receiver.take();
        drop(state);
        receiver.into_iter().for_each(Waker::wake);
        if sent { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.0.end_sending();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.end_sending();
    }
}

struct Receiver {
    queue: Arc<Queue>,
    arrived: VecDeque<Vec<u8>>,
    /// What `next` has handed out.
    current: Vec<u8>,
}

impl ReceiveMessages for Receiver {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TransportError>> {
        if !self.arrived.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let mut state = self.queue.lock();
        if state.messages.is_empty() {
            if state.sender_gone {
                return Poll::Ready(Ok(false));
            }
            state.receiver = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut self.arrived, &mut state.messages);
        state.bytes = 0;
        let sender = state.sender.take();
        drop(state);
        sender.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(true))
    }

    fn next(&mut self) -> Option<&[u8]> {
        self.current = self.arrived.pop_front()?;
        Some(&self.current)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.queue.lock();
            state.receiver_gone = true;
            state.messages.clear();
            state.sender.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}
