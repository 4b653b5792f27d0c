//! Parts, sums and comparisons of profiles.

mod activities;
mod calls;
mod difference;
mod filter;
mod merge;
mod precision;
mod support;
