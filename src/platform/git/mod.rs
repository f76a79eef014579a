//! The app's git working tree and its remote on Heroku, through the `git` program.
//!
//! Reads leave not one file behind in the repository; the token reaches git through a credential helper that reads one
//! variable of that process's environment, never an argument, a URL or a config file.

mod files;
mod reads;
mod tree;
mod writes;

pub use tree::{Tree, TreeOptions, default_remote, remotes};
