//! Which pending handshake is displaced by a newcomer.

use super::*;
use mtrelay_core::sys::clock;

fn enter(pending: &Rc<PendingHandshakes>) -> HandshakeSlot {
    pending.enter(None, clock::now(), &Stats::new())
}

#[test]
fn oldest_that_sent_least_is_displaced() {
    let pending = Rc::new(PendingHandshakes::new(3));
    let slots: Vec<_> = (0..3).map(|_| enter(&pending)).collect();
    slots[0].received(64, 0);
    let newcomer = enter(&pending);
    let cut = |slot: &HandshakeSlot| slot.entry.is_displaced.get();
    assert_eq!([0, 1, 2].map(|index| cut(&slots[index])), [false, true, false]);
    assert!(!cut(&newcomer));
    assert_eq!(pending.active(), 3);
}

#[test]
fn rejected_are_displaced_first_and_accepted_hellos_last() {
    let pending = Rc::new(PendingHandshakes::new(3));
    let slots: Vec<_> = (0..3).map(|_| enter(&pending)).collect();
    for slot in &slots {
        slot.received(517, 0);
    }
    slots[0].hello_accepted();
    slots[2].rejected();
    let newcomers = [enter(&pending), enter(&pending)];
    let cut = |slot: &HandshakeSlot| slot.entry.is_displaced.get();
    assert_eq!([0, 1, 2].map(|index| cut(&slots[index])), [false, false, true]);
    assert_eq!(
        newcomers.each_ref().map(cut),
        [true, false],
        "then a connection that has sent nothing"
    );
}

#[test]
fn held_bytes_of_hellos_are_bounded() {
    let pending = Rc::new(PendingHandshakes::new(1000));
    let slots: Vec<_> = (0..200).map(|_| enter(&pending)).collect();
    for slot in &slots {
        slot.received(1, 16 * 1024);
        assert!(pending.held.get() <= MAX_HELD_BYTES);
    }
    drop(slots);
    assert_eq!((pending.active(), pending.held.get()), (0, 0));
}

#[test]
fn newcomer_is_not_displaced_within_its_grace_period() {
    let pending = Rc::new(PendingHandshakes::new(3));
    let begun = clock::now();
    let later = begun + 2 * GRACE;
    let stats = Stats::new();
    let slow: Vec<_> = (0..3).map(|_| pending.enter(None, begun, &stats)).collect();
    slow.iter().for_each(|slot| slot.received(60, 0));
    slow[0].hello_accepted();
    let newcomers = [(); 2].map(|()| pending.enter(None, later, &stats));
    let cut = |slot: &HandshakeSlot| slot.entry.is_displaced.get();
    assert_eq!([0, 1, 2].map(|index| cut(&slow[index])), [false, true, true]);
    assert_eq!(newcomers.each_ref().map(cut), [false, false]);
}

#[test]
fn one_source_is_limited_to_its_share_but_a_burst_passes() {
    let pending = Rc::new(PendingHandshakes::new(512));
    let [phone, crowd] = [1, 2].map(|last| Some(IpAddr::from([192, 0, 2, last])));
    let (now, stats) = (clock::now(), Stats::new());
    let enter = |source| pending.enter(source, now, &stats);
    let burst: Vec<_> = (0..MIN_SOURCE_SHARE).map(|_| enter(phone)).collect();
    let many: Vec<_> = (0..200).map(|_| enter(crowd)).collect();
    let lan: Vec<_> = (0..200).map(|_| enter(None)).collect();
    let alive = |slots: &[HandshakeSlot]| slots.iter().filter(|slot| !slot.entry.is_displaced.get()).count();
    assert_eq!([&burst, &many, &lan].map(|slots| alive(slots)), [16, 64, 200]);
    lan[0].set_source(crowd, now);
    assert_eq!((alive(&many), alive(&lan)), (63, 200));
    let tight = Rc::new(PendingHandshakes::new(16));
    let burst: Vec<_> = (0..MIN_SOURCE_SHARE)
        .map(|_| tight.enter(phone, now, &stats))
        .collect();
    assert_eq!(alive(&burst), 16);
}
