//! Drives one reader's [`Window`]: sends requests as permits come, and puts the answers in order.
//!
//! A failed part is requested again; the failure decides what happens first. Dropping the reader ends its task and all its
//! requests.

use crate::call_error::{CallError, flood_wait};
use crate::dc::{DataCenter, DataCenters, RequestPermit};
use crate::file_reference::FileReferences;
use crate::schedule::window::{PartRequest, Window};
use crate::session::RpcError;
use crate::source::{FetchError, Media, MediaReader};
use grammers_tl_types::{Serializable as _, enums, functions, types};
use mtrelay_core::notify::Notify;
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::clock;
use smol::Task;
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Failures in a row, without a part between them, that end the download.
const MAX_STRIKES: u32 = 8;
/// Pause after an internal error of the server, per failure in a row.
const SERVER_ERROR_PAUSE: Duration = Duration::from_millis(300);

/// The reader of a range of a file.
pub struct Download {
    work: Rc<Work>,
    _task: Option<Task<()>>,
}

struct Work {
    dcs: Rc<DataCenters>,
    references: Rc<FileReferences>,
    media: Media,
    dc: Cell<i32>,
    file_reference: RefCell<Vec<u8>>,
    window: RefCell<Window>,
    /// The requests in flight: when they were sent, and over the connection in which slot.
    in_flight: RefCell<BTreeMap<PartRequest, (Instant, usize)>>,
    failure: RefCell<Option<FetchError>>,
    strikes: Cell<u32>,
    /// Requests that wait for something all others need, too. While there is one, no new request is sent.
    holds: Cell<u32>,
    changed: Notify,
}

impl Download {
    pub(crate) fn start(
        dcs: Rc<DataCenters>,
        references: Rc<FileReferences>,
        media: &Media,
        range: Range<u64>,
    ) -> Download {
        let mut window = Window::new(media.size, range);
        let known = references.get(media);
        let dc = known.dc.get();
        window.set_connections(dcs.get(dc).max_connections());
        let file_reference = known.current().unwrap_or_else(|| media.file_reference.clone());
        let work = Rc::new(Work {
            dcs,
            references,
            media: media.clone(),
            dc: Cell::new(dc),
            file_reference: RefCell::new(file_reference),
            window: RefCell::new(window),
            in_flight: RefCell::default(),
            failure: RefCell::new(None),
            strikes: Cell::new(0),
            holds: Cell::new(0),
            changed: Notify::default(),
        });
        let task = (!work.window.borrow().is_done()).then(|| work.dcs.executor().spawn(drive(work.clone())));
        Download { work, _task: task }
    }
}

impl MediaReader for Download {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        loop {
            let changed = self.work.changed.notified();
            let bytes = self.work.window.borrow_mut().poll_bytes();
            if let Some(bytes) = bytes {
                // The window has moved: there is room for another request.
                self.work.changed.notify();
                return Ok(Some(bytes));
            }
            if self.work.window.borrow().is_done() {
                return Ok(None);
            }
            let failure = self.work.failure.borrow().clone();
            if let Some(error) = failure {
                return Err(error);
            }
            changed.await;
        }
    }
}

/// Sends requests until the reader has everything.
async fn drive(work: Rc<Work>) {
    // Dropping this task drops these, and with them their calls.
    let mut requests: Vec<Task<()>> = Vec::new();
    loop {
        requests.retain(|request| !request.is_finished());
        let changed = work.changed.notified();
        if work.failure.borrow().is_some() || work.window.borrow().is_done() {
            return;
        }
        let hedge_at = work.hedge_at();
        let hedge = hedge_at.is_some_and(|at| at <= clock::now());
        if work.holds.get() > 0 || !(hedge || work.window.borrow().has_request()) {
            let late = async {
                match hedge_at.filter(|_| !hedge) {
                    Some(at) => Timer::at(at).await,
                    None => Timer::never().await,
                };
            };
            changed.or(late).await;
            continue;
        }
        let dc = work.dcs.get(work.dc.get());
        let permit = match dc.request_permit().await {
            Ok(permit) => permit,
            Err(error) => return work.fail(error),
        };
        // While this task waited for the permit, the file may have moved, or a request may have found an expired reference.
        if work.holds.get() > 0 || work.dc.get() != dc.id() {
            continue;
        }
        let hedge = work.hedge_at().is_some_and(|at| at <= clock::now());
        let request = match hedge {
            true => work.window.borrow_mut().poll_hedged(),
            false => work.window.borrow_mut().poll_request(),
        };
        let Some(request) = request else { continue };
        let begun = (clock::now(), permit.slot());
        work.in_flight.borrow_mut().insert(request, begun);
        let fetching = fetch(work.clone(), dc, permit, request);
        requests.push(work.dcs.executor().spawn(fetching));
    }
}

/// Sends one request and handles its outcome.
async fn fetch(work: Rc<Work>, dc: Rc<DataCenter>, permit: RequestPermit, request: PartRequest) {
    let file_reference = work.file_reference.borrow().clone();
    let body = work.encode(request, &file_reference);
    let outcome = permit.call(&body).await;
    work.in_flight.borrow_mut().remove(&request);
    let error = match outcome {
        Ok(answer) => match answer.into_file_part() {
            Ok(bytes) => {
                let len = bytes.len();
                if work.window.borrow_mut().handle_part(request, bytes).is_ok() {
                    work.strikes.set(0);
                    permit.handle_part(len);
                    work.changed.notify();
                    return;
                }
                work.strike(FetchError::Protocol(format!("{len} bytes instead of a part")));
                drop(permit);
                return work.changed.notify();
            }
            Err(_) => {
                work.strike(FetchError::Protocol("the answer is not a part of a file".into()));
                None
            }
        },
        Err(error) => Some(error),
    };
    work.window.borrow_mut().handle_failed(request);
    drop(permit);
    match error {
        Some(CallError::Rpc(error)) => work.handle_rpc_error(&dc, &error, &file_reference).await,
        // The data centre counts these, and ends the download when there are too many.
        Some(CallError::Lost(_) | CallError::Transport(_) | CallError::Idle) | None => {}
        Some(error) => work.fail(error.into()),
    }
    work.changed.notify();
}

impl Work {
    /// The request as `upload.getFile`.
    fn encode(&self, request: PartRequest, file_reference: &[u8]) -> Vec<u8> {
        let (id, access_hash) = (self.media.id, self.media.access_hash);
        let file_reference = file_reference.to_vec();
        let thumb_size = self.media.thumb_size.clone();
        let location = if thumb_size.is_empty() {
            enums::InputFileLocation::InputDocumentFileLocation(types::InputDocumentFileLocation {
                id,
                access_hash,
                file_reference,
                thumb_size,
            })
        } else {
            enums::InputFileLocation::InputPhotoFileLocation(types::InputPhotoFileLocation {
                id,
                access_hash,
                file_reference,
                thumb_size,
            })
        };
        functions::upload::GetFile {
            precise: false,
            cdn_supported: false,
            location,
            offset: request.offset as i64,
            limit: request.limit as i32,
        }
        .to_bytes()
    }

    async fn handle_rpc_error(&self, dc: &Rc<DataCenter>, error: &RpcError, file_reference: &[u8]) {
        let message = error.message.as_str();
        if flood_wait(error).is_some() {
            // The data centre's gate already holds all requests back.
            return;
        }
        if let Some(number) = message.strip_prefix("FILE_MIGRATE_") {
            match number.parse() {
                // An earlier answer has moved the download already.
                _ if self.dc.get() != dc.id() => {}
                Ok(number) if (1..=i32::from(i16::MAX)).contains(&number) => {
                    self.strike(FetchError::Refused(message.into()));
                    self.dc.set(number);
                    self.references.get(&self.media).dc.set(number);
                }
                _ => self.fail(FetchError::Protocol(message.into())),
            }
            return;
        }
        // Requests in flight together fail together; one of them repairs the cause.
        if self.holds.get() > 0 {
            return;
        }
        if message.starts_with("FILE_REFERENCE_") || message == "FILEREF_UPGRADE_NEEDED" {
            if *self.file_reference.borrow() != file_reference {
                return;
            }
            self.strike(FetchError::Refused(message.into()));
            let hold = Hold::new(self);
            match self.references.renew(&self.media, file_reference).await {
                Ok(renewed) => drop(self.file_reference.replace(renewed)),
                Err(error) => self.fail(error),
            }
            drop(hold);
            return;
        }
        if error.code == 401 {
            self.strike(FetchError::LoggedOut);
            let hold = Hold::new(self);
            if self.failure.borrow().is_none()
                && let Err(error) = dc.authorize_again().await
            {
                self.fail(error);
            }
            drop(hold);
            return;
        }
        if error.code == 500 || error.code < 0 || message == "TIMEOUT" {
            self.strike(FetchError::Refused(message.into()));
            let hold = Hold::new(self);
            Timer::after(SERVER_ERROR_PAUSE * self.strikes.get().max(1)).await;
            drop(hold);
            return;
        }
        self.fail(FetchError::Refused(message.into()));
    }

    /// When a hedged request for the part that the reader waits for is due.
    fn hedge_at(&self) -> Option<Instant> {
        let request = self.window.borrow().awaited()?;
        let (since, slot) = *self.in_flight.borrow().get(&request)?;
        let dc = self.dcs.get(self.dc.get());
        dc.hedge_at(slot, since, request.limit.into())
    }

    /// Counts a failure that may not repeat.
    fn strike(&self, error: FetchError) {
        self.strikes.set(self.strikes.get() + 1);
        if self.strikes.get() >= MAX_STRIKES {
            self.fail(error);
        }
    }

    fn fail(&self, error: FetchError) {
        self.failure.borrow_mut().get_or_insert(error);
        self.changed.notify();
    }
}

/// Holds new requests back until it is dropped.
struct Hold<'a>(&'a Work);

impl<'a> Hold<'a> {
    fn new(work: &'a Work) -> Hold<'a> {
        work.holds.set(work.holds.get() + 1);
        Hold(work)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.holds.set(self.0.holds.get() - 1);
        self.0.changed.notify();
    }
}
