//! A source of media in memory, for the tests of this crate.

use crate::link::{Chat, Link};
use crate::source::{FetchError, Media, MediaReader, Source};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

/// The byte at an offset of a medium.
pub(crate) fn byte(id: i64, at: u64) -> u8 {
    let mixed = (at ^ (id as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

/// The bytes of a range.
pub(crate) fn bytes(id: i64, part: Range<u64>) -> Vec<u8> {
    part.map(|at| byte(id, at)).collect()
}

/// A video.
pub(crate) fn media(id: i64, size: u64) -> Media {
    Media {
        id,
        dc: 2,
        access_hash: 77,
        file_reference: vec![1, 2, 3],
        thumb_size: String::new(),
        size,
        name: format!("video-{id}.mp4"),
        mime: "video/mp4".into(),
        origin: Link {
            chat: Chat::Name("news".into()),
            message: (id.unsigned_abs() as i32).max(1),
            comment: None,
            single: false,
        },
    }
}

/// The media, and counters of what was done with them.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) messages: RefCell<HashMap<i32, Result<Vec<Media>, FetchError>>>,
    /// Media with given bytes instead of generated ones.
    pub(crate) contents: Rc<RefCell<HashMap<i64, Vec<u8>>>>,
    pub(crate) finds: Cell<usize>,
    /// Readers that were opened.
    pub(crate) opened: Cell<usize>,
    /// Readers that exist.
    pub(crate) open: Rc<Cell<usize>>,
    /// Bytes that readers returned.
    pub(crate) given: Rc<Cell<u64>>,
    /// Bytes per piece.
    pub(crate) piece: Cell<u64>,
    /// The offset at which a reader returns this error. With [`Memory::SILENCE`] it never returns.
    pub(crate) fault: Rc<RefCell<Option<(u64, FetchError)>>>,
}

impl Memory {
    /// A fault with this text is a wait without end.
    pub(crate) const SILENCE: &str = "silence";

    pub(crate) fn with(media: impl IntoIterator<Item = Media>) -> Memory {
        let memory = Memory::default();
        memory.piece.set(64 << 10);
        for one in media {
            let found = Ok(vec![one.clone()]);
            memory.messages.borrow_mut().insert(one.origin.message, found);
        }
        memory
    }
}

impl Source for Memory {
    type Reader = Piecewise;

    async fn find(&self, link: &Link) -> Result<Vec<Media>, FetchError> {
        self.finds.set(self.finds.get() + 1);
        let messages = self.messages.borrow();
        messages
            .get(&link.message)
            .cloned()
            .unwrap_or_else(|| Err(FetchError::NotFound(link.to_string())))
    }

    fn open(&self, media: &Media, part: Range<u64>) -> Piecewise {
        assert!(
            part.start < part.end && part.end <= media.size,
            "{part:?} of {}",
            media.size
        );
        self.opened.set(self.opened.get() + 1);
        self.open.set(self.open.get() + 1);
        Piecewise {
            id: media.id,
            part,
            piece: self.piece.get(),
            given: self.given.clone(),
            open: self.open.clone(),
            fault: self.fault.clone(),
            contents: self.contents.clone(),
        }
    }
}

/// A reader of pieces.
pub(crate) struct Piecewise {
    id: i64,
    part: Range<u64>,
    piece: u64,
    given: Rc<Cell<u64>>,
    open: Rc<Cell<usize>>,
    fault: Rc<RefCell<Option<(u64, FetchError)>>>,
    contents: Rc<RefCell<HashMap<i64, Vec<u8>>>>,
}

impl MediaReader for Piecewise {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        // As with a network, other tasks run before the bytes arrive.
        smol::future::yield_now().await;
        let mut end = self.part.end.min(self.part.start + self.piece);
        let fault = self.fault.borrow().clone();
        if let Some((at, error)) = fault {
            if at == self.part.start {
                if error == FetchError::Connection(Memory::SILENCE.into()) {
                    std::future::pending::<()>().await;
                }
                return Err(error);
            }
            if (self.part.start..end).contains(&at) {
                end = at;
            }
        }
        if self.part.is_empty() {
            return Ok(None);
        }
        let piece = match self.contents.borrow().get(&self.id) {
            Some(content) => content[self.part.start as usize..end as usize].to_vec(),
            None => bytes(self.id, self.part.start..end),
        };
        self.part.start = end;
        self.given.set(self.given.get() + piece.len() as u64);
        Ok(Some(piece))
    }
}

impl Drop for Piecewise {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}
