//! Tests of the real program, over HTTP, against servers that keep the promises and servers that break them.

mod program;
mod server;

mod environment;
mod faulty_servers;
mod histories;
mod open_loop;
mod outputs;
mod page;
mod pages;
mod retries;
mod runs;
mod schema;
mod signals;
mod unknown_outcomes;
