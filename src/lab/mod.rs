//! The rehearsal lab: a private MariaDB server, a Heroku simulator, git over HTTP and real dyno processes on
//! loopback. It is reached through real sockets only, shares no type with the Heroku client and must never be
//! imported by anything but `cli`.

pub mod by_hand;
pub mod control;
pub mod door;
pub mod folder;
pub mod heroku;
pub mod http;
pub mod repository;
pub mod scenario;
pub mod server;
pub mod settings;
pub mod site;
pub mod traffic;
pub mod watch;
pub mod wiki;
