//! A pipe of the pool while it has bytes.

use crate::relay::pipe_pool::PipePool;
use mtrelay_core::sys::splice::Pipe;

/// A pipe with bytes in it.
pub(super) struct FilledPipe<'a> {
    pub(super) pipe: Option<Pipe>,
    pub(super) pipes: &'a PipePool,
    /// Bytes in it.
    pub(super) len: usize,
    /// In ee mode: a second pipe with the bytes that are not in records yet.
    pub(super) bare: Option<Box<FilledPipe<'a>>>,
    /// Payload in both pipes, in bytes.
    pub(super) payload: usize,
}

impl<'a> FilledPipe<'a> {
    /// An empty pipe, which goes back to the pool on drop.
    pub(super) fn new(pipe: Pipe, pipes: &'a PipePool) -> FilledPipe<'a> {
        FilledPipe {
            pipe: Some(pipe),
            pipes,
            len: 0,
            bare: None,
            payload: 0,
        }
    }
}

impl Drop for FilledPipe<'_> {
    fn drop(&mut self) {
        match self.pipe.take() {
            Some(pipe) if self.len == 0 => self.pipes.give_back(pipe),
            _ => self.pipes.lost(),
        }
    }
}
