//! Draws a live snapshot of a run with ratatui.
