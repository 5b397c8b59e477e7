//! What the verdict is judged from, collected from records.

mod lengths;
mod timing;

pub use lengths::Lengths;
pub use timing::{Dependence, Lumps, Timing, Trend, WindowOff};
pub(crate) use timing::{timing, trend};
