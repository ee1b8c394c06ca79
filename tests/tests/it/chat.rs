//! Chats: what is said over a socket, who may open one and for how long, and that nothing of an answer is lost whatever breaks.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

mod client;
mod doors;
mod limits;
mod protocol;
mod survival;
