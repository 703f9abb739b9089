//! File names and media types as messages state them, made safe for file systems and HTTP headers.

/// Upper bound of a file name: 255 bytes are what file systems take, less room for a number and `.part`.
const MAX_NAME_BYTES: usize = 200;

/// A file name without directories, control characters or direction marks. `None` if nothing is left.
pub(crate) fn clean_name(said: &str) -> Option<String> {
    let last = said.rsplit(['/', '\\']).next().unwrap_or_default();
    // Direction marks can make a file extension look like another one.
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut name: String = last.chars().filter(|c| !c.is_control() && !turns(*c)).collect();
    name = name.trim().trim_start_matches('.').to_owned();
    if name.len() > MAX_NAME_BYTES {
        let stem_end = name
            .rfind('.')
            .filter(|dot| name.len() - dot <= 16)
            .unwrap_or(name.len());
        let end = name.split_off(stem_end);
        let mut keep = MAX_NAME_BYTES - end.len();
        while !name.is_char_boundary(keep.min(name.len())) {
            keep -= 1;
        }
        name.truncate(keep);
        name.push_str(&end);
    }
    (!name.is_empty()).then_some(name)
}

/// A media type in the syntax of HTTP, or `application/octet-stream`.
pub(crate) fn clean_mime(said: &str) -> String {
    let token = |part: &str| {
        let is_allowed = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c);
        !part.is_empty() && part.len() <= 64 && part.bytes().all(is_allowed)
    };
    match said.split_once('/') {
        Some((kind, subtype)) if token(kind) && token(subtype) => said.to_ascii_lowercase(),
        _ => "application/octet-stream".into(),
    }
}

/// The usual file name extension of a media type.
pub(crate) fn extension(mime: &str) -> &'static str {
    match mime {
        "video/mp4" => "mp4",
        "video/webm" => "webm",
        "video/x-matroska" => "mkv",
        "audio/mpeg" => "mp3",
        "audio/ogg" => "ogg",
        "audio/mp4" => "m4a",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/webp" => "webp",
        "image/gif" => "gif",
        "application/pdf" => "pdf",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_files_only() {
        let cases = [
            ("film.mp4", Some("film.mp4")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\temp\\a.exe", Some("a.exe")),
            ("..", None),
            ("", None),
            (" .hidden ", Some("hidden")),
            ("a\0b\nc.txt", Some("abc.txt")),
            ("photo\u{202e}gpj.exe", Some("photogpj.exe")),
            ("ночь.mkv", Some("ночь.mkv")),
        ];
        for (said, name) in cases {
            assert_eq!(clean_name(said).as_deref(), name, "{said:?}");
        }
        let long = clean_name(&format!("{}.mkv", "я".repeat(400))).unwrap();
        assert!(long.len() <= MAX_NAME_BYTES && long.ends_with("я.mkv"));
        assert!(clean_name(&"x".repeat(4000)).unwrap().len() <= MAX_NAME_BYTES);
    }

    #[test]
    fn types_are_of_http_or_say_nothing() {
        assert_eq!(clean_mime("Video/MP4"), "video/mp4");
        for said in ["", "video", "video/", "a/b/c", "video/mp4\r\nX: y", "video/mp 4"] {
            assert_eq!(clean_mime(said), "application/octet-stream", "{said:?}");
        }
    }
}
