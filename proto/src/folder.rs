//! Folder of a model, and the files with external data in it.
//!
//! Files are opened relative to a handle of the folder, and components of their path must not be links. Each file is
//! memory-mapped once and stays mapped as long as a tensor uses it.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, CWD, FileType, Mode, OFlags},
    io::Errno,
};
use sha1::{Digest, Sha1};

use crate::LocationFault;

/// Flags for opening files: read-only, without waiting for the other end of a pipe.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Folder of a model.
pub(crate) struct Folder {
    handle: OwnedFd,
    allow_links: bool,
    /// Total size in bytes of the open files, and the files by their path.
    files: Mutex<(u64, BTreeMap<PathBuf, Arc<Mapped>>)>,
    max_bytes: u64,
}

/// Memory-mapped file.
pub(crate) struct Mapped {
    pub(crate) bytes: Bytes,
    sha1: OnceLock<String>,
}

impl Mapped {
    /// Returns the SHA-1 sum of the file as lower-case hexadecimal digits.
    pub(crate) fn sha1(&self) -> &str {
        self.sha1.get_or_init(|| hex(&Sha1::digest(&self.bytes)))
    }
}

/// Reason that a file could not be opened.
pub(crate) enum OpenFault {
    Location(LocationFault),
    Io(io::Error),
}

impl From<Errno> for OpenFault {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::LOOP | Errno::XDEV => OpenFault::Location(LocationFault::Link),
            errno => OpenFault::Io(errno.into()),
        }
    }
}

impl Folder {
    /// Opens the folder at `path`. Files in it may take `max_bytes` bytes in total, of which `used` are taken.
    pub(crate) fn open(path: &Path, allow_links: bool, used: u64, max_bytes: u64) -> io::Result<Folder> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
        let handle = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Folder { handle, allow_links, files: Mutex::new((used, BTreeMap::new())), max_bytes })
    }

    /// Maps the file at `path`, a path of plain components relative to the folder.
    pub(crate) fn map(&self, path: &Path) -> Result<Arc<Mapped>, OpenFault> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let (used, files) = &mut *files;
        if let Some(mapped) = files.get(path) {
            return Ok(Arc::clone(mapped));
        }
        let file = if self.allow_links {
            rustix::fs::openat(&self.handle, path, READ, Mode::empty())?
        } else {
            open_beneath(&self.handle, path)?
        };
        let stat = rustix::fs::fstat(&file)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(OpenFault::Location(LocationFault::NotAFile));
        }
        #[allow(clippy::useless_conversion)] // the width of the field differs between systems
        let links = u64::from(stat.st_nlink);
        if links > 1 && !self.allow_links {
            return Err(OpenFault::Location(LocationFault::HardLink { links }));
        }
        let file_bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        let total = used.saturating_add(file_bytes);
        if total > self.max_bytes {
            return Err(OpenFault::Location(LocationFault::TooLarge {
                actual: total,
                limit: self.max_bytes,
            }));
        }
        let bytes = map(&File::from(file), file_bytes).map_err(OpenFault::Io)?;
        *used = total;
        let mapped = Arc::new(Mapped { bytes, sha1: OnceLock::new() });
        files.insert(path.to_owned(), Arc::clone(&mapped));
        Ok(mapped)
    }
}

/// Opens a model file for reading; links are followed. Returns the file, its type and its size in bytes.
pub(crate) fn open_model(path: &Path) -> io::Result<(File, FileType, u64)> {
    let file = rustix::fs::openat(CWD, path, READ, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    let file_bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    Ok((File::from(file), FileType::from_raw_mode(stat.st_mode), file_bytes))
}

/// Maps the first `length` bytes of a file.
#[allow(unsafe_code)]
pub(crate) fn map(file: &File, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    if length == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is private and only read. Nothing of dlbc writes to an existing file: outputs are
    // renamed into place. Another program that cuts the file while it is read ends this process with a
    // bus error; it cannot reach other memory.
    let map = unsafe { memmap2::MmapOptions::new().len(length).map(file)? };
    Ok(Bytes::from_owner(map))
}

/// Returns bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(target_os = "linux")]
fn open_beneath(folder: &OwnedFd, path: &Path) -> Result<OwnedFd, OpenFault> {
    use rustix::fs::{ResolveFlags, openat2};

    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(folder, path, READ, Mode::empty(), resolve) {
        // Old kernels and some sandboxes do not have the call.
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => open_by_component(folder, path),
        opened => Ok(opened?),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(folder: &OwnedFd, path: &Path) -> Result<OwnedFd, OpenFault> {
    open_by_component(folder, path)
}

/// Opens each component of a path in the one before it. Fails if a component is a link.
fn open_by_component(folder: &OwnedFd, path: &Path) -> Result<OwnedFd, OpenFault> {
    let mut parent: Option<OwnedFd> = None;
    let mut components = path.components().peekable();
    while let Some(Component::Normal(name)) = components.next() {
        let within = parent.as_ref().unwrap_or(folder).as_fd();
        let is_last = components.peek().is_none();
        let kind = if is_last { OFlags::empty() } else { OFlags::DIRECTORY };
        let opened = match rustix::fs::openat(within, name, READ | OFlags::NOFOLLOW | kind, Mode::empty()) {
            // A link in place of a folder is reported as not being a folder.
            Err(Errno::NOTDIR) if is_link(within, name) => return Err(Errno::LOOP.into()),
            opened => opened?,
        };
        if is_last {
            return Ok(opened);
        }
        parent = Some(opened);
    }
    Err(OpenFault::Location(LocationFault::Path { problem: "`..` or an absolute path" }))
}

fn is_link(folder: impl AsFd, name: &std::ffi::OsStr) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// Both functions that open a path refuse the same paths for the same reason.
    #[test]
    fn the_fallback_refuses_the_same_paths() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir_all(inner.join("deep/deeper")).unwrap();
        fs::write(folder.path().join("secret"), b"secret").unwrap();
        fs::write(inner.join("deep/deeper/w"), b"w").unwrap();
        symlink("../secret", inner.join("link")).unwrap();
        symlink("..", inner.join("up")).unwrap();
        symlink("deeper", inner.join("deep/same")).unwrap();
        symlink("/proc/self/root", inner.join("magic")).unwrap();
        let handle =
            rustix::fs::openat(CWD, &inner, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for (path, expected) in [
            ("deep/deeper/w", "opened"),
            ("link", "link"),
            ("up/secret", "link"),
            ("deep/same/w", "link"),
            ("magic/etc/passwd", "link"),
            ("missing", "io"),
            ("deep/missing/w", "io"),
            ("deep/deeper/w/x", "io"),
        ] {
            for open in [open_beneath, open_by_component] {
                let actual = match open(&handle, Path::new(path)) {
                    Ok(_) => "opened",
                    Err(OpenFault::Location(LocationFault::Link)) => "link",
                    Err(OpenFault::Location(_)) => "other",
                    Err(OpenFault::Io(_)) => "io",
                };
                assert_eq!(actual, expected, "{path}");
            }
        }
        for path in ["..", "../secret", "/etc/passwd", ""] {
            assert!(open_by_component(&handle, Path::new(path)).is_err(), "{path}");
        }
    }
}
