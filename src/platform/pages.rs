//! Pages of the site, asked for one after the other beside the run: what a visitor would get, with its status, time and
//! body. GETs without credentials; it must never ask two at a time, since at a full database each page takes a slot.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clock::Clock;
use super::reads::HerokuReads;
use crate::health::Moment;

/// Pages kept of one round, at most.
const AT_MOST: usize = 1000;

/// What one page was answered with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageAnswer {
    /// Its status; `None` when nothing came.
    pub status: Option<u16>,
    /// Time until its body was there, in milliseconds.
    pub took_ms: f64,
    /// Bytes of its body that were read: 256 KiB at most.
    pub bytes: u64,
    /// It failed, and its body says that the database takes no more connections.
    pub exhausted: bool,
    /// Its body, to be searched and never shown; empty where the round does not keep bodies.
    pub body: String,
    /// Maintenance mode is on: it is the router's page, and not the app's.
    pub maintenance: bool,
    /// Why there is no answer of the app's, or no whole one.
    pub why: Option<String>,
}

impl PageAnswer {
    /// No answer, and why.
    pub(in crate::platform) fn none(why: String, took_ms: f64) -> Self {
        Self { took_ms, why: Some(why), ..Self::default() }
    }

    /// Whole, and below 500.
    pub fn is_ok(&self) -> bool {
        self.why.is_none() && self.status.is_some_and(|status| status < 500)
    }
}

/// A round of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRound {
    /// Tells rounds apart: when the action began that asks.
    pub began: Moment,
    /// Paths of the site, or whole URLs, asked for in turn.
    pub addresses: Vec<String>,
    /// Bodies are kept, to be searched.
    pub bodies: bool,
}

/// The round in hand.
#[derive(Debug, Default)]
struct Hand {
    due: usize,
    answers: Vec<PageAnswer>,
    /// Somebody asks.
    busy: bool,
}

/// A round and what has come of it.
type InHand = (PageRound, Arc<Mutex<Hand>>);

/// Where rounds are kept: one at a time.
#[derive(Debug, Default)]
pub(in crate::platform) struct PageDesk(Mutex<Option<InHand>>);

fn held(hand: &Mutex<Hand>) -> MutexGuard<'_, Hand> {
    hand.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PageDesk {
    /// See [`super::Observer::pages`].
    pub(in crate::platform) fn ask(
        &self,
        heroku: &Arc<dyn HerokuReads>,
        clock: &dyn Clock,
        round: &PageRound,
        due: usize,
    ) -> Vec<PageAnswer> {
        let hand = self.hand(round);
        let begin = {
            let mut hand = held(&hand);
            hand.due = if round.addresses.is_empty() { 0 } else { due.min(AT_MOST) };
            let begin = !hand.busy && hand.answers.len() < hand.due;
            hand.busy |= begin;
            begin
        };
        if begin {
            let (heroku, round, hand) = (Arc::clone(heroku), round.clone(), Arc::clone(&hand));
            clock.beside(Box::new(move || work(&*heroku, &round, &hand)));
        }
        held(&hand).answers.clone()
    }

    /// The round's own hand; another round before it ends with the page that it is at.
    fn hand(&self, round: &PageRound) -> Arc<Mutex<Hand>> {
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, hand)) = &*desk {
            if known == round {
                return Arc::clone(hand);
            }
            held(hand).due = 0;
        }
        let hand = Arc::<Mutex<Hand>>::default();
        *desk = Some((round.clone(), Arc::clone(&hand)));
        hand
    }
}

/// Asks until what is due is answered.
fn work(heroku: &dyn HerokuReads, round: &PageRound, hand: &Mutex<Hand>) {
    loop {
        let next = {
            let mut hand = held(hand);
            if hand.answers.len() >= hand.due {
                hand.busy = false;
                return;
            }
            hand.answers.len() % round.addresses.len()
        };
        let mut answer = heroku.ask_page(&round.addresses[next]);
        if !round.bodies {
            answer.body = String::new();
        }
        held(hand).answers.push(answer);
    }
}

/// Whether an address is a whole URL, and not a path of the site.
pub(in crate::platform) fn is_whole(address: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| address.starts_with(scheme))
}

/// A URL as it may be shown and kept: a login in it is for the request alone.
pub(in crate::platform) fn without_login(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::fake::{Leak, World};

    #[test]
    fn a_round_is_asked_as_far_as_it_is_due_and_the_next_one_anew() {
        let world = World::new(Leak::Once);
        let observer = world.observer();
        let round = |began, bodies| PageRound {
            began: Moment(began),
            addresses: vec!["/".into(), "/wiki/A".into()],
            bodies,
        };
        assert_eq!(observer.pages(&round(1, false), 3).len(), 3);
        assert_eq!(observer.pages(&round(1, false), 2).len(), 3, "what is answered stays");
        let more = observer.pages(&round(1, false), 5);
        assert!(more.len() == 5 && more.iter().all(|page| page.is_ok() && page.body.is_empty()), "{more:?}");
        let kept = observer.pages(&round(2, true), 1);
        assert!(kept.len() == 1 && !kept[0].body.is_empty(), "{kept:?}");
        assert_eq!(observer.pages(&round(3, true), 5000).len(), AT_MOST, "bounded");
    }

    #[test]
    fn a_login_is_for_the_request_alone() {
        for (url, shown) in [
            ("https://wiki.example/", "https://wiki.example/"),
            ("https://me:pw@wiki.example/a@b", "https://wiki.example/a@b"),
            ("http://127.0.0.1:80", "http://127.0.0.1:80"),
            ("/wiki", "/wiki"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }
}
