//! Drives one reader's [`Window`]: requests go out as permits come, answers are put in order, whatever goes wrong between.
//!
//! A part that fails is asked for again; what the failure was decides what else has to happen first. When the reader is
//! dropped, its task and all its requests go with it.

use crate::center::{Center, Leave, fetch_error, flood_wait};
use crate::connection::CallError;
use crate::schedule::window::{Request, Window};
use crate::session::RpcError;
use crate::signal::Signal;
use crate::source::{FetchError, Media, Reader};
use crate::telegram::Inner;
use grammers_tl_types::{Serializable as _, enums, functions, types};
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::clock;
use smol::Task;
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// So many failures in a row, without a part between, and it is given up.
const MOST_STRIKES: u32 = 8;
/// After an error of the server's own.
const PAUSE: Duration = Duration::from_millis(300);

/// The bytes of a part of a medium.
pub struct Download {
    work: Rc<Work>,
    _task: Option<Task<()>>,
}

struct Work {
    telegram: Rc<Inner>,
    media: Media,
    dc: Cell<i32>,
    reference: RefCell<Vec<u8>>,
    window: RefCell<Window>,
    /// Where and since when each request is under way.
    under_way: RefCell<BTreeMap<Request, (Instant, usize)>>,
    failure: RefCell<Option<FetchError>>,
    strikes: Cell<u32>,
    /// So many ask for something that all the others need, too.
    holds: Cell<u32>,
    changed: Signal,
}

impl Download {
    pub(crate) fn start(telegram: Rc<Inner>, media: &Media, part: Range<u64>) -> Download {
        let mut window = Window::new(media.size, part);
        let known = telegram.reference(media);
        let dc = known.dc.get();
        window.set_connections(telegram.center(dc).most_lines());
        let reference = known.bytes.try_lock().map(|bytes| bytes.clone());
        let work = Rc::new(Work {
            dc: Cell::new(dc),
            reference: RefCell::new(reference.unwrap_or_else(|| media.file_reference.clone())),
            media: media.clone(),
            failure: RefCell::new(None),
            under_way: RefCell::default(),
            strikes: Cell::new(0),
            holds: Cell::new(0),
            changed: Signal::default(),
            telegram,
            window: RefCell::new(window),
        });
        let task = (!work.window.borrow().is_done()).then(|| {
            let executor = work.telegram.executor.clone();
            executor.spawn(drive(work.clone()))
        });
        Download { work, _task: task }
    }
}

impl Reader for Download {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        loop {
            let changed = self.work.changed.wait();
            let bytes = self.work.window.borrow_mut().poll_bytes();
            if let Some(bytes) = bytes {
                // There is room for another request now.
                self.work.changed.ring();
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

/// Sends requests as long as there are any.
async fn drive(work: Rc<Work>) {
    // Dropped with this task, and with them what they wait for.
    let mut jobs: Vec<Task<()>> = Vec::new();
    loop {
        jobs.retain(|job| !job.is_finished());
        let changed = work.changed.wait();
        if work.failure.borrow().is_some() || work.window.borrow().is_done() {
            return;
        }
        let late_at = work.late_at();
        let twin = late_at.is_some_and(|at| at <= clock::now());
        if work.holds.get() > 0 || !(twin || work.window.borrow().has_request()) {
            let late = async {
                match late_at.filter(|_| !twin) {
                    Some(at) => Timer::at(at).await,
                    None => Timer::never().await,
                };
            };
            changed.or(late).await;
            continue;
        }
        let center = work.telegram.center(work.dc.get());
        let leave = match center.leave().await {
            Ok(leave) => leave,
            Err(error) => return work.fail(error),
        };
        // The permit is there; what to ask for may have changed meanwhile.
        if work.holds.get() > 0 || work.dc.get() != center.dc {
            continue;
        }
        let twin = work.late_at().is_some_and(|at| at <= clock::now());
        let request = match twin {
            true => work.window.borrow_mut().poll_twin(),
            false => work.window.borrow_mut().poll_request(),
        };
        let Some(request) = request else { continue };
        let begun = (clock::now(), leave.line());
        work.under_way.borrow_mut().insert(request, begun);
        let executor = work.telegram.executor.clone();
        jobs.push(executor.spawn(fetch(work.clone(), center, leave, request)));
    }
}

/// One request and whatever comes of it.
async fn fetch(work: Rc<Work>, center: Rc<Center>, leave: Leave, request: Request) {
    let reference = work.reference.borrow().clone();
    let body = work.request(request, &reference);
    let outcome = leave.call(&body).await;
    work.under_way.borrow_mut().remove(&request);
    let error = match outcome {
        Ok(answer) => match answer.into_file_part() {
            Ok(bytes) => {
                let len = bytes.len();
                if work.window.borrow_mut().handle_part(request, bytes).is_ok() {
                    work.strikes.set(0);
                    leave.handle_part(len);
                    work.changed.ring();
                    return;
                }
                work.strike(FetchError::Protocol(format!("{len} bytes instead of a part")));
                drop(leave);
                return work.changed.ring();
            }
            Err(_) => {
                work.strike(FetchError::Protocol("an answer that is no part of a file".into()));
                None
            }
        },
        Err(error) => Some(error),
    };
    work.window.borrow_mut().handle_failed(request);
    drop(leave);
    match error {
        Some(CallError::Rpc(error)) => work.handle_refusal(&center, &error, &reference).await,
        // The data centre counts those, and gives up at some time.
        Some(CallError::Lost(_) | CallError::Transport(_) | CallError::Idle) | None => {}
        Some(error) => work.fail(fetch_error(error)),
    }
    work.changed.ring();
}

impl Work {
    /// The request in the server's language.
    fn request(&self, request: Request, reference: &[u8]) -> Vec<u8> {
        let (id, access_hash) = (self.media.id, self.media.access_hash);
        let file_reference = reference.to_vec();
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

    async fn handle_refusal(&self, center: &Rc<Center>, error: &RpcError, reference: &[u8]) {
        let message = error.message.as_str();
        if flood_wait(error).is_some() {
            // The data centre holds everybody back already.
            return;
        }
        if let Some(dc) = message.strip_prefix("FILE_MIGRATE_") {
            match dc.parse() {
                // Another answer has said so before.
                _ if self.dc.get() != center.dc => {}
                Ok(dc) if (1..=i32::from(i16::MAX)).contains(&dc) => {
                    self.strike(FetchError::Refused(message.into()));
                    self.dc.set(dc);
                    self.telegram.reference(&self.media).dc.set(dc);
                }
                _ => self.fail(FetchError::Protocol(message.into())),
            }
            return;
        }
        // Those that were under way together fail together; one of them sees to it.
        if self.holds.get() > 0 {
            return;
        }
        if message.starts_with("FILE_REFERENCE_") || message == "FILEREF_UPGRADE_NEEDED" {
            if *self.reference.borrow() != reference {
                return;
            }
            self.strike(FetchError::Refused(message.into()));
            let hold = Hold::new(self);
            match self.telegram.fresh_reference(&self.media, reference).await {
                Ok(fresh) => drop(self.reference.replace(fresh)),
                Err(error) => self.fail(error),
            }
            drop(hold);
            return;
        }
        if error.code == 401 {
            self.strike(FetchError::LoggedOut);
            let hold = Hold::new(self);
            if self.failure.borrow().is_none()
                && let Err(error) = center.authorize_again().await
            {
                self.fail(error);
            }
            drop(hold);
            return;
        }
        if error.code == 500 || error.code < 0 || message == "TIMEOUT" {
            self.strike(FetchError::Refused(message.into()));
            let hold = Hold::new(self);
            Timer::after(PAUSE * self.strikes.get().max(1)).await;
            drop(hold);
            return;
        }
        self.fail(FetchError::Refused(message.into()));
    }

    /// From when on the part for which the reader waits should be asked for a second time, if it is under way once.
    fn late_at(&self) -> Option<Instant> {
        let request = self.window.borrow().awaited()?;
        let (since, line) = *self.under_way.borrow().get(&request)?;
        let center = self.telegram.center(self.dc.get());
        center.late_at(line, since, request.limit.into())
    }

    /// Something went wrong that may go right the next time.
    fn strike(&self, error: FetchError) {
        self.strikes.set(self.strikes.get() + 1);
        if self.strikes.get() >= MOST_STRIKES {
            self.fail(error);
        }
    }

    fn fail(&self, error: FetchError) {
        self.failure.borrow_mut().get_or_insert(error);
        self.changed.ring();
    }
}

/// While it is there, nothing new is asked for.
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
        self.0.changed.ring();
    }
}
