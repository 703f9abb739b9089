//! Tables of events and the decisions that follow, for receivers near, far, confirmed, stalled and returning.

use super::*;
use Decision::*;

const NEAR: Option<Duration> = Some(Duration::from_micros(200));
const FAR: Option<Duration> = Some(Duration::from_millis(40));
const LOWAT: u32 = 16 * 1024;

/// What the measurements of a path answer.
#[derive(Clone, Copy)]
struct Path {
    sender_rtt: Option<Duration>,
    receiver_rtt: Option<Duration>,
    /// The receiver's window and its unacknowledged bytes.
    window: (Option<u32>, usize),
}

const NEAR_PATH: Path = Path {
    sender_rtt: NEAR,
    receiver_rtt: NEAR,
    window: (Some(0), 0),
};
const FAR_PATH: Path = Path {
    sender_rtt: FAR,
    receiver_rtt: FAR,
    window: (Some(0), 0),
};

/// Carries decisions out as the pump does, and returns them in order.
fn carry_out(control: &mut FlowControl, path: Path, first: Option<Decision>) -> Vec<Decision> {
    let (mut decisions, mut next) = (Vec::new(), first);
    while let Some(decision) = next {
        decisions.push(decision);
        next = match decision {
            MeasureSenderRtt => control.on_sender_rtt(path.sender_rtt),
            MeasureReceiverRtt => control.on_receiver_rtt(path.receiver_rtt),
            MeasureReceiverWindow => control.on_receiver_window(path.window.0, path.window.1),
            ReadNotsentLowat => control.on_notsent_lowat(LOWAT),
            FreeReceiveBuffer | BoundReceiveBuffer(_) | ClampWindow(_) | SetNotsentLowat(_) => {
                control.follow_up()
            }
        };
        assert!(decisions.len() < 10, "decisions come to an end: {decisions:?}");
    }
    decisions
}

fn write(control: &mut FlowControl, path: Path, len: usize) -> Vec<Decision> {
    let first = control.on_written(len);
    carry_out(control, path, first)
}

fn down(copies: bool) -> FlowControl {
    FlowControl::new(copies).watching_receiver()
}

#[test]
fn spliced_download_to_a_near_reader_frees_the_senders_buffer_once_confirmed() {
    let mut control = down(false);
    assert_eq!(write(&mut control, NEAR_PATH, READER_CONFIRM_BYTES / 4), []);
    assert!(!control.is_confirmed());
    let decisions = write(&mut control, NEAR_PATH, READER_CONFIRM_BYTES);
    assert_eq!(decisions, [FreeReceiveBuffer, MeasureReceiverRtt]);
    assert_eq!(control.receiver, Receiver::Near);
    assert_eq!(write(&mut control, NEAR_PATH, 1), [], "measured once");
}

#[test]
fn confirmed_reader_far_away_gets_a_larger_notsent_lowat() {
    let mut control = down(false);
    let decisions = write(&mut control, FAR_PATH, READER_CONFIRM_BYTES);
    let expected = [
        FreeReceiveBuffer,
        MeasureReceiverRtt,
        ReadNotsentLowat,
        SetNotsentLowat(LOWAT * FAR_NOTSENT_FACTOR),
    ];
    assert_eq!(decisions, expected);
    assert_eq!(control.receiver, Receiver::Far { notsent_lowat: LOWAT });
}

#[test]
fn copied_download_bounds_the_backlog_of_a_near_sender_and_frees_a_far_one() {
    for (path, expected) in [
        (NEAR_PATH, BoundReceiveBuffer(NEAR_BACKLOG)),
        (FAR_PATH, FreeReceiveBuffer),
    ] {
        let mut control = down(true);
        let decisions = write(&mut control, path, READER_CONFIRM_BYTES);
        assert_eq!(decisions[..3], [MeasureSenderRtt, expected, MeasureReceiverRtt]);
    }
}

#[test]
fn an_unknown_round_trip_time_counts_as_far_for_the_sender_and_as_near_for_the_receiver() {
    let mut control = down(true);
    assert_eq!(control.on_sender_rtt(None), Some(FreeReceiveBuffer));
    assert_eq!(control.on_receiver_rtt(None), None);
    assert_eq!(control.receiver, Receiver::Near);
}

#[test]
fn upload_measures_its_sender_once_and_never_its_receiver() {
    let mut control = FlowControl::new(true);
    assert_eq!(write(&mut control, NEAR_PATH, RTT_PROBE_BYTES - 1), []);
    let decisions = write(&mut control, NEAR_PATH, 1);
    assert_eq!(decisions, [MeasureSenderRtt, BoundReceiveBuffer(NEAR_BACKLOG)]);
    assert_eq!(write(&mut control, NEAR_PATH, READER_CONFIRM_BYTES), []);
    assert_eq!(control.on_stall(), None);

    let mut control = FlowControl::new(true);
    assert_eq!(write(&mut control, FAR_PATH, RTT_PROBE_BYTES), [MeasureSenderRtt]);
    let mut control = FlowControl::new(false);
    assert_eq!(write(&mut control, NEAR_PATH, READER_CONFIRM_BYTES), []);
}

#[test]
fn a_window_that_shows_a_reader_opens_the_sender_before_confirmation() {
    for (window, unacknowledged, opens) in [
        (None, 0, false),
        (Some(READER_WINDOW as u32 - 1), 0, false),
        (Some(READER_WINDOW as u32), 0, true),
        (Some(READER_WINDOW as u32), 1, false),
        (Some(200_000), 100_000, true),
    ] {
        let path = Path {
            window: (window, unacknowledged),
            ..FAR_PATH
        };
        let mut control = down(false);
        assert_eq!(write(&mut control, path, UNREAD_LIMIT - 1), []);
        let expected: &[Decision] = if opens {
            &[MeasureReceiverWindow, FreeReceiveBuffer]
        } else {
            &[MeasureReceiverWindow]
        };
        assert_eq!(
            write(&mut control, path, 1),
            expected,
            "{window:?} {unacknowledged}"
        );
        assert!(!control.is_confirmed());
    }
}

#[test]
fn a_stalled_reader_is_clamped_and_gets_its_notsent_lowat_back() {
    let mut control = down(false);
    write(&mut control, FAR_PATH, READER_CONFIRM_BYTES);
    let first = control.on_stall();
    let decisions = carry_out(&mut control, FAR_PATH, first);
    assert_eq!(decisions, [ClampWindow(STALLED_WINDOW), SetNotsentLowat(LOWAT)]);
    assert!(!control.is_confirmed() && control.must_check_room(false));
    assert_eq!(control.on_stall(), None, "a stall is told once");

    let mut control = down(false);
    write(&mut control, NEAR_PATH, READER_CONFIRM_BYTES);
    let first = control.on_stall();
    assert_eq!(
        carry_out(&mut control, NEAR_PATH, first),
        [ClampWindow(STALLED_WINDOW)]
    );
}

#[test]
fn a_stall_before_confirmation_changes_nothing() {
    let mut control = down(false);
    write(&mut control, NEAR_PATH, UNREAD_LIMIT - 1);
    assert_eq!(control.on_stall(), None);
    assert_eq!(control.receiver, Receiver::Unconfirmed);
}

#[test]
fn a_returning_reader_is_unclamped_when_it_is_confirmed_again() {
    let mut control = down(false);
    write(&mut control, FAR_PATH, READER_CONFIRM_BYTES);
    let first = control.on_stall();
    carry_out(&mut control, FAR_PATH, first);
    assert_eq!(write(&mut control, FAR_PATH, READER_CONFIRM_BYTES - 1), []);
    let expected = [
        ClampWindow(UNLIMITED_WINDOW),
        MeasureReceiverRtt,
        ReadNotsentLowat,
        SetNotsentLowat(LOWAT * FAR_NOTSENT_FACTOR),
    ];
    assert_eq!(write(&mut control, FAR_PATH, 1), expected);
}

#[test]
fn limits_follow_what_the_receiver_accepts() {
    let mut control = down(false);
    let turn = 1 << 20;
    assert!(
        !control.must_check_room(false),
        "there is room for the first chunk"
    );
    assert_eq!(control.splice_limit(false, turn), UNCONFIRMED_CHUNK);
    assert_eq!(control.recrypt_limit(turn), UNCONFIRMED_CHUNK);
    control.on_written(UNCONFIRMED_CHUNK + 1);
    assert!(control.must_check_room(false));
    control.on_written(READER_CONFIRM_BYTES);
    let accepted = READER_CONFIRM_BYTES + UNCONFIRMED_CHUNK + 1;
    assert!(!control.must_check_room(false));
    assert_eq!(control.splice_limit(false, turn), accepted);
    assert_eq!(control.splice_limit(false, 1000), 1000);
    assert_eq!(control.recrypt_limit(turn), accepted / RECRYPT_AHEAD_DIVISOR);
    assert!(control.must_check_room(true), "a scarce pipe takes no risk");
    assert_eq!(control.splice_limit(true, turn), UNCONFIRMED_CHUNK);
}

#[test]
fn a_receiver_slower_than_its_sender_stays_confirmed_through_one_would_block() {
    let mut control = down(false);
    control.on_written(2 * READER_CONFIRM_BYTES);
    control.on_would_block(0);
    assert!(control.is_confirmed(), "half of the run before counts");
    control.on_would_block(0);
    assert!(
        !control.is_confirmed(),
        "nothing was accepted between two would-blocks"
    );
    control.on_would_block(2 * READER_CONFIRM_BYTES);
    assert!(control.is_confirmed(), "bytes written right before count");
}
