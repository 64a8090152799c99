//! The folder in which one sandbox meets the service: two sockets that are each connected to once, with network access a
//! third one for what leaves, and a nonce.
//! Nothing else makes or removes such folders.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use tokio::net::{UnixListener, UnixStream};

use plugbay_domain::SessionId;
use plugbay_sandbox::Network;

/// Names which service made a folder, so that another one's are left alone.
const OWNER_FILE: &str = "instance";

/// The folder of one session, removed when this is dropped.
#[derive(Debug)]
pub(super) struct InstanceDir {
    path: PathBuf,
    nonce: String,
    host: Option<UnixListener>,
    log: Option<UnixListener>,
    egress: Option<UnixListener>,
}

/// A connection from inside a sandbox came from somebody else.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// The system refused.
    #[error("the socket cannot be accepted from")]
    Accept(#[from] io::Error),
    /// Another user or process.
    #[error("uid {uid}, pid {pid} connected instead of uid {wanted_uid}, pid {wanted_pid}")]
    Wrong {
        /// Who connected.
        uid: u32,
        /// Which process, 0 when it is in a namespace that cannot be seen.
        pid: i32,
        /// Who was expected.
        wanted_uid: u32,
        /// Which process was expected.
        wanted_pid: i32,
    },
    /// The socket was taken already.
    #[error("the socket was connected to before")]
    Taken,
}

/// Who must be at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) pid: i32,
}

impl InstanceDir {
    /// Makes the folder, listens, and leaves everything to the plugin's user alone where the service is root.
    pub(super) fn make(
        run_dir: &Path,
        instance: &str,
        session: SessionId,
        uid: u32,
        network: Network,
    ) -> io::Result<Self> {
        let private = |mode| {
            let mut builder = DirBuilder::new();
            builder.mode(mode);
            builder
        };
        private(0o700).recursive(true).create(run_dir)?;
        let path = run_dir.join(session.to_string());
        // 0711: a bind mount passes by the parents, and the plugin's user needs to enter this one and list nothing.
        private(0o711).create(&path)?;
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let mut made = Self { path, nonce: HEXLOWER.encode(&bytes), host: None, log: None, egress: None };
        fs::set_permissions(&made.path, Permissions::from_mode(0o711))?;
        made.file(OWNER_FILE, instance, 0o600)?;
        made.file("passwd", &format!("plugin:x:{uid}:{uid}::/tmp:/bin/sh\n"), 0o444)?;
        let (mut nonce_mode, mut socket_mode) = (0o400, 0o600);
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            // Nothing can be given away; the run directory itself is closed to others.
            (nonce_mode, socket_mode) = (0o444, 0o666);
        }
        let nonce = made.nonce.clone();
        made.file("nonce", &nonce, nonce_mode)?;
        let listen = |name: &str| -> io::Result<UnixListener> {
            let socket = made.path.join(name);
            let listener = UnixListener::bind(&socket)?;
            fs::set_permissions(&socket, Permissions::from_mode(socket_mode))?;
            if is_root {
                chown(&socket, Some(uid), Some(uid))?;
            }
            Ok(listener)
        };
        let (host, log) = (listen("host.sock")?, listen("log.sock")?);
        let egress = match network {
            Network::None => None,
            Network::Proxied => Some(listen("egress.sock")?),
        };
        if is_root {
            chown(made.path.join("nonce"), Some(uid), Some(uid))?;
        }
        (made.host, made.log, made.egress) = (Some(host), Some(log), egress);
        Ok(made)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> io::Result<()> {
        let path = self.path.join(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        file.write_all(text.as_bytes())?;
        // The mode of `open` is subject to the umask.
        fs::set_permissions(&path, Permissions::from_mode(mode))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is the nonce, at a cost that does not tell how much of it was right.
    pub(super) fn is_nonce(&self, said: &str) -> bool {
        let (wanted, said) = (self.nonce.as_bytes(), said.as_bytes());
        wanted.len() == said.len() && wanted.iter().zip(said).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }

    /// Takes the socket of what leaves, if the sandbox has one. Whoever listens there checks each connection's peer.
    pub(super) fn take_egress(&mut self) -> Option<UnixListener> {
        self.egress.take()
    }

    /// Takes the one connection to `host.sock`.
    pub(super) async fn accept_host(&mut self, peer: Peer) -> Result<UnixStream, PeerError> {
        let listener = self.host.take().ok_or(PeerError::Taken)?;
        self.accept("host.sock", listener, peer).await
    }

    /// Takes the one connection to `log.sock`.
    pub(super) async fn accept_log(&mut self, peer: Peer) -> Result<UnixStream, PeerError> {
        let listener = self.log.take().ok_or(PeerError::Taken)?;
        self.accept("log.sock", listener, peer).await
    }

    /// Takes the connection that a sandbox made to `log.sock` and that outlived it: what it said is still there.
    pub(super) async fn accept_last_words(&mut self, uid: u32) -> Result<UnixStream, PeerError> {
        let listener = self.log.take().ok_or(PeerError::Taken)?;
        let (stream, _) = listener.accept().await?;
        let found = stream.peer_cred()?;
        let (found_uid, pid) = (found.uid(), found.pid().unwrap_or(0));
        if found_uid != uid {
            return Err(PeerError::Wrong { uid: found_uid, pid, wanted_uid: uid, wanted_pid: 0 });
        }
        Ok(stream)
    }

    /// The listener is closed and its name removed, whoever it was: a second connect finds nothing.
    async fn accept(&self, name: &str, listener: UnixListener, peer: Peer) -> Result<UnixStream, PeerError> {
        let (stream, _) = listener.accept().await?;
        drop(listener);
        fs::remove_file(self.path.join(name))?;
        let found = stream.peer_cred()?;
        let (uid, pid) = (found.uid(), found.pid().unwrap_or(0));
        if uid != peer.uid || pid != peer.pid {
            return Err(PeerError::Wrong { uid, pid, wanted_uid: peer.uid, wanted_pid: peer.pid });
        }
        Ok(stream)
    }

    /// Removes the nonce once it was said.
    pub(super) fn forget_nonce(&self) -> io::Result<()> {
        fs::remove_file(self.path.join("nonce"))
    }
}

impl Drop for InstanceDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "An instance directory could not be removed");
        }
    }
}

/// Removes what an earlier process of this service left when it was killed.
pub fn remove_left_over_dirs(run_dir: &Path, instance: &str) -> io::Result<()> {
    let entries = match fs::read_dir(run_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if fs::read_to_string(path.join(OWNER_FILE)).is_ok_and(|owner| owner == instance) {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us() -> Peer {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Peer { uid: rustix::process::geteuid().as_raw(), pid }
    }

    fn make(folder: &Path) -> InstanceDir {
        InstanceDir::make(folder, "ours", SessionId::generate(), us().uid, Network::None).unwrap()
    }

    #[tokio::test]
    async fn the_way_out_is_there_only_with_network_access() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = make(folder.path());
        assert!(dir.take_egress().is_none() && !dir.path().join("egress.sock").exists());
        let id = SessionId::generate();
        let mut dir = InstanceDir::make(folder.path(), "ours", id, us().uid, Network::Proxied).unwrap();
        let mode = fs::metadata(dir.path().join("egress.sock")).unwrap().permissions().mode() & 0o777;
        assert!(dir.take_egress().is_some() && (mode == 0o600 || mode == 0o666), "{mode:o}");
    }

    #[tokio::test]
    async fn a_second_connect_finds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = make(folder.path());
        let socket = dir.path().join("host.sock");
        let client = UnixStream::connect(&socket).await.unwrap();
        dir.accept_host(us()).await.unwrap();
        assert!(UnixStream::connect(&socket).await.is_err());
        assert!(matches!(dir.accept_host(us()).await, Err(PeerError::Taken)));
        drop(client);
    }

    #[tokio::test]
    async fn another_user_or_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for peer in [Peer { uid: us().uid + 1, ..us() }, Peer { pid: us().pid + 1, ..us() }] {
            let mut dir = make(folder.path());
            let _client = UnixStream::connect(dir.path().join("host.sock")).await.unwrap();
            assert!(matches!(dir.accept_host(peer).await, Err(PeerError::Wrong { .. })));
        }
    }

    #[tokio::test]
    async fn folders_vanish_with_their_session_and_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let dir = make(folder.path());
        let path = dir.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o711);
        assert!(dir.is_nonce(&fs::read_to_string(path.join("nonce")).unwrap()));
        assert!(!dir.is_nonce("") && !dir.is_nonce(&"0".repeat(64)));
        drop(dir);
        assert!(!path.exists());

        let (left, foreign) = (folder.path().join("left"), folder.path().join("foreign"));
        for (path, owner) in [(&left, "ours"), (&foreign, "theirs")] {
            fs::create_dir(path).unwrap();
            fs::write(path.join(OWNER_FILE), owner).unwrap();
        }
        remove_left_over_dirs(folder.path(), "ours").unwrap();
        assert!(!left.exists() && foreign.exists());
        remove_left_over_dirs(&folder.path().join("nothing"), "ours").unwrap();
    }
}
