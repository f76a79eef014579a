//! Where clients attach to one-off dynos (facts §2, Rendezvous). Plain on loopback: the secret and CR LF, one line
//! `rendezvous`, then the dyno's output with `\r\n`. A client that leaves ends its dyno (SIGHUP). It keeps no exit code.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::door;
use super::World;
use super::dynos;
use super::faults::{Door, Kind};
use super::state::{Client, Dyno};

/// The first byte of U+FFFF and the rest: what stands before an exit code.
const MARK: [u8; 3] = [0xef, 0xbf, 0xbf];

/// Dynos that wait for a client, by secret.
pub struct Rendezvous {
    at: SocketAddr,
    waiting: Mutex<HashMap<String, Dyno>>,
}

impl Rendezvous {
    /// Takes a port of loopback.
    pub fn listen() -> io::Result<(Self, TcpListener)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        Ok((Self { at: listener.local_addr()?, waiting: Mutex::default() }, listener))
    }

    /// The URL where a dyno can be attached to; with the fault `blocked` nobody listens there.
    pub fn offer(&self, world: &World, dyno: &Dyno) -> String {
        let secret = door::uuid();
        if world.faults.take_only(Door::Rendezvous, &dyno.name, &Kind::Blocked) {
            let port = door::free_port().unwrap_or(1);
            return format!("rendezvous://127.0.0.1:{port}/{secret}");
        }
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.clone(), dyno.clone());
        format!("rendezvous://{}/{secret}", self.at)
    }

    fn claim(&self, secret: &str) -> Option<Dyno> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(secret)
    }
}

/// Takes clients until the rehearsal ends.
pub fn serve(world: &Arc<World>, listener: TcpListener) {
    let world = Arc::downgrade(world);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Some(world) = world.upgrade() else { return };
            let Ok(stream) = stream else { continue };
            std::thread::spawn(move || {
                // Who says nothing sensible is hung up on.
                let _ = greet(&world, stream);
            });
        }
    });
}

fn greet(world: &Arc<World>, mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut secret = String::new();
    BufReader::new(stream.try_clone()?).take(200).read_line(&mut secret)?;
    let Some(dyno) = world.rendezvous.claim(secret.trim_end()) else { return Ok(()) };
    stream.write_all(b"rendezvous\r\n")?;
    let cut = world.faults.take_only(Door::Rendezvous, &dyno.name, &Kind::Cut);
    if let Ok(mut client) = dyno.control.client.lock() {
        *client = Some(Client { stream, cut });
    }
    Ok(())
}

/// A connection that is closed for both sides when the output has ended: another thread reads from it, too.
struct Outlet(TcpStream);

impl Drop for Outlet {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

/// Joins a dyno's output with its client.
pub fn join(
    client: Client,
    dyno: &Dyno,
    out: Option<impl Read + Send + 'static>,
    err: Option<impl Read + Send + 'static>,
) -> [Option<JoinHandle<()>>; 2] {
    let Client { stream, cut } = client;
    if let Ok(gone) = stream.try_clone() {
        let dyno = dyno.clone();
        std::thread::spawn(move || watch(gone, &dyno));
    }
    let stream = Arc::new(Mutex::new(Outlet(stream)));
    [pipe(&stream, cut, out), pipe(&stream, cut, err)]
}

/// Reads what the client types, which nobody uses; when it leaves, its dyno ends.
fn watch(mut stream: TcpStream, dyno: &Dyno) {
    let mut typed = [0; 256];
    // It may type nothing for as long as the command runs.
    if stream.set_read_timeout(None).is_err() {
        return;
    }
    while matches!(stream.read(&mut typed), Ok(read) if read > 0) {}
    if dyno.control.exit.get().is_none() {
        dynos::stop_one_off(dyno);
    }
}

fn pipe(
    client: &Arc<Mutex<Outlet>>,
    cut: bool,
    from: Option<impl Read + Send + 'static>,
) -> Option<JoinHandle<()>> {
    let (client, mut from) = (Arc::clone(client), from?);
    Some(std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut part) {
            let text = &part[..read];
            let Ok(mut client) = client.lock() else { return };
            if cut && text.windows(MARK.len()).any(|bytes| bytes == MARK) {
                let _ = client.0.shutdown(std::net::Shutdown::Both);
                return;
            }
            let lines: Vec<u8> = text
                .iter()
                .flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] })
                .collect();
            // A client that has left is noticed by whoever reads from it.
            let _ = client.0.write_all(&lines);
        }
    }))
}
