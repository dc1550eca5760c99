//! The real program, over real HTTP, against servers that keep the promises and servers that break them.

mod honest;
mod program;

mod accidents;
mod environment;
mod histories;
mod liars;
mod open_loop;
mod outputs;
mod page;
mod pages;
mod retries;
mod runs;
mod schema;
mod signals;
