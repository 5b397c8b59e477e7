//! The trace model of Tics: readers of trace formats, validation, scaling, slicing, synthesis, the schedule.
