//! Who makes room for whom, and what answers are filled with.

use super::*;

fn enter(openings: &Rc<Openings>) -> Ticket {
    openings.enter(None, clock::now(), &Stats::new())
}

#[test]
fn no_two_answers_are_filled_alike() {
    let draw = |len| {
        let mut bytes = vec![0; len];
        fill_much(&mut bytes);
        bytes
    };
    for len in [64, 128, 129, 2000] {
        let (one, other) = (draw(len), draw(len));
        let alike = one.iter().zip(&other).filter(|(one, other)| one == other).count();
        assert!(alike < len / 4, "{alike} of {len}");
        assert!(one.iter().filter(|byte| **byte == 0).count() < len / 4);
    }
}

#[test]
fn the_oldest_that_sent_least_makes_room() {
    let openings = Rc::new(Openings::new(3));
    let tickets: Vec<_> = (0..3).map(|_| enter(&openings)).collect();
    tickets[0].received(64, 0);
    let newcomer = enter(&openings);
    let cut = |ticket: &Ticket| ticket.entry.cut.get();
    assert_eq!([0, 1, 2].map(|index| cut(&tickets[index])), [false, true, false]);
    assert!(!cut(&newcomer));
    assert_eq!(openings.active(), 3);
}

#[test]
fn the_refused_go_first_and_the_known_last() {
    let openings = Rc::new(Openings::new(3));
    let tickets: Vec<_> = (0..3).map(|_| enter(&openings)).collect();
    for ticket in &tickets {
        ticket.received(517, 0);
    }
    tickets[0].known();
    tickets[2].refused();
    let newcomers = [enter(&openings), enter(&openings)];
    let cut = |ticket: &Ticket| ticket.entry.cut.get();
    assert_eq!([0, 1, 2].map(|index| cut(&tickets[index])), [false, false, true]);
    assert_eq!(
        newcomers.each_ref().map(cut),
        [true, false],
        "then whoever has sent nothing"
    );
}

#[test]
fn hellos_do_not_fill_the_memory() {
    let openings = Rc::new(Openings::new(1000));
    let tickets: Vec<_> = (0..200).map(|_| enter(&openings)).collect();
    for ticket in &tickets {
        ticket.received(1, 16 * 1024);
        assert!(openings.held.get() <= MAX_HELD);
    }
    drop(tickets);
    assert_eq!((openings.active(), openings.held.get()), (0, 0));
}

#[test]
fn the_newcomer_has_a_moment_before_slow_senders_outlast_it() {
    let openings = Rc::new(Openings::new(3));
    let begun = clock::now();
    let later = begun + 2 * GRACE;
    let stats = Stats::new();
    let slow: Vec<_> = (0..3).map(|_| openings.enter(None, begun, &stats)).collect();
    slow.iter().for_each(|ticket| ticket.received(60, 0));
    slow[0].known();
    let newcomers = [(); 2].map(|()| openings.enter(None, later, &stats));
    let cut = |ticket: &Ticket| ticket.entry.cut.get();
    assert_eq!([0, 1, 2].map(|index| cut(&slow[index])), [false, true, true]);
    assert_eq!(newcomers.each_ref().map(cut), [false, false]);
}

#[test]
fn one_source_takes_only_its_part_and_a_burst_always_passes() {
    let openings = Rc::new(Openings::new(512));
    let [phone, crowd] = [1, 2].map(|last| Some(IpAddr::from([192, 0, 2, last])));
    let (now, stats) = (clock::now(), Stats::new());
    let enter = |source| openings.enter(source, now, &stats);
    let burst: Vec<_> = (0..BURST).map(|_| enter(phone)).collect();
    let many: Vec<_> = (0..200).map(|_| enter(crowd)).collect();
    let lan: Vec<_> = (0..200).map(|_| enter(None)).collect();
    let alive = |tickets: &[Ticket]| tickets.iter().filter(|ticket| !ticket.entry.cut.get()).count();
    assert_eq!([&burst, &many, &lan].map(|tickets| alive(tickets)), [16, 64, 200]);
    lan[0].comes_from(crowd, now);
    assert_eq!((alive(&many), alive(&lan)), (63, 200));
    let tight = Rc::new(Openings::new(16));
    let burst: Vec<_> = (0..BURST).map(|_| tight.enter(phone, now, &stats)).collect();
    assert_eq!(alive(&burst), 16);
}
