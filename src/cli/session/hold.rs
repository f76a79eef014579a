//! One run per app: the lease on this machine, and the lock at the app's database for all machines. Taken before the plan
//! is shown, and never by a dry run.

use std::time::Duration;

use super::{Session, unusable};
use crate::cli::environment;
use crate::cli::output::{Stop, talk};
use crate::journal::{Holder, Lease, LeaseError, Store};
use crate::platform::{Card, DatabaseReads, LockState};

/// How often a held lock is looked at.
const LOCK_LOOK: Duration = Duration::from_millis(500);
/// How long a program is waited for that a run had started whose process died: the bound of a push.
const LINGERING: Duration = Duration::from_secs(20 * 60);
/// How long the server may believe a connection alive whose machine has vanished: its `wait_timeout`, and a moment.
const VANISHED: Duration = Duration::from_secs(70);

impl Session {
    /// One run per app on this machine.
    pub(super) fn lease(&mut self, store: &Store, run: &str) -> Result<Lease, Stop> {
        let (user, host) = environment::who();
        let clock = self.opened.observer.clock();
        let holder = Holder {
            run: run.to_owned(),
            user,
            host,
            pid: std::process::id(),
            runbook: self.plan.record.runbook.clone(),
            since: clock.wall(),
        };
        let lease = self.take_lease(store, run, &holder)?;
        let children = lease.for_children().map_err(|error| {
            Stop::new(
                9,
                format!("error: the app's lease cannot be handed on: {error}\n  nothing was changed"),
            )
        })?;
        self.opened.children_hold(children);
        self.take_lock(&holder)?;
        Ok(lease)
    }

    /// One run per app, whatever machine: the lock at its database. When that lets nobody in, the lease alone holds.
    fn take_lock(&mut self, holder: &Holder) -> Result<(), Stop> {
        let card = Card {
            who: format!("{}@{}", holder.user, holder.host),
            runbook: holder.runbook.clone(),
            run: holder.run.clone(),
            since: holder.since,
        };
        let clock = self.opened.observer.clock();
        let began = clock.now();
        let mut told = false;
        let mut state = self.opened.hold(&card);
        loop {
            let other = match state {
                LockState::Held | LockState::Unasked => {
                    self.locked = true;
                    return Ok(());
                }
                LockState::Unreachable(_) if self.manner.no_database => {
                    let note = "lock: only this machine's lease keeps other runs out (--no-database)";
                    self.manner.notes.push(note.to_owned());
                    return Ok(());
                }
                LockState::Unreachable(why) => {
                    self.manner.notes.push(format!(
                        "lock: not held at the database ({why}): until it lets us in, only this machine's lease keeps other runs out"
                    ));
                    return Ok(());
                }
                LockState::Elsewhere(other) => other,
            };
            // A connection of this very run that the server believes alive, after its process or its network has died.
            let ours = other.card.as_ref().is_some_and(|card| holder.run.starts_with(&card.run));
            let patience = if ours { self.manner.wait_lock.max(VANISHED) } else { self.manner.wait_lock };
            if clock.now().since(began) >= patience {
                let mut text = format!(
                    "error: another run holds {}: {other}\n  nothing was changed\n  hint: `--wait-lock 2m` waits for its end",
                    self.plan.record.target.app
                );
                if other.card.as_ref().is_some_and(|shown| shown.who == card.who) {
                    text.push_str(
                        "\n  hint: it is of this machine: a process that died is let go of by the server within a minute",
                    );
                }
                return Err(Stop::new(8, text));
            }
            if !std::mem::replace(&mut told, true) {
                talk(&format!("the app is held by {other}; waiting for its end"));
            }
            clock.sleep(LOCK_LOOK);
            state = self.opened.observer.database().map_or(LockState::Unasked, DatabaseReads::lock);
        }
    }

    fn take_lease(&self, store: &Store, run: &str, holder: &Holder) -> Result<Lease, Stop> {
        let clock = self.opened.observer.clock();
        let began = clock.now();
        let mut told = false;
        loop {
            let error = match Lease::take(&store.locks(), &self.plan.record.target.app, holder) {
                Ok(lease) => return Ok(lease),
                Err(LeaseError::Store(error)) => return Err(unusable(&error)),
                Err(error) => error,
            };
            // What this very run has started is waited for: until it has ended, nobody can tell what it has done.
            let ours = matches!(&error, LeaseError::Lingering { holder: Some(known) } if known.run == run);
            let patience = if ours { self.manner.wait_lock.max(LINGERING) } else { self.manner.wait_lock };
            if clock.now().since(began) >= patience {
                let text = format!(
                    "error: {error}\n  nothing was changed\n  hint: `--wait-lock 2m` waits for its end"
                );
                return Err(Stop::new(8, text));
            }
            if !std::mem::replace(&mut told, true) {
                talk(&format!("{error}; waiting for its end"));
            }
            clock.sleep(LOCK_LOOK);
        }
    }
}
