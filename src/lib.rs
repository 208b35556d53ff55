//! Client library for the Plexsphere control plane.

pub mod events;
pub mod reconnect;
pub mod values;
