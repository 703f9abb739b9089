//! File references: short-lived tokens that open a file, renewed by looking the message up again.

use crate::link::Link;
use crate::media::MediaFinder;
use crate::source::{FetchError, Media};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Upper bound of remembered files, some 100 bytes each.
const MAX_REFERENCES: usize = 256;

/// The references of the files that were opened last.
pub(crate) struct FileReferences {
    finder: Rc<MediaFinder>,
    known: RefCell<BTreeMap<i64, Rc<FileReference>>>,
}

/// What is known of one file beyond its [`Media`].
pub(crate) struct FileReference {
    /// The current token. Locked while a new one is requested.
    bytes: smol::lock::Mutex<Vec<u8>>,
    /// The data centre that serves the file.
    pub(crate) dc: Cell<i32>,
}

impl FileReferences {
    pub(crate) fn new(finder: Rc<MediaFinder>) -> FileReferences {
        FileReferences {
            finder,
            known: RefCell::default(),
        }
    }

    /// The reference of a file, and its data centre.
    pub(crate) fn get(&self, media: &Media) -> Rc<FileReference> {
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_REFERENCES {
            known.retain(|_, reference| Rc::strong_count(reference) > 1);
        }
        let reference = known.entry(media.id).or_insert_with(|| {
            Rc::new(FileReference {
                bytes: smol::lock::Mutex::new(media.file_reference.clone()),
                dc: Cell::new(media.dc),
            })
        });
        reference.clone()
    }

    /// A new token in place of the expired `used`. Callers that come meanwhile share one request.
    pub(crate) async fn renew(&self, media: &Media, used: &[u8]) -> Result<Vec<u8>, FetchError> {
        let reference = self.get(media);
        let mut bytes = reference.bytes.lock().await;
        if *bytes != used {
            return Ok(bytes.clone());
        }
        let single = Link {
            single: true,
            ..media.origin.clone()
        };
        let found = self.finder.find(&single).await?;
        let same = found.into_iter().find(|found| found.id == media.id);
        let same = same.ok_or_else(|| FetchError::NotFound("the message has another file now".into()))?;
        *bytes = same.file_reference;
        Ok(bytes.clone())
    }

    /// Forgets all files.
    pub(crate) fn clear(&self) {
        self.known.borrow_mut().clear();
    }
}

impl FileReference {
    /// The token, unless a new one is being requested.
    pub(crate) fn current(&self) -> Option<Vec<u8>> {
        self.bytes.try_lock().map(|bytes| bytes.clone())
    }
}
