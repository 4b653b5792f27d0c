//! Every build of CPython that we know, in fake memory: what was found in its headers (or in itself) is laid out by those
//! findings, and read through the layout that the crate detects.

mod build;
mod code_objects;
mod frame_walk;
mod hostile;
mod image;
mod layouts;
mod plain_walk;
mod threads;
