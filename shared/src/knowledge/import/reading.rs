//! Reading files, and whose fault it is when that fails.

use std::{io, path::Path};

use rustix::io::Errno;

use super::SyncError;

/// Reads a file of an import. The inner error is about the file; when the machine lacks something, no file can be judged.
pub(super) fn read(path: &Path) -> Result<io::Result<Vec<u8>>, SyncError> {
    blame(std::fs::read(path))
}

/// Takes errors of the machine apart from those about a file.
pub(super) fn blame<T>(outcome: io::Result<T>) -> Result<io::Result<T>, SyncError> {
    match outcome {
        Err(error) if is_the_machines(&error) => Err(SyncError::Machine(error)),
        outcome => Ok(outcome),
    }
}

/// Whether the machine ran out of something, and trying again later may help.
pub(super) fn is_the_machines(error: &io::Error) -> bool {
    const LACKS: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSPC, Errno::DQUOT];
    LACKS.iter().any(|lack| error.raw_os_error() == Some(lack.raw_os_error()))
}

/// What to say of a file that cannot be read.
pub(super) fn unreadable(error: &io::Error) -> String {
    format!("The file cannot be read: {error}.")
}
