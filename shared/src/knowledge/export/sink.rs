//! Where an export goes: into a folder or a zip archive.

use std::{
    fs,
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Takes the files of an export, one after the other.
pub trait Sink: Send {
    /// Writes a file: its path with `/`, and what is in it.
    fn file(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;
}

/// Writes into a folder.
#[derive(Debug)]
pub struct FolderSink {
    root: PathBuf,
}

impl FolderSink {
    /// A new folder, or an empty one: what lies in it already would seem to be part of the export.
    pub fn create(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        if fs::read_dir(root)?.next().is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the folder is not empty"));
        }
        Ok(Self { root: root.to_owned() })
    }
}

impl Sink for FolderSink {
    fn file(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, bytes)
    }
}

/// Writes a zip archive. Its entries have no times, so that the same files make the same archive.
pub struct ZipSink<W: Write + Seek> {
    archive: ZipWriter<W>,
}

impl<W: Write + Seek> std::fmt::Debug for ZipSink<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZipSink").finish_non_exhaustive()
    }
}

impl<W: Write + Seek> ZipSink<W> {
    /// An archive that is written from here on.
    pub fn new(writer: W) -> Self {
        Self { archive: ZipWriter::new(writer) }
    }

    /// Ends the archive.
    pub fn finish(self) -> io::Result<W> {
        self.archive.finish().map_err(io::Error::other)
    }
}

impl<W: Write + Seek + Send> Sink for ZipSink<W> {
    fn file(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::DEFAULT)
            .unix_permissions(0o644);
        self.archive.start_file(path, options).map_err(io::Error::other)?;
        self.archive.write_all(bytes)
    }
}
