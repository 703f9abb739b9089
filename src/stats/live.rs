//! The list of live sessions.

use std::rc::Weak;

/// Slots that are used again, so that a page of the list stays in place while other sessions begin and end.
/// A slot is 8 bytes on a 32-bit router: 1,024 sessions are 8 KiB, given back when the last one ends.
pub(super) struct Live<T> {
    slots: Vec<Option<Weak<T>>>,
    free: Vec<usize>,
}

impl<T> Default for Live<T> {
    fn default() -> Self {
        Live {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Live<T> {
    /// Lists a session; gives its slot.
    pub(super) fn insert(&mut self, session: Weak<T>) -> usize {
        if let Some(slot) = self.free.pop() {
            self.slots[slot] = Some(session);
            return slot;
        }
        self.slots.push(Some(session));
        self.slots.len() - 1
    }

    /// Takes a session from the list.
    pub(super) fn remove(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push(slot);
        if self.len() == 0 {
            *self = Live::default();
        }
    }

    /// The number of sessions.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The sessions in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = std::rc::Rc<T>> {
        self.slots.iter().flatten().filter_map(Weak::upgrade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn the_last_session_gives_the_memory_back() {
        let mut live = Live::default();
        let sessions = [1, 2, 3].map(Rc::new);
        let slots = sessions
            .each_ref()
            .map(|session| live.insert(Rc::downgrade(session)));
        live.remove(slots[1]);
        assert_eq!(live.insert(Rc::downgrade(&sessions[1])), slots[1]);
        assert_eq!(live.iter().map(|session| *session).collect::<Vec<_>>(), [1, 2, 3]);
        for slot in slots {
            live.remove(slot);
        }
        assert_eq!((live.len(), live.slots.capacity()), (0, 0));
    }
}
