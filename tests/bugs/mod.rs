//! Every bug once, so that it does not come back. Each file opens with the bug in prose.

#[path = "04_old_window_taken_for_room.rs"]
mod old_window_taken_for_room;
#[path = "02_reset_met_in_writing.rs"]
mod reset_met_in_writing;
#[path = "01_reset_overtakes_tail.rs"]
mod reset_overtakes_tail;
#[path = "03_two_pipes_past_the_reserve.rs"]
mod two_pipes_past_the_reserve;
