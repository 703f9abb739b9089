//! Data centres that share a world, each with an address of its own, on one thread.

use crate::counters::Counters;
use crate::faults::Faults;
use crate::link::{Shared, lock, serve};
use crate::rsa::PUBLIC_KEY_PEM;
use crate::state::State;
use crate::thread::Thread;
use crate::world::World;
use mtrelay_test_support::clock::Deadline;
use smol::channel::{self, Sender};
use smol::{Async, LocalExecutor, Timer};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is looked whether a wait begins, and, by tests, whether something has come true.
const TICK: Duration = Duration::from_millis(5);

/// Running data centres. Dropping the value ends them and every connection.
pub struct Cluster {
    state: Shared,
    addresses: BTreeMap<i32, SocketAddr>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
    starving: Arc<OnceLock<Thread>>,
}

impl Cluster {
    /// The data centres 1 to 5, on ports of 127.0.0.1 that the system chooses.
    ///
    /// # Panics
    /// When 127.0.0.1 has no free port.
    #[must_use]
    pub fn start(world: World) -> Cluster {
        let addresses: Vec<(i32, SocketAddr)> = (1..=5).map(|dc| (dc, ([127, 0, 0, 1], 0).into())).collect();
        Cluster::listen(world, &addresses).expect("127.0.0.1 has free ports")
    }

    /// These data centres at these addresses.
    ///
    /// # Errors
    /// When an address cannot be had.
    pub fn listen(world: World, at: &[(i32, SocketAddr)]) -> io::Result<Cluster> {
        let mut addresses = BTreeMap::new();
        let mut listeners = Vec::new();
        for (dc, address) in at {
            let listener = TcpListener::bind(address)?;
            addresses.insert(*dc, listener.local_addr()?);
            listeners.push((*dc, listener));
        }
        let seed = mtrelay_test_support::rng::fresh_seed();
        let state = Arc::new(Mutex::new(State::new(world, addresses.clone(), seed)));
        let (stop, stopped) = channel::bounded::<()>(1);
        let inner = Arc::clone(&state);
        let starving = Arc::new(OnceLock::new());
        let own = Arc::clone(&starving);
        let run = move || {
            own.get_or_init(Thread::current);
            let executor = Rc::new(LocalExecutor::new());
            let spawner = Rc::downgrade(&executor);
            for (dc, listener) in listeners {
                let (state, spawner) = (Arc::clone(&inner), spawner.clone());
                let accept = async move {
                    let Ok(listener) = Async::new(listener) else {
                        return;
                    };
                    loop {
                        let accepted = listener.accept().await;
                        let (Ok((socket, _)), Some(executor)) = (accepted, spawner.upgrade()) else {
                            continue;
                        };
                        executor.spawn(serve(Arc::clone(&state), socket, dc)).detach();
                    }
                };
                executor.spawn(accept).detach();
            }
            let ticking = async move {
                loop {
                    Timer::after(TICK).await;
                    lock(&inner).tick();
                }
            };
            executor.spawn(ticking).detach();
            smol::block_on(executor.run(async {
                // An error means that the cluster is gone: the same as being told.
                let _ = stopped.recv().await;
            }));
        };
        let thread = std::thread::Builder::new().name("test DCs".into()).spawn(run)?;
        Ok(Cluster {
            state,
            addresses,
            stop,
            thread: Some(thread),
            starving,
        })
    }

    /// Where a data centre is.
    ///
    /// # Panics
    /// When there is none of that number.
    #[must_use]
    pub fn addr(&self, dc: i32) -> SocketAddr {
        self.addresses[&dc]
    }

    /// Where all are.
    #[must_use]
    pub fn addrs(&self) -> &BTreeMap<i32, SocketAddr> {
        &self.addresses
    }

    /// The key that clients must know: PEM, as PKCS #1 says.
    #[must_use]
    pub fn public_key(&self) -> &'static str {
        PUBLIC_KEY_PEM
    }

    /// Changes what is wrong, from now on.
    pub fn faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        change(&mut lock(&self.state).faults)
    }

    /// Changes what there is to be seen, from now on.
    pub fn world<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut lock(&self.state).world)
    }

    /// What was counted until now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        lock(&self.state).counters.clone()
    }

    /// Waits until the counters are as wished.
    ///
    /// # Panics
    /// When they are not in time.
    #[track_caller]
    pub fn wait(&self, what: &str, wished: impl Fn(&Counters) -> bool) -> Counters {
        let deadline = Deadline::patient();
        loop {
            let counters = self.counters();
            if wished(&counters) {
                return counters;
            }
            assert!(
                deadline.remaining().is_some(),
                "the test DCs waited for {what} in vain: {counters:?}"
            );
            std::thread::sleep(TICK);
        }
    }

    /// How long the data centres have waited for a processor.
    #[must_use]
    pub fn starved(&self) -> Duration {
        self.starving.get().map(Thread::starved).unwrap_or_default()
    }

    /// No file reference that was given until now is taken any more.
    pub fn expire_references(&self) {
        lock(&self.state).generation += 1;
    }

    /// Other salts hold from now on.
    pub fn change_salts(&self) {
        lock(&self.state).change_salts();
    }

    /// Nobody is logged in any more at this data centre; the keys hold.
    pub fn log_everybody_out(&self, dc: i32) {
        let mut state = lock(&self.state);
        let here = state.keys.iter_mut().filter(|((at, _), _)| *at == dc);
        here.for_each(|(_, key)| key.user = None);
    }

    /// This data centre no longer knows any key.
    pub fn forget_keys(&self, dc: i32) {
        lock(&self.state).keys.retain(|(at, _), _| *at != dc);
    }

    /// Cuts every connection, with a reset.
    pub fn kill_connections(&self) {
        let mut state = lock(&self.state);
        let numbers: Vec<usize> = state.links.keys().copied().collect();
        numbers.into_iter().for_each(|number| state.end(number, true));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.stop.try_send(());
        if let Some(thread) = self.thread.take() {
            // A panic over there has printed itself.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({:?})", self.addresses)
    }
}
