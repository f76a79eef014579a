//! The MariaDB side of the door: one connection, one thread that owns it, everybody else asks.
//!
//! It reads health, lists and ends idle sessions. It must never open a second connection beside the first (several
//! attempts exist only while getting in), never use a pool, never change the server's settings, and never show a
//! password or a statement's literals.

mod acquire;
mod census;
mod connect;
mod digest;
mod doing;
mod fault;
mod handle;
mod inventory;
mod kill;
mod lock;
mod named;
mod options;
mod owner;
mod question;
mod quota;
mod row;
mod session;
mod sql;
mod text;
#[cfg(test)]
mod trial;
mod url;

pub use acquire::Pace;
pub use connect::TlsMode;
pub use handle::Database;
pub use lock::lock_name;
pub use options::DatabaseOptions;
pub use url::{DatabaseUrl, UrlError, same_target};
