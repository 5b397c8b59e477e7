//! Other tools' figures, from the same records, exactly as those tools compute them.

pub mod minisgl;
