//! What stands in `testbed`, under the names that the tests use.

pub(crate) use testbed::{
    Answer, Caller, Database, DatabaseHost as Door, Exchange, HostStatus as Standing, Load,
    OwnDatabase, PATIENCE, Replica, assert_promises, eventually, signal, skip,
};
