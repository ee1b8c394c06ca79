//! Passwords of local accounts: argon2id, a bounded number at once, off the async threads.

use std::sync::LazyLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

/// Fewest characters of a password.
pub const MIN_LENGTH: usize = 12;
/// Most bytes of a password; more is a way to keep the server busy.
pub const MAX_BYTES: usize = 1024;

/// Why a password was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too short.
    #[error("a password needs at least {MIN_LENGTH} characters")]
    TooShort,
    /// Too long.
    #[error("a password may have at most {MAX_BYTES} bytes")]
    TooLong,
    /// The hash could not be computed.
    #[error("the password could not be hashed")]
    Hash,
}

/// Each hash takes 19 MiB and tens of milliseconds of a core: a flood of sign-ins must not take all of both.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// Verified when the account does not exist, so that the answer takes as long.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    Argon2::default().hash_password(b"nobody has this password").map_or_else(|_| String::new(), |h| h.to_string())
});

/// Hashes a password into a PHC string with a random salt.
pub async fn hash(password: String) -> Result<String, PasswordError> {
    if password.chars().count() < MIN_LENGTH {
        return Err(PasswordError::TooShort);
    }
    if password.len() > MAX_BYTES {
        return Err(PasswordError::TooLong);
    }
    let hashed = off_thread(move || Argon2::default().hash_password(password.as_bytes()).map(|h| h.to_string()).ok());
    hashed.await.flatten().ok_or(PasswordError::Hash)
}

/// Whether the password fits the stored hash. Without a hash the answer is no, after the same work.
pub(super) async fn verify(password: String, stored: Option<String>) -> bool {
    if password.len() > MAX_BYTES {
        return false;
    }
    let known = stored.is_some();
    let verified = off_thread(move || {
        let stored = stored.unwrap_or_else(|| NOBODY.clone());
        PasswordHash::new(&stored)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    });
    verified.await.unwrap_or(false) && known
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let _permit = AT_ONCE.acquire().await.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}
