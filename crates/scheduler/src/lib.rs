//! Keeps time: the real clock, the pacer, workers, open and closed loops, draining.
