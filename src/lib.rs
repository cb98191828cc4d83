//! Containers for Linux as a library: sealed, clear and small.
