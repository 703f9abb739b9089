//! Telegram's data centres: connections on demand, the account's authorization on each, calls, and permits for file requests.
//!
//! All connections to a data centre share one auth key. The first one opens on demand; a further one when every open connection
//! is busy. A lost connection is replaced after a pause that grows with each failure (`failures.rs`); callers see the error only
//! when this does not help.

mod connection_pool;
mod connection_watcher;
mod failures;
mod request_permit;

pub(crate) use request_permit::RequestPermit;

use crate::answer::Answer;
use crate::call_error::{CallError, flood_wait};
use crate::connection::Connection;
use crate::keyring::Keyring;
use crate::route::{Connector, OpenError};
use crate::salts::Salts;
use crate::schedule::pace::Grant;
use crate::session::{RpcError, Session};
use crate::source::FetchError;
use crate::store::Key;
use crate::timeout::within;
use connection_pool::ConnectionPool;
use connection_watcher::ConnectionWatcher;
use failures::INITIAL_PAUSE;
use grammers_tl_types::{Deserializable, Serializable as _, enums, functions};
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::{clock, random};
use smol::future::{FutureExt as _, try_zip};
use smol::{LocalExecutor, Task};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// Limit for the answer to a call other than a file request. After it the connection is given up.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Attempts of one call, when a connection is lost or the server has an internal error.
const MAX_CALL_ATTEMPTS: u32 = 6;
/// The longest flood wait that a call waits out. A longer one is the caller's error.
const MAX_FLOOD_WAIT: Duration = Duration::from_secs(60);

/// The key that a call needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authorization {
    /// Any key: the call is part of a login.
    None,
    /// A key that the data centre knows as the account's.
    Account,
}

/// What every data centre needs to open connections.
pub(crate) struct DcContext {
    pub(crate) executor: Rc<LocalExecutor<'static>>,
    pub(crate) connector: Connector,
    pub(crate) keyring: Rc<Keyring>,
    /// `initConnection`, which precedes the first request of a connection.
    pub(crate) introduction: Rc<[u8]>,
    /// Connections per data centre.
    pub(crate) connections: usize,
}

/// All data centres that were used.
pub(crate) struct DataCenters {
    context: DcContext,
    known: RefCell<BTreeMap<i32, Rc<DataCenter>>>,
    this: Weak<DataCenters>,
}

/// A data centre.
pub(crate) struct DataCenter {
    dc: i32,
    all: Weak<DataCenters>,
    pool: Rc<ConnectionPool>,
    /// Held while a connection opens: one at a time.
    opening: smol::lock::Mutex<()>,
    opener: RefCell<Option<Task<()>>>,
}

impl DataCenters {
    pub(crate) fn new(context: DcContext) -> Rc<DataCenters> {
        Rc::new_cyclic(|this| DataCenters {
            context,
            known: RefCell::default(),
            this: this.clone(),
        })
    }

    pub(crate) fn executor(&self) -> &LocalExecutor<'static> {
        &self.context.executor
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.context.keyring
    }

    /// The data centre with this number.
    pub(crate) fn get(&self, dc: i32) -> Rc<DataCenter> {
        let mut known = self.known.borrow_mut();
        let new = || Rc::new(DataCenter::new(self.this.clone(), dc, &self.context));
        known.entry(dc).or_insert_with(new).clone()
    }

    /// Calls a method at the account's own data centre.
    pub(crate) async fn call_home(&self, body: &[u8]) -> Result<Answer, CallError> {
        let keyring = self.keyring();
        if keyring.account().is_none() {
            return Err(CallError::unregistered());
        }
        self.get(keyring.home()).call(body, Authorization::Account).await
    }

    /// Calls a method at the account's own data centre and decodes its answer.
    pub(crate) async fn ask_home<T: Deserializable>(&self, body: &[u8]) -> Result<T, FetchError> {
        let answer = self.call_home(body).await?;
        answer
            .decode()
            .map_err(|_| FetchError::Protocol("the answer has another type".into()))
    }

    /// Closes all connections to all data centres.
    pub(crate) fn close_all(&self) {
        for dc in self.known.take().into_values() {
            dc.pool.close_all();
        }
    }
}

impl DataCenter {
    fn new(all: Weak<DataCenters>, dc: i32, context: &DcContext) -> DataCenter {
        let pool = ConnectionPool::new(dc, context.keyring.clone(), context.connections);
        DataCenter {
            dc,
            all,
            pool: Rc::new(pool),
            opening: smol::lock::Mutex::new(()),
            opener: RefCell::default(),
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> i32 {
        self.dc
    }

    /// The upper bound of open connections.
    pub(crate) fn max_connections(&self) -> usize {
        self.pool.capacity()
    }

    /// Calls a method, and repeats the call after a lost connection, a short flood wait or an internal error of the server.
    pub(crate) async fn call(
        self: &Rc<Self>,
        body: &[u8],
        authorization: Authorization,
    ) -> Result<Answer, CallError> {
        let mut attempts = 0;
        loop {
            self.wait_for_flood_gate().await?;
            let connection = self.connection(authorization).await?;
            let outcome = within(CALL_TIMEOUT, connection.call(body)).await;
            attempts += 1;
            let error = match outcome {
                Some(Ok(answer)) => {
                    self.pool.failures.borrow_mut().handle_answer();
                    return Ok(answer);
                }
                Some(Err(error)) => error,
                None => {
                    self.pool.give_up(&connection);
                    CallError::no_answer()
                }
            };
            let repeat = match &error {
                CallError::Rpc(rpc) => {
                    self.pool.failures.borrow_mut().handle_answer();
                    match flood_wait(rpc) {
                        Some(wait) if wait > MAX_FLOOD_WAIT => false,
                        Some(_) => true,
                        None if rpc.code == 500 || rpc.code < 0 => {
                            Timer::after(INITIAL_PAUSE * attempts).await;
                            true
                        }
                        None => false,
                    }
                }
                CallError::Wrong(_) => false,
                _ => true,
            };
            if !repeat || attempts >= MAX_CALL_ATTEMPTS {
                return Err(error);
            }
        }
    }

    /// Waits for the permission to send the next file request.
    pub(crate) async fn request_permit(self: &Rc<Self>) -> Result<RequestPermit, FetchError> {
        let pool = &self.pool;
        loop {
            let changed = pool.changed.notified();
            let now = clock::now();
            let grant = pool.pace.borrow_mut().poll_permit(now);
            let until = match grant {
                Grant::Go(permit) => {
                    let Some(connection) = pool.get(permit.slot) else {
                        pool.pace.borrow_mut().handle_closed(permit.slot);
                        continue;
                    };
                    let permit = RequestPermit::new(pool.clone(), connection, permit);
                    // This request has its connection. A failure to open another one does not concern it.
                    let _ = self.open_more(now);
                    return Ok(permit);
                }
                Grant::Wait(until) => {
                    self.open_more(now)?;
                    until
                }
            };
            let paused_until = pool.failures.borrow().paused_until(now);
            let timer = match until.into_iter().chain(paused_until).min() {
                Some(at) => Timer::at(at),
                None => Timer::never(),
            };
            let timer = async {
                timer.await;
            };
            changed.or(timer).await;
        }
    }

    /// Authorizes the key again after the server has lost its authorization.
    ///
    /// # Errors
    /// [`FetchError::LoggedOut`] at the account's own data centre: only a login helps there.
    pub(crate) async fn authorize_again(self: &Rc<Self>) -> Result<(), FetchError> {
        let all = self.all()?;
        if all.keyring().home() == self.dc {
            return Err(FetchError::LoggedOut);
        }
        let _guard = self.opening.lock().await;
        all.keyring().change_key(self.dc, |key| key.authorized = false);
        self.open_and_authorize(&all).await?;
        Ok(())
    }

    /// When an answer of this many bytes, requested at `since` over the connection in this slot, is so late that a hedged
    /// request is due.
    pub(crate) fn hedge_at(&self, slot: usize, since: Instant, bytes: u64) -> Option<Instant> {
        self.pool.pace.borrow().hedge_at(slot, since, bytes)
    }

    fn all(&self) -> Result<Rc<DataCenters>, CallError> {
        let gone = || CallError::Lost("the program ends".into());
        self.all.upgrade().ok_or_else(gone)
    }

    async fn wait_for_flood_gate(&self) -> Result<(), CallError> {
        while let Some(until) = self.pool.flood_wait.closed_until(clock::now()) {
            let left = until.saturating_duration_since(clock::now());
            if left > MAX_FLOOD_WAIT + MAX_FLOOD_WAIT / 10 {
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

    /// An open connection for a call. Waits out the pauses between attempts.
    async fn connection(self: &Rc<Self>, authorization: Authorization) -> Result<Rc<Connection>, CallError> {
        let _guard = self.opening.lock().await;
        let failures = &self.pool.failures;
        loop {
            let paused_until = failures.borrow().paused_until(clock::now());
            if let Some(at) = paused_until {
                Timer::at(at).await;
            }
            let error = match self.open_for(authorization).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let is_hopeless = failures.borrow().is_hopeless();
            if is_hopeless {
                failures.borrow_mut().reset();
            }
            if is_hopeless || !matches!(error, CallError::Lost(_) | CallError::Transport(_)) {
                return Err(error);
            }
        }
    }

    async fn open_for(self: &Rc<Self>, authorization: Authorization) -> Result<Rc<Connection>, CallError> {
        let all = self.all()?;
        if authorization == Authorization::None || all.keyring().is_authorized(self.dc) {
            return self.open_any(&all).await;
        }
        if all.keyring().home() == self.dc {
            return Err(CallError::unregistered());
        }
        self.open_and_authorize(&all).await
    }

    /// Authorizes the account at this data centre: the home data centre exports the authorization while a connection to this
    /// one opens, which then imports it.
    async fn open_and_authorize(self: &Rc<Self>, all: &Rc<DataCenters>) -> Result<Rc<Connection>, CallError> {
        let export = functions::auth::ExportAuthorization { dc_id: self.dc }.to_bytes();
        // Boxed because the call may get here again. It does not: at the home data centre nothing is exported.
        let exporting = Box::pin(all.call_home(&export));
        let (connection, exported) = try_zip(self.open_any(all), exporting).await?;
        let wrong = |_| CallError::Wrong("the exported authorization has another type".into());
        let enums::auth::ExportedAuthorization::Authorization(exported) = exported.decode().map_err(wrong)?;
        let import = functions::auth::ImportAuthorization {
            id: exported.id,
            bytes: exported.bytes,
        };
        let answer = within(CALL_TIMEOUT, connection.call(&import.to_bytes())).await;
        answer.unwrap_or_else(|| Err(CallError::no_answer()))?;
        all.keyring().change_key(self.dc, |key| key.authorized = true);
        Ok(connection)
    }

    /// Opens one more connection in the background if the pace has use for it.
    ///
    /// # Errors
    /// No connection is open, and the last attempts have failed.
    fn open_more(self: &Rc<Self>, now: Instant) -> Result<(), FetchError> {
        let pool = &self.pool;
        if pool.first_open().is_none()
            && let Some(error) = pool.failures.borrow_mut().take_hopeless()
        {
            return Err(error.into());
        }
        let opener = self.opener.borrow();
        let is_opening = opener.as_ref().is_some_and(|task| !task.is_finished());
        drop(opener);
        if is_opening
            || pool.failures.borrow().paused_until(now).is_some()
            || pool.flood_wait.closed_until(now).is_some()
            || !pool.pace.borrow().wants_connection()
            || pool.free_slot().is_none()
        {
            return Ok(());
        }
        let dc = self.clone();
        let task = self.all()?.executor().spawn(async move {
            let _guard = dc.opening.lock().await;
            let outcome = match dc.all() {
                Ok(all) if !all.keyring().is_authorized(dc.dc) => dc.open_for(Authorization::Account).await,
                Ok(all) => dc.open_new(&all).await,
                Err(_) => return,
            };
            // A lost connection was counted where it was lost.
            if let Err(error @ (CallError::Rpc(_) | CallError::Wrong(_))) = outcome {
                dc.pool.failures.borrow_mut().handle_refusal(error);
            }
            dc.pool.changed.notify();
        });
        self.opener.replace(Some(task));
        Ok(())
    }

    /// An open connection, or a new one.
    async fn open_any(self: &Rc<Self>, all: &Rc<DataCenters>) -> Result<Rc<Connection>, CallError> {
        match self.pool.first_open() {
            Some(connection) => Ok(connection),
            None => self.open_new(all).await,
        }
    }

    /// A new connection in the first free slot.
    async fn open_new(self: &Rc<Self>, all: &Rc<DataCenters>) -> Result<Rc<Connection>, CallError> {
        let Some(slot) = self.pool.free_slot() else {
            return Err(CallError::Lost("all connections are open".into()));
        };
        self.open_slot(&all.context, slot).await.map_err(|error| {
            self.pool.handle_error(&error);
            error.into()
        })
    }

    async fn open_slot(&self, context: &DcContext, slot: usize) -> Result<Rc<Connection>, OpenError> {
        let keyring = &context.keyring;
        let wire_dc = keyring.wire_dc(self.dc);
        let mut transport = context.connector.open(wire_dc, self.pool.route_turn()).await?;
        let key = match keyring.key(self.dc) {
            Some(key) => key,
            None => {
                let new = context.connector.exchange_key(&mut transport, wire_dc).await?;
                let key = Key {
                    auth_key: new.auth_key,
                    authorized: false,
                    salts: Salts::new(new.salt),
                };
                keyring.put_key(self.dc, key.clone(), i64::from(new.server_time));
                key
            }
        };
        let mut session_id = [0; 8];
        random::fill(&mut session_id);
        let now = clock::now();
        let session_id = i64::from_le_bytes(session_id);
        let session = Session::new(key.auth_key, key.salts, session_id, keyring.server_time(), now);
        let connection = Rc::new(Connection::start(
            &context.executor,
            transport,
            session,
            context.introduction.clone(),
            self.pool.flood_wait.clone(),
            Rc::new(ConnectionWatcher {
                pool: Rc::downgrade(&self.pool),
                slot,
                opened: now,
            }),
        ));
        self.pool.insert(slot, connection.clone());
        Ok(connection)
    }
}
