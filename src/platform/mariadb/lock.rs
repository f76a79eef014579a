//! One run per app: the lock by name, and the card that its holder shows.
//!
//! A user lock carries no text, and an ordinary account may write nowhere that is free of its owner's death. So the
//! holder shows its card in further user locks, one for each bit that is set: whoever is kept out asks for all of them
//! in one statement and counts those that the holder's own connection holds. They end with that connection, as the
//! lock does, so a card is never stale. A card that does not add up is no card: another's locks can hide it, not
//! forge it. Nothing here waits for another run's lock, and nothing gives one back: the end of the
//! connection does.

use super::fault::StatementFault;
use super::row::Cells;
use super::session::Session;
use super::sql::CAP;
use super::text::{escape_short, quote};
use crate::platform::lock::{Card, LockHolder, LockState};

/// Longest name of a lock that the server takes, in bytes; four are left for the bits of the card.
const NAME: usize = 192 - 4;
/// Longest card, its check included, in bytes of seven bits. Eight bits each stay below the 1000 rounds that a
/// recursive query is given by default.
const CARD: usize = 96;
/// Bytes of the check.
const CHECK: usize = 2;
/// What stands between the parts of a card.
const BETWEEN: char = '\u{1f}';
/// Longest parts, in bytes.
const WHO: usize = 36;
const RUNBOOK: usize = 23;
const RUN: usize = 22;
/// A lock that changes hands while it is looked at is tried so often.
const ROUNDS: u32 = 5;

/// The name of the lock that a run of `app` against `database` holds. The server's names are shared by all its
/// tenants.
pub fn lock_name(database: &str, app: &str) -> String {
    let name = format!("runbook:{database}:{app}");
    if name.len() <= NAME {
        return name;
    }
    format!("runbook:{:016x}", fnv(name.as_bytes()))
}

/// What a connection is told to hold.
#[derive(Debug, Clone)]
pub struct Hold {
    name: String,
    card: Vec<u8>,
}

impl Hold {
    /// The lock of that name, with that card on it.
    pub fn new(name: &str, card: &Card) -> Self {
        Self { name: name.to_owned(), card: encode(card) }
    }

    /// Takes the lock if it is free, or proves that this connection holds it: 1 in both cases.
    pub fn take(&self) -> String {
        self.take_within("0")
    }

    fn take_within(&self, seconds: &str) -> String {
        format!("GET_LOCK({},{seconds})", quote(&self.name))
    }

    /// Whether that card is this one.
    fn is_shown_by(&self, holder: &LockHolder) -> bool {
        holder.card.as_ref().is_some_and(|card| encode(card) == self.card)
    }

    /// Shows the card; answers with how many bits are shown. `into` is a variable of a block, or nothing.
    pub fn show(&self, into: &str) -> String {
        let hex: String = self.card.iter().map(|byte| format!("{byte:02X}")).collect();
        format!(
            "{} SELECT SUM(GET_LOCK(CONCAT({},'#',i),0)) shown{into} FROM bits \
             WHERE ORD(SUBSTR(X'{hex}', 1 + (i DIV 8), 1)) >> (i MOD 8) & 1",
            bits(self.card.len()),
            quote(&self.name)
        )
    }

    /// How many bits are shown when all are.
    pub fn set(&self) -> u64 {
        self.card.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }
}

/// What became of the lock when a connection last asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// It was not told to hold it, or the server refused the question.
    #[default]
    Unasked,
    /// Another holds it: this connection must change nothing.
    KeptOut,
    /// It holds the lock; the card is not shown, or not whole.
    Held,
    /// It holds the lock and shows its card.
    Shown,
}

impl Standing {
    /// This connection holds the lock.
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Held | Self::Shown)
    }

    /// By whether the lock was got, and whether the card is shown whole.
    pub const fn of(got: bool, shown: bool) -> Self {
        match (got, shown) {
            (false, _) => Self::KeptOut,
            (true, false) => Self::Held,
            (true, true) => Self::Shown,
        }
    }
}

/// The numbers of the bits of so many bytes, as a table.
fn bits(bytes: usize) -> String {
    format!("WITH RECURSIVE bits AS (SELECT 0 i UNION ALL SELECT i+1 FROM bits WHERE i+1 < {})", bytes * 8)
}

/// Asks who holds the lock: its connection, account and address, and the bits of its card.
fn who_holds(name: &str) -> String {
    let name = quote(name);
    format!(
        "{CAP}{} SELECT h.id, p.user, SUBSTRING_INDEX(p.host,':',1) peer, \
         (SELECT GROUP_CONCAT(i) FROM bits WHERE IS_USED_LOCK(CONCAT({name},'#',i)) = h.id) bits \
         FROM (SELECT IS_USED_LOCK({name}) id) h LEFT JOIN information_schema.processlist p ON p.id = h.id",
        bits(CARD)
    )
}

impl Session {
    /// Takes the lock, or proves that this connection holds it still; else reads who does. A connection of this very run
    /// that was lost without the server's knowing is ended first: it would keep its own run out for a minute.
    pub fn lock(&mut self, hold: &Hold) -> Result<LockState, StatementFault> {
        let mut holder = None;
        let mut take = hold.take();
        for _ in 0..ROUNDS {
            let row = Cells(self.row(&format!("{CAP}SELECT {take} got"))?);
            let got = row.count("got")? == 1;
            self.standing = Standing::of(got, self.standing == Standing::Shown);
            if got {
                self.show(hold)?;
                return Ok(LockState::Held);
            }
            holder = read_holder(&Cells(self.row(&who_holds(&hold.name))?))?;
            match &holder {
                // Ids begin anew when the server does, so the card must be ours as well.
                Some(ghost) if self.lost.contains(&ghost.connection) && hold.is_shown_by(ghost) => {
                    match self.rows(&format!("KILL {}", ghost.connection)) {
                        Err(fault @ StatementFault::Lost(_)) => return Err(fault),
                        // Gone meanwhile, or not to be ended: the next look tells.
                        Ok(_) | Err(_) => take = hold.take_within("0.3"),
                    }
                }
                Some(_) => break,
                None => {}
            }
        }
        Ok(LockState::Elsewhere(holder.unwrap_or(LockHolder { connection: 0, card: None, peer: None })))
    }

    /// Shows the card, unless it is shown: the one before may have held some of its bits a moment longer than the
    /// lock. That it cannot be shown is no reason not to go on.
    fn show(&mut self, hold: &Hold) -> Result<(), StatementFault> {
        if self.standing == Standing::Shown {
            return Ok(());
        }
        match self.row(&format!("{CAP}{}", hold.show(""))) {
            Ok(row) => {
                let shown = Cells(row).count("shown").unwrap_or(0);
                self.standing = Standing::of(true, shown == hold.set());
            }
            Err(fault @ StatementFault::Lost(_)) => return Err(fault),
            Err(_) => {}
        }
        Ok(())
    }
}

fn read_holder(row: &Cells) -> Result<Option<LockHolder>, StatementFault> {
    let connection = row.count("id")?;
    if connection == 0 {
        return Ok(None);
    }
    let set: Vec<usize> = row.words("bits")?.split(',').filter_map(|bit| bit.parse().ok()).collect();
    let peer = row
        .text("user")?
        .map(|user| format!("{} from {}", user, row.words("peer").unwrap_or_default()))
        .map(|peer| escape_short(&peer, 160));
    Ok(Some(LockHolder { connection, card: decode(&set), peer }))
}

/// The part as it is shown: printable ASCII, at most so many bytes.
fn plain(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

fn encode(card: &Card) -> Vec<u8> {
    let text = [
        plain(&card.who, WHO),
        plain(&card.runbook, RUNBOOK),
        plain(&card.run, RUN),
        card.since.as_second().to_string(),
    ]
    .join(&BETWEEN.to_string());
    let mut bytes = check(text.as_bytes()).to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.truncate(CARD);
    bytes
}

fn decode(set: &[usize]) -> Option<Card> {
    let mut bytes = [0_u8; CARD];
    for bit in set {
        *bytes.get_mut(bit / 8)? |= 1 << (bit % 8);
    }
    let (sum, text) = bytes.split_at(CHECK);
    let text = text.split(|byte| *byte == 0).next()?;
    if check(text) != sum {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.split(BETWEEN);
    let mut part = |most| Some(plain(parts.next()?, most));
    let (who, runbook, run) = (part(WHO)?, part(RUNBOOK)?, part(RUN)?);
    let since = jiff::Timestamp::from_second(parts.next()?.parse().ok()?).ok()?;
    Some(Card { who, runbook, run, since })
}

/// Fourteen bits of the text's hash. A card that is read while it is being shown does not add up.
fn check(text: &[u8]) -> [u8; CHECK] {
    let hash = fnv(text);
    [(hash & 0x7f) as u8, (hash >> 7 & 0x7f) as u8]
}

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(who: &str, runbook: &str) -> Card {
        Card {
            who: who.into(),
            runbook: runbook.into(),
            run: "20261125-031205-abcd".into(),
            since: jiff::Timestamp::from_second(1_795_576_325).unwrap(),
        }
    }

    fn set(card: &[u8]) -> Vec<usize> {
        (0..card.len() * 8).filter(|bit| card[bit / 8] >> (bit % 8) & 1 == 1).collect()
    }

    #[test]
    fn a_card_is_read_as_it_was_shown() {
        let shown = card("kim@laptop", "emergency");
        assert_eq!(decode(&set(&encode(&shown))), Some(shown));
        // The longest is cut to what there is room for, and nothing foreign reaches a terminal.
        let long = card(&"kim\u{1b}[2J@".repeat(40), &"é\u{1f}".repeat(40));
        let bytes = encode(&long);
        assert!(bytes.len() <= CARD && bytes.is_ascii(), "{} bytes", bytes.len());
        let read = decode(&set(&bytes)).unwrap();
        assert_eq!((read.who.len(), read.runbook.as_str()), (WHO, "?".repeat(RUNBOOK).as_str()));
        assert_eq!((read.run, read.since), (long.run, long.since));
    }

    #[test]
    fn a_card_that_does_not_add_up_is_none() {
        let whole = set(&encode(&card("kim@laptop", "emergency")));
        for missing in 0..whole.len() {
            let mut part = whole.clone();
            part.remove(missing);
            assert_eq!(decode(&part), None, "without bit {}", whole[missing]);
        }
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[usize::MAX]), None, "a bit that no card has");
    }

    #[test]
    fn a_name_too_long_for_the_server_is_hashed() {
        assert_eq!(lock_name("wiki", "wizzypedia"), "runbook:wiki:wizzypedia");
        let (one, other) = (lock_name(&"é".repeat(100), "a"), lock_name(&"é".repeat(100), "b"));
        assert!(one.len() <= NAME && one != other, "{one} {other}");
    }
}
