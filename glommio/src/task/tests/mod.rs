//! Behaviour of the task layer, shown on a toy executor.

mod basic;
mod toy;
