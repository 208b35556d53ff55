//! Handwritten types that the generated ones use.
