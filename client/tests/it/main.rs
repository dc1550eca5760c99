//! The real program, over real HTTP, against servers that keep the promises and servers that break them.

mod honest;
mod liars;
mod outputs;
mod page;
mod program;
mod runs;
