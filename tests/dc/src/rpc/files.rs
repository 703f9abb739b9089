//! Parts of files: what may be asked for, and what goes wrong on demand.
//!
//! Read <https://core.telegram.org/api/files#downloading-files> first.

use super::{Answer, Reply, refuse, schema};
use crate::faults::Corruption;
use crate::state::{From, State};
use crate::world::{File, Kind};
use grammers_tl_types::{Serializable as _, enums, functions as f, types};

const KIB: i64 = 1 << 10;
/// A part lies within one block of this size.
const BLOCK: i64 = 1 << 20;

/// Whether it is the turn of every `n`th.
fn is_turn(every: Option<u64>, count: u64) -> bool {
    every.is_some_and(|every| count.is_multiple_of(every))
}

impl State {
    pub(super) fn part(
        &mut self,
        from: &From,
        request: &f::upload::GetFile,
        wait_left: Option<u32>,
    ) -> Reply {
        self.parts += 1;
        self.counters.in_flight += 1;
        self.counters.peak_in_flight = self.counters.peak_in_flight.max(self.counters.in_flight);
        *self.counters.parts.entry(from.link).or_default() += 1;
        if let Some(seconds) = wait_left {
            return Reply::PartError(420, format!("FLOOD_WAIT_{seconds}"));
        }
        if self.gathers(from) {
            return Reply::Later;
        }
        if self.is_current(request) {
            self.current_parts += 1;
            if is_turn(self.faults.expire_every, self.current_parts) {
                self.generation += 1;
            }
        }
        if is_turn(self.faults.kill_every, self.parts) {
            return Reply::Kill;
        }
        if is_turn(self.faults.swallow_every, self.parts) {
            return Reply::Later;
        }
        if let Some((left, code, words)) = &mut self.faults.errors
            && *left > 0
        {
            *left -= 1;
            return Reply::PartError(*code, words.clone());
        }
        let stall_after = self.faults.stall_after;
        if let Some(link) = self.links.get_mut(&from.link) {
            link.parts += 1;
            if stall_after.is_some_and(|most| link.parts > most) {
                return Reply::Later;
            }
        }
        let corrupt = self.faults.corrupt_every;
        let damage = corrupt.filter(|(every, _)| is_turn(Some(*every), self.parts));
        match self.read_part(from, request, damage.map(|(_, how)| how)) {
            Ok(bytes) => Reply::Part(bytes, damage.map(|(_, how)| how)),
            Err((code, words)) => Reply::PartError(code, words),
        }
    }

    /// Whether the request's file reference has not expired.
    fn is_current(&self, request: &f::upload::GetFile) -> bool {
        let (id, reference) = match &request.location {
            enums::InputFileLocation::InputDocumentFileLocation(at) => (at.id, &at.file_reference),
            enums::InputFileLocation::InputPhotoFileLocation(at) => (at.id, &at.file_reference),
            _ => return false,
        };
        *reference == schema::reference(id, self.generation)
    }

    fn read_part(&mut self, from: &From, request: &f::upload::GetFile, damage: Option<Corruption>) -> Answer {
        if let Err(words) = check_limits(request) {
            let (offset, limit) = (request.offset, request.limit);
            self.violation(from.link, format!("{words}: offset {offset}, limit {limit}"));
            return refuse(400, words);
        }
        let (id, hash, reference, thumb) = match &request.location {
            enums::InputFileLocation::InputDocumentFileLocation(at) => {
                (at.id, at.access_hash, &at.file_reference, &at.thumb_size)
            }
            enums::InputFileLocation::InputPhotoFileLocation(at) => {
                (at.id, at.access_hash, &at.file_reference, &at.thumb_size)
            }
            _ => return refuse(400, "LOCATION_INVALID"),
        };
        let is_photo = matches!(
            request.location,
            enums::InputFileLocation::InputPhotoFileLocation(_)
        );
        let Some(file) = self.world.file(id).cloned() else {
            return refuse(400, "FILE_ID_INVALID");
        };
        if hash != file.access_hash || is_photo != (file.kind == Kind::Photo) {
            return refuse(400, "FILE_ID_INVALID");
        }
        if *reference != schema::reference(id, self.generation) {
            let is_ours = reference.len() == schema::reference(id, 0).len();
            let words = if is_ours {
                "FILE_REFERENCE_EXPIRED"
            } else {
                "FILE_REFERENCE_INVALID"
            };
            return refuse(400, words);
        }
        if file.dc != from.dc {
            return refuse(303, format!("FILE_MIGRATE_{}", file.dc));
        }
        if request.cdn_supported {
            // There is none here, and a client that says so must be able to follow to it.
            self.violation(from.link, "says to know the content network");
        }
        let size = size(&file, thumb)?;
        let asked = (request.limit as u64).min(size.saturating_sub(request.offset as u64));
        let len = match damage {
            Some(Corruption::ShortPart) => asked.saturating_sub(16),
            _ => asked,
        };
        let mut bytes = file.bytes(request.offset as u64, len);
        if damage == Some(Corruption::LongPart) {
            bytes.extend([0; 16]);
        }
        self.counters.file_bytes += bytes.len() as u64;
        let part = types::upload::File {
            r#type: enums::storage::FileType::FilePartial,
            mtime: 0,
            bytes,
        };
        Ok(enums::upload::File::File(part).to_bytes())
    }
}

/// The size of a photo's size, or of a document.
fn size(file: &File, thumb: &str) -> Result<u64, (i32, String)> {
    match (file.kind, thumb) {
        (Kind::Photo, "y") | (Kind::Document | Kind::Video, "") => Ok(file.size),
        (Kind::Photo, "m") => Ok(file.size / 4),
        _ => refuse(400, "LOCATION_INVALID"),
    }
}

/// The word for the rule that a request breaks.
fn check_limits(request: &f::upload::GetFile) -> Result<(), &'static str> {
    let (offset, limit) = (request.offset, i64::from(request.limit));
    let unit = if request.precise { KIB } else { 4 * KIB };
    if offset < 0 || offset % unit != 0 {
        return Err("OFFSET_INVALID");
    }
    if limit <= 0 || limit > BLOCK || limit % unit != 0 {
        return Err("LIMIT_INVALID");
    }
    if !request.precise && BLOCK % limit != 0 {
        return Err("LIMIT_INVALID");
    }
    if offset / BLOCK != (offset + limit - 1) / BLOCK {
        return Err("LIMIT_INVALID");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_documentation() {
        let ask = |offset: i64, limit: i64, precise: bool| {
            check_limits(&f::upload::GetFile {
                precise,
                cdn_supported: false,
                location: enums::InputFileLocation::InputTakeoutFileLocation,
                offset,
                limit: limit as i32,
            })
        };
        for limit in [4, 8, 16, 64, 512, 1024] {
            assert_eq!(ask(3 * BLOCK, limit * KIB, false), Ok(()));
        }
        for limit in [0, 1, 2, 12, 5, 20, 768, 2048] {
            assert_eq!(ask(0, limit * KIB, false), Err("LIMIT_INVALID"), "{limit}");
        }
        assert_eq!(ask(2 * KIB, 4 * KIB, false), Err("OFFSET_INVALID"));
        assert_eq!(
            ask(512 * KIB, 1024 * KIB, false),
            Err("LIMIT_INVALID"),
            "across blocks"
        );
        assert_eq!(ask(-4 * KIB, 4 * KIB, false), Err("OFFSET_INVALID"));
        assert_eq!(ask(3 * KIB, 5 * KIB, true), Ok(()));
        assert_eq!(ask(BLOCK - KIB, 2 * KIB, true), Err("LIMIT_INVALID"));
        assert_eq!(ask(512, KIB, true), Err("OFFSET_INVALID"));
    }
}
