//! A simulated inference server with a real HTTP face and a truth log.
