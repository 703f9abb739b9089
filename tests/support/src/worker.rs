//! A thread with an executor of its own, for servers that outlive no test.
//!
//! Promises: dropping the worker drops every task, and with them their sockets, before it returns.

use std::future::Future;
use std::rc::{Rc, Weak};
use std::thread::JoinHandle;

use smol::{LocalExecutor, channel};

/// A server's thread.
#[derive(Debug)]
pub(crate) struct Worker {
    stop: channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// Lets a task start others without keeping the executor alive, which would keep the tasks alive for ever.
#[derive(Clone)]
pub(crate) struct Spawner(Weak<LocalExecutor<'static>>);

impl Spawner {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if let Some(executor) = self.0.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

impl Worker {
    /// Runs `start` on a new thread; what it spawns lives until the worker is dropped.
    pub(crate) fn start(name: &str, start: impl FnOnce(&Spawner) + Send + 'static) -> Worker {
        let (stop, stopped) = channel::bounded(1);
        let run = move || {
            let executor = Rc::new(LocalExecutor::new());
            start(&Spawner(Rc::downgrade(&executor)));
            smol::block_on(executor.run(async {
                // An error means that the worker is gone: the same as being told.
                let _ = stopped.recv().await;
            }));
        };
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(run)
            .expect("a thread starts");
        Worker {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.stop.try_send(());
        if let Some(thread) = self.thread.take() {
            // A panic over there has printed itself.
            let _ = thread.join();
        }
    }
}
