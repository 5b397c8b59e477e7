//! Text of exactly the asked token length, made ahead of time and reproducible.
