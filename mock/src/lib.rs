//! A Plexsphere control plane in a box, for tests and examples.
