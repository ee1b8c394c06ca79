//! A proxy between a program and a server that misbehaves when it is told to.
//!
//! It knows the protocols of neither: what a server sends at once counts as a reply.

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

/// For how long a silent connection is kept open.
const SILENCE: Duration = Duration::from_secs(120);

/// Passes bytes on. Gone, with all its connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    line: Arc<Line>,
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
    Reset,
    Silence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepts {
    Normally,
    Nobody,
    Silently,
}

/// What all connections suffer.
#[derive(Debug, Default)]
struct Line {
    /// One of so many replies is lost, and its connection with it; 0: none.
    lost_of: AtomicUsize,
    replies: AtomicUsize,
    lost: AtomicU64,
    /// How long each part takes, in ms.
    latency: AtomicU64,
    /// 0: no limit.
    bytes_per_second: AtomicU64,
}

impl Line {
    fn loses_this_reply(&self) -> bool {
        let (of, seen) = (self.lost_of.load(Ordering::SeqCst), self.replies.fetch_add(1, Ordering::SeqCst));
        let is_lost = of > 0 && seen % of == of - 1;
        self.lost.fetch_add(is_lost.into(), Ordering::SeqCst);
        is_lost
    }

    async fn delay(&self, length: usize) {
        let latency = self.latency.load(Ordering::SeqCst);
        let bandwidth = self.bytes_per_second.load(Ordering::SeqCst);
        let transfer = (length as u64 * 1000).checked_div(bandwidth).unwrap_or(0);
        if latency + transfer > 0 {
            tokio::time::sleep(Duration::from_millis(latency + transfer)).await;
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
        let line = Arc::<Line>::default();
        let accepting = tokio::spawn(accept(listener, server, state.subscribe(), Arc::clone(&line)));
        Self { address, state, line, accepting }
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

    /// Resets every connection; new ones are as usual.
    pub fn reset_connections(&self) {
        self.end_generation(Fate::Reset, Accepts::Normally);
    }

    /// Makes every connection silent, without closing it; new ones are as usual.
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
        self.line.lost_of.store(number, Ordering::SeqCst);
    }

    /// How many replies were lost so far.
    pub fn lost_replies(&self) -> u64 {
        self.line.lost.load(Ordering::SeqCst)
    }

    /// From now on whatever is sent takes so much longer, and no more than so much is sent in a second; 0: no limit.
    pub fn slow_down(&self, latency: Duration, bytes_per_second: u64) {
        self.line.latency.store(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        self.line.bytes_per_second.store(bytes_per_second, Ordering::SeqCst);
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

async fn accept(listener: TcpListener, server: String, state: watch::Receiver<State>, line: Arc<Line>) {
    while let Ok((client, _)) = listener.accept().await {
        let State { generation, accepts, .. } = *state.borrow();
        if accepts == Accepts::Nobody {
            continue;
        }
        let (server, mut state, line) = (server.clone(), state.clone(), Arc::clone(&line));
        tokio::spawn(async move {
            if accepts == Accepts::Silently {
                hold(&mut state, client).await;
                return;
            }
            let Ok(server) = TcpStream::connect(server).await else { return };
            let fate = tokio::select! {
                _ = pump(&client, &server, &line, || true) => return,
                _ = pump(&server, &client, &line, || !line.loses_this_reply()) => return,
                overtaken = state.wait_for(|state| state.generation > generation) => overtaken.map(|state| state.fate),
            };
            match fate {
                Ok(Fate::Silence) => hold(&mut state, (client, server)).await,
                // Closing without lingering is a reset.
                Ok(Fate::Reset) => drop(client.set_zero_linger()),
                Ok(Fate::Cut) | Err(_) => {}
            }
        });
    }
}

/// Keeps connections open and silent for a long time, unless all are cut.
async fn hold<T>(state: &mut watch::Receiver<State>, connections: T) {
    let until = state.borrow_and_update().generation;
    let cut = state.wait_for(|state| state.generation > until && matches!(state.fate, Fate::Cut));
    let _ = tokio::time::timeout(SILENCE, cut).await;
    drop(connections);
}

async fn pump(from: &TcpStream, to: &TcpStream, line: &Line, passes: impl Fn() -> bool) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        from.readable().await?;
        let mut rest = match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) if !passes() => return Ok(()),
            Ok(length) => &buffer[..length],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        line.delay(rest.len()).await;
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
