//! The real program, over real HTTP, against servers that keep the promises and servers that break them.

mod honest;
mod program;

mod accidents;
mod liars;
mod outputs;
mod page;
mod runs;
mod schema;
mod signals;
