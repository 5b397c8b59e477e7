//! One streaming exchange over raw hyper: connect, arm, fire, read, stamp, class.
