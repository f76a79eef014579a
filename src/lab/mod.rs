//! The rehearsal lab: a private MariaDB server, a Heroku simulator, git over HTTP and real dyno processes on
//! loopback. It is reached through real sockets only, shares no type with the Heroku client and must never be
//! imported by anything but `cli`.

pub mod heroku;
