//! The executor interface, tasks and futures, function identity, and the scheduler without IO
