//! The program against a real database, and its client against services that keep the contract or break it.

mod harness;
mod figures;
mod loading;
mod interruptions;
mod checking;
mod repaired;
mod service;
mod api;
mod attempts;
mod contract;
mod kills;
mod stub;
mod client;
