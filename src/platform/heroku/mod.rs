//! The client of Heroku's Platform API: reads are retried a little, changes are sent once and never blindly repeated.

mod addons;
mod bucket;
mod client;
mod config;
mod errors;
mod logs;
mod model;
mod one_off;
mod reads;
mod rendezvous;
mod target;
mod writes;

pub use bucket::Bucket;
pub use client::{Heroku, HerokuOptions};
pub(in crate::platform) use client::{check_url, is_loopback};
pub(in crate::platform) use logs::shortened;
pub(in crate::platform) use target::is_app;
pub use target::{TargetError, choose_app};
