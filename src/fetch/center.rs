//! A data centre as this program sees it: its connections, their pace, and what it knows of the account.
//!
//! Connections share one key. The first one is opened when somebody needs it, another as soon as all that are open have
//! something to do and something behind it. A lost one is replaced after a growing pause; who waits hears of it only when that
//! does not help.

mod errors;
mod leave;
mod watcher;

pub(crate) use errors::{fetch_error, flood_wait};
pub(crate) use leave::Leave;

use crate::answer::Answer;
use crate::connection::{CallError, Connection, Gate};
use crate::salts::Salts;
use crate::schedule::pace::{Grant, Pace};
use crate::session::{RpcError, Session};
use crate::signal::Signal;
use crate::source::FetchError;
use crate::store::Key;
use crate::telegram::Inner;
use crate::way::{OpenError, fill, within};
use errors::{call_error, unregistered};
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::clock;
use smol::Task;
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};
use watcher::Watcher;

/// So often in a row may connections be lost without any answer between.
const MOST_FAILURES: u32 = 6;
/// The pause after the first loss; it doubles with each further one
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// The pause after a transport error −429, which says that there were too many connections. It doubles, too.
const CROWDED: Duration = Duration::from_secs(2);
/// An unknown key (−404) is believed when it is said so often in a row: proxies say it, too.
const UNKNOWN_KEY: u32 = 3;
/// A call that is no download has its answer in this time, or the connection is given up.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// So often is a call made again after a lost connection or an error of the server's own.
const CALL_TRIES: u32 = 6;
/// A longer wait than this is told to who asks, instead of waited for.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What the account must have to do with the data centre.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// Nothing: one logs in.
    Anybody,
    /// The data centre knows that the key is the account's.
    Account,
}

/// A data centre.
pub(crate) struct Center {
    pub(crate) dc: i32,
    owner: Weak<Inner>,
    pace: RefCell<Pace>,
    lines: RefCell<Vec<Option<Rc<Connection>>>>,
    gate: Rc<Gate>,
    changed: Signal,
    /// One opens connections at a time.
    opening: smol::lock::Mutex<()>,
    opener: RefCell<Option<Task<()>>>,
    trouble: RefCell<Trouble>,
    turn: Cell<usize>,
}

#[derive(Default)]
struct Trouble {
    /// Since the last answer.
    failures: u32,
    unknown_key: u32,
    /// An unknown key was replaced since the last answer.
    has_new_key: bool,
    crowded: u32,
    not_before: Option<Instant>,
    /// When a connection was lost that had been open.
    lost_at: Option<Instant>,
    last: Option<CallError>,
}

impl Center {
    pub(crate) fn new(owner: Weak<Inner>, dc: i32, lines: usize) -> Rc<Center> {
        Rc::new(Center {
            dc,
            owner,
            pace: RefCell::new(Pace::new(lines)),
            lines: RefCell::new(vec![None; lines]),
            gate: Rc::default(),
            changed: Signal::default(),
            opening: smol::lock::Mutex::new(()),
            opener: RefCell::default(),
            trouble: RefCell::default(),
            turn: Cell::new(0),
        })
    }

    /// Calls a method that is no download, and again if that may help.
    pub(crate) async fn call(self: &Rc<Self>, body: &[u8], who: As) -> Result<Answer, CallError> {
        let mut tries = 0;
        loop {
            self.wait_for_gate().await?;
            let connection = self.connection(who).await?;
            let outcome = within(CALL_TIMEOUT, connection.call(body)).await;
            tries += 1;
            let error = match outcome {
                Some(Ok(answer)) => {
                    self.answered();
                    return Ok(answer);
                }
                Some(Err(error)) => error,
                None => {
                    self.close(&connection);
                    CallError::Lost("no answer came".into())
                }
            };
            let again = match &error {
                CallError::Rpc(rpc) => {
                    self.answered();
                    match flood_wait(rpc) {
                        Some(wait) if wait > LONGEST_WAIT => false,
                        Some(_) => true,
                        // The server's own trouble.
                        None if rpc.code == 500 || rpc.code < 0 => {
                            Timer::after(FIRST_PAUSE * tries).await;
                            true
                        }
                        None => false,
                    }
                }
                CallError::Wrong(_) => false,
                _ => true,
            };
            if !again || tries >= CALL_TRIES {
                return Err(error);
            }
        }
    }

    /// The right to send the next request for a part, as soon as there is one.
    pub(crate) async fn leave(self: &Rc<Self>) -> Result<Leave, FetchError> {
        loop {
            let changed = self.changed.wait();
            let now = clock::now();
            let grant = self.pace.borrow_mut().poll_permit(now);
            let until = match grant {
                Grant::Go(permit) => {
                    let connection = self.lines.borrow().get(permit.line).cloned().flatten();
                    match connection.filter(|connection| connection.is_open()) {
                        Some(connection) => {
                            let leave = Leave::new(self.clone(), connection, permit);
                            // Another connection may be of use from now on; this one is there anyhow.
                            let _ = self.open_more(now);
                            return Ok(leave);
                        }
                        None => {
                            self.pace.borrow_mut().handle_closed(permit.line);
                            continue;
                        }
                    }
                }
                Grant::Wait(until) => {
                    self.open_more(now)?;
                    until
                }
            };
            let not_before = self.trouble.borrow().not_before.filter(|at| *at > now);
            let timer = match until.into_iter().chain(not_before).min() {
                Some(at) => Timer::at(at),
                None => Timer::never(),
            };
            let timer = async {
                timer.await;
            };
            changed.or(timer).await;
        }
    }

    /// The server no longer knows whose the key is.
    ///
    /// # Errors
    /// It is the account's own data centre: nobody else can tell it.
    pub(crate) async fn authorize_again(self: &Rc<Self>) -> Result<(), FetchError> {
        let owner = self.owner()?;
        if owner.home() == self.dc {
            return Err(FetchError::LoggedOut);
        }
        let _one = self.opening.lock().await;
        owner.change_key(self.dc, |key| key.authorized = false);
        let authorized = owner.authorize(self.dc, self.open_line()).await;
        authorized.map(drop).map_err(fetch_error)
    }

    /// Closes all connections.
    pub(crate) fn close_all(&self) {
        let lines = self.lines.borrow().len();
        for line in 0..lines {
            let gone = self.lines.borrow_mut()[line].take();
            if gone.is_some() {
                self.pace.borrow_mut().handle_closed(line);
            }
        }
        self.changed.ring();
    }

    /// When an answer of so many bytes that was asked for on this connection is so late that another one should be asked, too.
    pub(crate) fn late_at(&self, line: usize, since: Instant, bytes: u64) -> Option<Instant> {
        self.pace.borrow().late_at(line, since, bytes)
    }

    /// How many connections there may be.
    pub(crate) fn most_lines(&self) -> usize {
        self.lines.borrow().len()
    }

    fn owner(&self) -> Result<Rc<Inner>, FetchError> {
        let gone = || FetchError::Connection("the program ends".into());
        self.owner.upgrade().ok_or_else(gone)
    }

    async fn wait_for_gate(&self) -> Result<(), CallError> {
        while let Some(until) = self.gate.closed(clock::now()) {
            let left = until.saturating_duration_since(clock::now());
            if left > LONGEST_WAIT + LONGEST_WAIT / 10 {
                let seconds = left.as_secs();
                return Err(CallError::Rpc(RpcError {
                    code: 420,
                    message: format!("FLOOD_WAIT_{seconds}"),
                }));
            }
            Timer::at(until).await;
        }
        Ok(())
    }

    /// A connection for calls. Waits out the pauses between attempts.
    async fn connection(self: &Rc<Self>, who: As) -> Result<Rc<Connection>, CallError> {
        let _one = self.opening.lock().await;
        loop {
            let not_before = self.trouble.borrow().not_before;
            if let Some(at) = not_before.filter(|at| *at > clock::now()) {
                Timer::at(at).await;
            }
            match self.open_authorized(who).await {
                Ok(connection) => return Ok(connection),
                Err(CallError::Lost(_) | CallError::Transport(_)) if !self.is_hopeless() => {}
                Err(error) => {
                    // Whoever comes next may try again.
                    if self.is_hopeless() {
                        self.trouble.take();
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn open_authorized(self: &Rc<Self>, who: As) -> Result<Rc<Connection>, CallError> {
        let owner = self.owner().map_err(|error| CallError::Lost(error.to_string()))?;
        if who == As::Account && owner.home() == self.dc && !owner.is_authorized(self.dc) {
            return Err(unregistered());
        }
        if who == As::Account && !owner.is_authorized(self.dc) {
            return owner.authorize(self.dc, self.open_line()).await;
        }
        self.open_line().await
    }

    /// Opens one more connection in the background if that would help, or tells why there is none.
    fn open_more(self: &Rc<Self>, now: Instant) -> Result<(), FetchError> {
        let last = self.trouble.borrow().last.clone();
        if let Some(error) = last
            && self.is_hopeless()
            && !self.any_open()
        {
            // Whoever comes next may try again.
            self.trouble.take();
            return Err(fetch_error(error));
        }
        let busy = self
            .opener
            .borrow()
            .as_ref()
            .is_some_and(|task| !task.is_finished());
        let paused = self.trouble.borrow().not_before.is_some_and(|at| at > now);
        if busy || paused || self.gate.closed(now).is_some() || !self.pace.borrow().wants_line() {
            return Ok(());
        }
        let lines = self.lines.borrow();
        let closed =
            |line: &Option<Rc<Connection>>| line.as_ref().is_none_or(|connection| !connection.is_open());
        if !lines.iter().any(closed) {
            return Ok(());
        }
        drop(lines);
        let center = self.clone();
        let owner = self.owner()?;
        let task = owner.executor.spawn(async move {
            let _one = center.opening.lock().await;
            let outcome = match center.owner() {
                Ok(owner) if !owner.is_authorized(center.dc) => center.open_authorized(As::Account).await,
                Ok(_) => center.open_new().await,
                Err(_) => return,
            };
            if let Err(error) = outcome {
                // A lost connection has been noted already where that happened.
                if matches!(error, CallError::Rpc(_) | CallError::Wrong(_)) {
                    let mut trouble = center.trouble.borrow_mut();
                    trouble.failures = MOST_FAILURES;
                    trouble.last = Some(error);
                }
            }
            center.changed.ring();
        });
        self.opener.replace(Some(task));
        Ok(())
    }

    /// An open connection, a new one if there is none.
    async fn open_line(self: &Rc<Self>) -> Result<Rc<Connection>, CallError> {
        let open = self
            .lines
            .borrow()
            .iter()
            .flatten()
            .find(|line| line.is_open())
            .cloned();
        match open {
            Some(connection) => Ok(connection),
            None => self.open_new().await,
        }
    }

    /// A new connection, in the first place that is free.
    async fn open_new(self: &Rc<Self>) -> Result<Rc<Connection>, CallError> {
        let owner = self.owner().map_err(|error| CallError::Lost(error.to_string()))?;
        let free = self
            .lines
            .borrow()
            .iter()
            .position(|line| line.as_ref().is_none_or(|connection| !connection.is_open()));
        let Some(line) = free else {
            return Err(CallError::Lost("all connections are open".into()));
        };
        match self.open_at(&owner, line).await {
            Ok(connection) => Ok(connection),
            Err(error) => {
                self.note(&error);
                Err(call_error(error))
            }
        }
    }

    async fn open_at(self: &Rc<Self>, owner: &Rc<Inner>, line: usize) -> Result<Rc<Connection>, OpenError> {
        let number = owner.number(self.dc);
        let mut wire = owner.roads.open(number, self.turn.get()).await?;
        let key = match owner.key(self.dc) {
            Some(key) => key,
            None => {
                let secret = owner.roads.exchange(&mut wire, number).await?;
                let key = Key {
                    auth_key: secret.auth_key,
                    authorized: false,
                    salts: Salts::new(secret.salt),
                };
                owner.put_key(self.dc, key.clone(), i64::from(secret.server_time));
                key
            }
        };
        let mut id = [0; 8];
        fill(&mut id);
        let now = clock::now();
        let id = i64::from_le_bytes(id);
        let session = Session::new(key.auth_key, key.salts, id, owner.server_time(), now);
        let connection = Rc::new(Connection::start(
            &owner.executor,
            wire,
            session,
            owner.introduction(),
            self.gate.clone(),
            Rc::new(Watcher {
                center: Rc::downgrade(self),
                line,
                opened: now,
            }),
        ));
        self.lines.borrow_mut()[line] = Some(connection.clone());
        self.pace.borrow_mut().handle_opened(line);
        self.changed.ring();
        Ok(connection)
    }

    /// A connection was lost, or did not come about.
    fn note(&self, error: &OpenError) {
        let mut trouble = self.trouble.borrow_mut();
        self.turn.set(self.turn.get().wrapping_add(1));
        trouble.failures += 1;
        let mut pause = FIRST_PAUSE * (1 << trouble.failures.min(6)) / 2;
        match error {
            OpenError::Wrong(_) => trouble.failures = MOST_FAILURES,
            OpenError::Transport(-404) => {
                trouble.unknown_key += 1;
                if trouble.unknown_key >= UNKNOWN_KEY
                    && let Some(owner) = self.owner.upgrade()
                {
                    trouble.unknown_key = 0;
                    if owner.home() == self.dc {
                        // Only the owner can make this good; the key stays until they log in anew.
                        trouble.failures = MOST_FAILURES;
                    } else {
                        owner.forget_key(self.dc);
                        // A new key has tries of its own, but only the first one.
                        if !std::mem::replace(&mut trouble.has_new_key, true) {
                            trouble.failures = 1;
                        }
                    }
                }
            }
            OpenError::Transport(-429) => {
                trouble.crowded += 1;
                pause = CROWDED * (1 << trouble.crowded.min(4)) / 2;
            }
            OpenError::Transport(_) | OpenError::Lost(_) => {}
        }
        // The first time is usually an accident.
        if trouble.failures > 1 || matches!(error, OpenError::Transport(-429)) {
            trouble.not_before = clock::now().checked_add(pause.min(LONGEST_PAUSE * 4));
        }
        log::debug!("data centre {}: {error} (failure {})", self.dc, trouble.failures);
        trouble.last = Some(call_error(error.clone()));
    }

    fn answered(&self) {
        let mut trouble = self.trouble.borrow_mut();
        if trouble.failures > 0 || trouble.crowded > 0 || trouble.unknown_key > 0 {
            *trouble = Trouble::default();
        }
    }

    fn is_hopeless(&self) -> bool {
        self.trouble.borrow().failures >= MOST_FAILURES
    }

    fn any_open(&self) -> bool {
        self.lines.borrow().iter().flatten().any(|line| line.is_open())
    }

    /// Gives up a connection that does not answer.
    fn close(&self, connection: &Rc<Connection>) {
        let line = self
            .lines
            .borrow()
            .iter()
            .position(|line| line.as_ref().is_some_and(|line| Rc::ptr_eq(line, connection)));
        if let Some(line) = line {
            self.lines.borrow_mut()[line] = None;
            self.pace.borrow_mut().handle_closed(line);
            self.note(&OpenError::Lost("no answer came".into()));
            self.changed.ring();
        }
        connection.give_up("no answer came");
    }

    fn handle_wait(&self, wait: Duration) {
        let now = clock::now();
        let mut random = [0; 2];
        fill(&mut random);
        // Up to a tenth more, and at least some of a second: never less than told.
        let most = (wait / 10).max(Duration::from_millis(500));
        let jitter =
            most * u32::from(u16::from_le_bytes(random)) / u32::from(u16::MAX) + Duration::from_millis(20);
        let mut pace = self.pace.borrow_mut();
        pace.handle_wait(wait, jitter, now);
        if let Some(until) = pace.waits_until(now) {
            self.gate.close(until);
        }
        log::info!("data centre {}: told to wait {} s", self.dc, wait.as_secs());
    }
}
