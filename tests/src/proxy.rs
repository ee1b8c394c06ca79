//! A proxy between a program and a server that misbehaves when it is told to.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Passes bytes on. Gone, with all its connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    replies: Arc<Replies>,
    accepting: JoinHandle<()>,
}

/// What happens to connections. Those of earlier generations than the current one meet their fate.
#[derive(Debug, Clone, Copy)]
struct State {
    generation: u64,
    fate: Fate,
    accepts: Accepts,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Cut,
    Silence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepts {
    Normally,
    Nobody,
    Silently,
}

/// One of so many replies is lost, and its connection with it; 0: none. Each comes late by some µs.
#[derive(Debug, Default)]
struct Replies {
    lost_of: AtomicUsize,
    seen: AtomicUsize,
    lost: AtomicUsize,
    late_micros: AtomicU64,
}

impl Replies {
    fn loses_this_one(&self) -> bool {
        let (of, seen) = (self.lost_of.load(Ordering::SeqCst), self.seen.fetch_add(1, Ordering::SeqCst));
        let loses = of > 0 && seen % of == of - 1;
        self.lost.fetch_add(usize::from(loses), Ordering::SeqCst);
        loses
    }

    async fn wait(&self) {
        let late = self.late_micros.load(Ordering::SeqCst);
        if late > 0 {
            tokio::time::sleep(Duration::from_micros(late)).await;
        }
    }
}

impl Proxy {
    /// A proxy in front of the server that the URL names.
    pub async fn before(server: &SecretString) -> Self {
        let url = url::Url::parse(server.expose_secret()).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(State { generation: 0, fate: Fate::Cut, accepts: Accepts::Normally });
        let replies = Arc::<Replies>::default();
        let accepting = tokio::spawn(accept(listener, server, state.subscribe(), Arc::clone(&replies)));
        Self { address, state, replies, accepting }
    }

    /// The server's URL with the proxy's address in it.
    pub fn url(&self, server: &SecretString) -> SecretString {
        let mut url = url::Url::parse(server.expose_secret()).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        SecretString::from(url.to_string())
    }

    /// Breaks every connection and refuses new ones, as when the server is down.
    pub fn cut(&self) {
        self.end_generation(Fate::Cut, Accepts::Nobody);
    }

    /// Makes every connection silent for ever, without closing it; new ones are as usual.
    pub fn silence_connections(&self) {
        self.end_generation(Fate::Silence, Accepts::Normally);
    }

    /// Makes every connection silent, new ones too.
    pub fn silence_everything(&self) {
        self.end_generation(Fate::Silence, Accepts::Silently);
    }

    /// Accepts connections as usual again.
    pub fn restore(&self) {
        self.state.send_modify(|state| state.accepts = Accepts::Normally);
    }

    /// From now on one of so many replies is lost after its command was carried out, and the connection breaks; 0: none.
    pub fn lose_one_reply_of(&self, number: usize) {
        self.replies.lost_of.store(number, Ordering::SeqCst);
    }

    /// How many replies were lost so far.
    pub fn lost_replies(&self) -> usize {
        self.replies.lost.load(Ordering::SeqCst)
    }

    /// From now on every reply comes so much later.
    pub fn delay_replies(&self, late: Duration) {
        self.replies.late_micros.store(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Breaks every connection; new ones are as usual.
    pub fn reset_connections(&self) {
        self.end_generation(Fate::Cut, Accepts::Normally);
    }

    fn end_generation(&self, fate: Fate, accepts: Accepts) {
        self.state.send_modify(|state| *state = State { generation: state.generation + 1, fate, accepts });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: String, state: watch::Receiver<State>, replies: Arc<Replies>) {
    while let Ok((client, _)) = listener.accept().await {
        let State { generation, accepts, .. } = *state.borrow();
        if accepts == Accepts::Nobody {
            continue;
        }
        let (server, mut state, replies) = (server.clone(), state.clone(), Arc::clone(&replies));
        tokio::spawn(async move {
            if accepts == Accepts::Silently {
                hold(&mut state, client).await;
                return;
            }
            let Ok(server) = TcpStream::connect(server).await else { return };
            let fate = tokio::select! {
                _ = pump(&client, &server, None) => return,
                _ = pump(&server, &client, Some(&replies)) => return,
                overtaken = state.wait_for(|state| state.generation > generation) => overtaken.map(|state| state.fate),
            };
            if let Ok(Fate::Silence) = fate {
                hold(&mut state, (client, server)).await;
            }
        });
    }
}

/// Keeps connections open and silent for as long as the proxy lives.
async fn hold<T>(state: &mut watch::Receiver<State>, connections: T) {
    while state.changed().await.is_ok() {}
    drop(connections);
}

async fn pump(from: &TcpStream, to: &TcpStream, replies: Option<&Replies>) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        from.readable().await?;
        let mut rest = match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) if replies.is_some_and(Replies::loses_this_one) => return Ok(()),
            Ok(length) => &buffer[..length],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        if let Some(replies) = replies {
            replies.wait().await;
        }
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
