//! A summary as text, JSON and exports.
