//! When to connect, wait, poll or stop.
