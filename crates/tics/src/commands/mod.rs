//! One module a command.

pub mod bench;
pub mod calibrate;
pub mod export;
pub mod probe;
pub mod replay;
pub mod report;
pub mod sim;
pub mod trace;
