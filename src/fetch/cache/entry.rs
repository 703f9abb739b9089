//! An entry of the cache.

use crate::source::Media;

/// Upper bound of entries. One takes about 200 bytes, ten times that for an album: 512 take 100 KiB, 1 MiB if all are albums.
pub(super) const MAX_ENTRIES: usize = 512;

/// The media behind one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When the link was looked up, in Unix seconds.
    pub(super) looked_up: u32,
    pub(super) media: Vec<Media>,
}
