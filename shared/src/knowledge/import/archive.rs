//! Documentation as a zip archive: it is unpacked into a private folder, which is then imported like any other.
//!
//! An archive is from anybody. Where its entries would be written, what they are and how large they become is decided by
//! what comes out of it and by nothing that it says of itself.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use zip::{ZipArchive, result::ZipError};

use super::reading::is_the_machines;
use crate::knowledge::export::format::CATEGORY_FILE;

/// Most entries of an archive.
pub const MAX_ENTRIES: usize = 50_000;
/// Most bytes that an archive holds, unpacked.
pub const MAX_UNPACKED_BYTES: u64 = 1024 * 1024 * 1024;
/// Most bytes of one file; nothing that is imported is larger.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// How many times larger than the archive its files may be. Text shrinks to a tenth at best; a hundredth is a trick.
const MAX_RATIO: u64 = 100;
/// Up to here the ratio does not matter.
const MIN_BOMB_BYTES: u64 = 32 * 1024 * 1024;

/// A folder made of an archive; it goes away with this.
#[derive(Debug)]
pub struct Unpacked {
    folder: TempDir,
    root: PathBuf,
    /// Entries that were left out: name and reason.
    pub problems: Vec<(String, String)>,
}

impl Unpacked {
    /// The folder to import.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that goes away.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Why an archive cannot be imported at all; a sentence for who made it.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is none, or damaged.
    #[error("the file is no zip archive that can be read: {0}")]
    Unreadable(String),
    /// It has too many entries.
    #[error("the archive has {0} entries; at most {MAX_ENTRIES} are unpacked")]
    TooMany(usize),
    /// It becomes too large.
    #[error("the archive holds more than {} MiB; import it in parts", MAX_UNPACKED_BYTES / (1024 * 1024))]
    TooLarge,
    /// It becomes larger than any text would.
    #[error("the archive holds more than {MAX_RATIO} times its own size, as no documentation does")]
    Bomb,
    /// The folder cannot be written.
    #[error("the archive cannot be unpacked here: {0}")]
    Io(#[from] io::Error),
}

/// Unpacks an archive. What lies in a single folder lies in the root then, since most tools pack the folder itself.
pub fn unpack(mut archive: impl Read + Seek) -> Result<Unpacked, ArchiveError> {
    let size = archive.seek(SeekFrom::End(0))?;
    let mut archive = ZipArchive::new(archive).map_err(unreadable)?;
    if archive.len() > MAX_ENTRIES {
        return Err(ArchiveError::TooMany(archive.len()));
    }
    let folder = tempfile::Builder::new().prefix("helpcenter-import-").tempdir()?;
    let mut unpacking =
        Unpacking { root: folder.path(), size, unpacked: 0, seen: HashSet::new(), problems: Vec::new() };
    for index in 0..archive.len() {
        unpacking.entry(&mut archive, index)?;
    }
    let problems = unpacking.problems;
    let root = only_folder(folder.path())?.unwrap_or_else(|| folder.path().to_owned());
    Ok(Unpacked { folder, root, problems })
}

fn unreadable(error: ZipError) -> ArchiveError {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => ArchiveError::Io(error),
        error => ArchiveError::Unreadable(error.to_string()),
    }
}

struct Unpacking<'a> {
    root: &'a Path,
    /// Of the archive.
    size: u64,
    /// Bytes that came out of it.
    unpacked: u64,
    seen: HashSet<String>,
    problems: Vec<(String, String)>,
}

impl Unpacking<'_> {
    fn entry(&mut self, archive: &mut ZipArchive<impl Read + Seek>, index: usize) -> Result<(), ArchiveError> {
        let (name, is_encrypted, is_link) = match archive.by_index_raw(index) {
            Ok(entry) if entry.is_dir() => return Ok(()),
            Ok(entry) => (entry.name_raw().to_vec(), entry.encrypted(), entry.is_symlink()),
            Err(error) => {
                self.problem(&format!("entry {}", index + 1), &format!("it cannot be read: {error}"));
                return Ok(());
            }
        };
        let shown = String::from_utf8_lossy(&name).into_owned();
        let path = match path_of(&name) {
            Ok(Some(path)) => path,
            Ok(None) => return Ok(()),
            Err(reason) => {
                self.problem(&shown, reason);
                return Ok(());
            }
        };
        if is_encrypted {
            self.problem(&shown, "it is encrypted");
        } else if is_link {
            self.problem(&shown, "it is a symbolic link, which could lead out of the archive");
        } else if !self.seen.insert(path.to_lowercase()) {
            self.problem(&shown, "the archive has another file of this name");
        } else {
            match archive.by_index(index) {
                Ok(mut entry) => self.file(&path, &mut entry)?,
                Err(error) => self.problem(&shown, &format!("it cannot be read: {error}")),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, entry: &mut impl Read) -> Result<(), ArchiveError> {
        let target = self.root.join(path);
        let made = target.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create_new(&target));
        let mut file = match made {
            Ok(file) => file,
            // Two entries want to be file and folder at once, or a name is too long.
            Err(error) if !is_the_machines(&error) => {
                self.problem(path, &format!("no file can have this name here: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut buffer = vec![0; 64 * 1024];
        let mut written = 0;
        loop {
            let count = match entry.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if is_the_machines(&error) => return Err(error.into()),
                Err(error) => {
                    self.problem(path, &format!("it is damaged: {error}"));
                    break;
                }
            };
            self.unpacked += count as u64;
            written += count as u64;
            if self.unpacked > MAX_UNPACKED_BYTES {
                return Err(ArchiveError::TooLarge);
            }
            if self.unpacked > MIN_BOMB_BYTES.max(self.size.saturating_mul(MAX_RATIO)) {
                return Err(ArchiveError::Bomb);
            }
            if written > MAX_FILE_BYTES {
                let most = MAX_FILE_BYTES / (1024 * 1024);
                self.problem(path, &format!("it has more than {most} MiB, which nothing that is imported has"));
                break;
            }
            file.write_all(&buffer[..count])?;
        }
        drop(file);
        fs::remove_file(target)?;
        Ok(())
    }

    fn problem(&mut self, name: &str, reason: &str) {
        let name: String = name.chars().take(300).collect();
        self.problems.push((name, format!("the archive's entry is left out: {reason}")));
    }
}

/// Where an entry goes, with `/`; none when it is what a system leaves behind.
fn path_of(name: &[u8]) -> Result<Option<String>, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8")?;
    // Some tools for Windows write paths the way of that system.
    let name = name.replace('\\', "/");
    if name.starts_with('/') || name.as_bytes().get(1) == Some(&b':') {
        return Err("its path does not begin in the archive");
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err("its path leads out of the archive");
    }
    if name.chars().any(char::is_control) || parts.is_empty() {
        return Err("its name is none");
    }
    if parts.iter().any(|part| matches!(*part, "__MACOSX" | ".DS_Store" | "Thumbs.db" | "desktop.ini")) {
        return Ok(None);
    }
    Ok(Some(parts.join("/")))
}

/// The only thing in a folder, if that is a folder that is no category by itself.
fn only_folder(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut entries = fs::read_dir(folder)?;
    let (Some(first), None) = (entries.next().transpose()?, entries.next()) else { return Ok(None) };
    let path = first.path();
    Ok((first.file_type()?.is_dir() && !path.join(CATEGORY_FILE).exists()).then_some(path))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Cursor<Vec<u8>> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            writer.start_file(*name, SimpleFileOptions::default()).expect("started");
            writer.write_all(content).expect("written");
        }
        writer.finish().expect("finished")
    }

    fn files(unpacked: &Unpacked) -> Vec<String> {
        let mut found: Vec<String> = walkdir::WalkDir::new(unpacked.root())
            .into_iter()
            .map(|entry| entry.expect("readable"))
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| entry.path().strip_prefix(unpacked.root()).expect("inside").display().to_string())
            .collect();
        found.sort();
        found
    }

    #[test]
    fn files_are_unpacked_and_what_systems_leave_behind_is_not() {
        let unpacked = unpack(archive(&[
            ("a.md", b"A"),
            ("x/b.md", b"B"),
            ("x\\c.md", b"C"),
            ("__MACOSX/a.md", b"junk"),
            ("x/.DS_Store", b"junk"),
        ]))
        .expect("unpacked");
        assert_eq!(files(&unpacked), ["a.md", "x/b.md", "x/c.md"]);
        assert_eq!(fs::read(unpacked.root().join("x/b.md")).expect("read"), b"B");
        assert_eq!(unpacked.problems, []);
        let folder = unpacked.folder().to_owned();
        drop(unpacked);
        assert!(!folder.exists());
    }

    #[test]
    fn a_single_folder_is_the_root_unless_it_is_a_category() {
        let unpacked = unpack(archive(&[("docs/a.md", b"A"), ("docs/x/b.md", b"B"), ("__MACOSX/docs/a.md", b"")]));
        assert_eq!(files(&unpacked.expect("unpacked")), ["a.md", "x/b.md"]);
        let unpacked = unpack(archive(&[("guides/a.md", b"A"), ("guides/_category_.yml", b"")]));
        assert_eq!(files(&unpacked.expect("unpacked")), ["guides/_category_.yml", "guides/a.md"]);
    }

    #[test]
    fn nothing_is_written_outside_and_bad_entries_are_told() {
        let parent = tempfile::tempdir().expect("a folder");
        let outside = parent.path().join("evil.md");
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        for name in [
            "../evil.md",
            "a/../../evil.md",
            "/evil.md",
            outside.to_str().expect("UTF-8"),
            "C:/evil.md",
            "good.md",
            "GOOD.md",
            "a\nb.md",
        ] {
            writer.start_file(name, options).expect("started");
            writer.write_all(b"x").expect("written");
        }
        writer.add_symlink("link.md", "/etc/passwd", options).expect("added");
        let unpacked = unpack(writer.finish().expect("finished")).expect("unpacked");
        assert_eq!(files(&unpacked), ["good.md"]);
        assert!(!outside.exists());
        assert_eq!(unpacked.problems.len(), 8, "{:?}", unpacked.problems);
        for (name, part) in [
            ("../evil.md", "leads out"),
            ("/evil.md", "does not begin"),
            ("GOOD.md", "another file"),
            ("link.md", "symbolic link"),
        ] {
            let told = unpacked.problems.iter().any(|(told, reason)| told == name && reason.contains(part));
            assert!(told, "{name}: {:?}", unpacked.problems);
        }
    }

    #[test]
    fn what_becomes_too_large_is_given_up() {
        let zeros = vec![0; 12 * 1024 * 1024];
        let bomb = archive(&[("a", &zeros), ("b", &zeros), ("c", &zeros), ("d", &zeros)]);
        assert!(matches!(unpack(bomb), Err(ArchiveError::Bomb)));
        let large = vec![0; usize::try_from(MAX_FILE_BYTES).expect("fits") + 1];
        let unpacked = unpack(archive(&[("large.md", &large), ("small.md", b"x")])).expect("unpacked");
        assert_eq!(files(&unpacked), ["small.md"]);
        assert!(unpacked.problems[0].1.contains("16 MiB"), "{:?}", unpacked.problems);
    }

    #[test]
    fn what_is_no_archive_is_refused_and_what_is_damaged_is_told() {
        for bytes in [&b""[..], b"PK\x03\x04", b"not a zip file at all", &[0; 1000]] {
            assert!(matches!(unpack(Cursor::new(bytes)), Err(ArchiveError::Unreadable(_))), "{bytes:?}");
        }
        let good = archive(&[("a.md", b"AAAAAAAAAA"), ("b.md", b"B")]).into_inner();
        let at = good.windows(4).position(|bytes| bytes == b"a.md").expect("the name") + 4;
        let mut damaged = good.clone();
        damaged[at..at + 3].fill(0xff);
        let unpacked = unpack(Cursor::new(damaged)).expect("unpacked");
        assert_eq!(files(&unpacked), ["b.md"]);
        assert_eq!(unpacked.problems[0].0, "a.md");
        assert!(unpack(Cursor::new(&good[..good.len() / 2])).is_err());
    }
}
