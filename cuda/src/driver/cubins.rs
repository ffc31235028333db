//! Cache of machine code on disk: one file per kernel, chip and driver. Files are written atomically and verified when read; the
//! least recently used ones are removed when all together exceed a limit.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// Limit for the total size of all files, in bytes.
const LIMIT: u64 = 256 << 20;
/// First bytes of a file; a checksum and the machine code follow.
const MAGIC: &[u8; 8] = b"dlbccub1";
const HEAD: usize = MAGIC.len() + 32;

/// Returns the line in which Linux names the build of the driver; empty where nothing does. A newer build of the same version
/// assembles better code.
pub(super) fn driver_build() -> String {
    let text = fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().into()
}

/// A folder of machine code. A cache that cannot be read or written counts as empty, without an error.
pub(super) struct Cubins {
    folder: Option<PathBuf>,
    limit: u64,
}

/// Hashes the concatenation of slices.
fn checksum(slices: &[&[u8]]) -> [u8; 32] {
    let hash = slices.iter().fold(Sha256::new(), |hash, slice| hash.chain_update(slice));
    hash.finalize().into()
}

impl Cubins {
    /// Returns the cache in the user's cache folder (`XDG_CACHE_HOME` or `~/.cache`), or an empty one if the user has no such folder.
    pub(super) fn in_user_cache() -> Cubins {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let folder = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        Cubins { folder: folder.map(|f| f.join("dlbc").join("cubin")), limit: LIMIT }
    }

    /// Opens the kernel's machine code by `open`. If it is not in the cache, or damaged, `assemble` produces it anew.
    pub(super) fn load<T, E>(
        &self,
        target: &str,
        text: &str,
        open: impl Fn(Vec<u8>) -> Result<T, E>,
        assemble: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<T, E> {
        let path = self.path(target, text);
        if let Some(opened) = path.as_deref().and_then(read).and_then(|code| open(code).ok()) {
            return Ok(opened);
        }
        let code = assemble()?;
        if let Some(path) = path {
            self.store(&path, &code);
        }
        open(code)
    }

    fn path(&self, target: &str, text: &str) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        let key = checksum(&[target.as_bytes(), &[0], &checksum(&[text.as_bytes()])]);
        Some(folder.join(key.iter().map(|b| format!("{b:02x}")).collect::<String>()))
    }

    fn store(&self, path: &Path, code: &[u8]) {
        // Processes and threads that write the same kernel use different temporary files; the last rename wins.
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let suffix = format!("{}-{}", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed));
        let partial = path.with_extension(suffix);
        let whole = [MAGIC, &checksum(&[code])[..], code].concat();
        let Some(folder) = path.parent().filter(|_| whole.len() as u64 <= self.limit) else { return };
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&partial, whole));
        if written.and_then(|()| fs::rename(&partial, path)).is_err() {
            let _ = fs::remove_file(&partial);
        }
        self.shrink(folder, path);
    }

    /// Removes the oldest files by last use, down to the limit.
    fn shrink(&self, folder: &Path, newest: &Path) {
        let files = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
            let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path(), meta.len()))
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, path, bytes) in files.iter().filter(|(_, path, _)| path != newest) {
            if total <= self.limit {
                return;
            }
            if fs::remove_file(path).is_ok() {
                total -= bytes;
            }
        }
    }
}

/// Reads the machine code of a file; `None` if the file is missing or damaged.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = fs::read(path).ok()?;
    let code = bytes.get(HEAD..)?;
    if !bytes.starts_with(MAGIC) || bytes[MAGIC.len()..HEAD] != checksum(&[code]) {
        return None;
    }
    // Record the use, for `shrink`.
    let _ = File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    Some(bytes.split_off(HEAD))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    fn cache(name: &str, limit: u64) -> Cubins {
        let folder = std::env::temp_dir().join(format!("dlbc-cubins-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Cubins { folder: Some(folder), limit }
    }

    fn files(cache: &Cubins) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(cache.folder.as_ref().unwrap()).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Loads by a fake driver whose machine code is the text. It counts assemblies and rejects code that is not UTF-8.
    fn load(cache: &Cubins, target: &str, text: &str, assembled: &Cell<usize>) -> Result<String, String> {
        cache.load(
            target,
            text,
            |code| String::from_utf8(code).map_err(|e| e.to_string()),
            || {
                assembled.set(assembled.get() + 1);
                Ok(format!("{target}:{text}").into_bytes())
            },
        )
    }

    #[test]
    fn a_kernel_is_assembled_once_for_a_chip_and_a_driver() {
        let (cache, count) = (cache("once", LIMIT), Cell::new(0));
        for (target, text, expected) in [
            ("sm_80 12000", "a", 1),
            ("sm_80 12000", "a", 1),
            ("sm_90 12000", "a", 2),
            ("sm_80 12010", "a", 3),
            ("sm_80 12000", "b", 4),
            ("sm_90 12000", "a", 4),
        ] {
            assert_eq!(load(&cache, target, text, &count).unwrap(), format!("{target}:{text}"));
            assert_eq!(count.get(), expected, "{target} {text}");
        }
        assert_eq!(files(&cache).len(), 4, "a partial file stays");
        fs::remove_dir_all(cache.folder.unwrap()).unwrap();
    }

    #[test]
    fn a_damaged_file_is_ignored_and_written_again() {
        let (cache, count) = (cache("damaged", LIMIT), Cell::new(0));
        load(&cache, "sm_80", "text", &count).unwrap();
        let path = files(&cache).remove(0);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in
            [vec![], good[..HEAD - 1].to_vec(), good[..good.len() - 1].to_vec(), flipped, b"other".to_vec()]
        {
            let before = count.get();
            fs::write(&path, &bad).unwrap();
            assert_eq!(load(&cache, "sm_80", "text", &count).unwrap(), "sm_80:text");
            assert_eq!((count.get(), fs::read(&path).unwrap()), (before + 1, good.clone()));
        }
        // What the driver refuses is assembled again, too.
        let refused = [MAGIC, &checksum(&[&[0xff]])[..], &[0xff]].concat();
        fs::write(&path, refused).unwrap();
        assert_eq!(load(&cache, "sm_80", "text", &count).unwrap(), "sm_80:text");
        assert_eq!(fs::read(&path).unwrap(), good);
        fs::remove_dir_all(cache.folder.unwrap()).unwrap();
    }

    #[test]
    fn the_oldest_files_by_last_use_go_first() {
        // Three files of HEAD + 7 bytes fit.
        let (cache, count) = (cache("limit", 3 * (HEAD as u64 + 7)), Cell::new(0));
        let step = || std::thread::sleep(Duration::from_millis(20));
        for text in ["a", "b", "c"] {
            load(&cache, "sm_80", text, &count).unwrap();
            step();
        }
        load(&cache, "sm_80", "a", &count).unwrap();
        step();
        load(&cache, "sm_80", "d", &count).unwrap();
        assert_eq!((files(&cache).len(), count.get()), (3, 4));
        for text in ["a", "c", "d"] {
            load(&cache, "sm_80", text, &count).unwrap();
        }
        assert_eq!(count.get(), 4, "one that was used went");
        load(&cache, "sm_80", "b", &count).unwrap();
        assert_eq!(count.get(), 5, "the oldest stayed");
        // Larger than all may be: not kept.
        let small = Cubins { limit: 10, ..Cubins { folder: cache.folder.clone(), limit: 0 } };
        load(&small, "sm_80", "e", &count).unwrap();
        load(&small, "sm_80", "e", &count).unwrap();
        assert_eq!(count.get(), 7);
        fs::remove_dir_all(cache.folder.unwrap()).unwrap();
    }

    #[test]
    fn without_a_folder_everything_is_assembled() {
        let count = Cell::new(0);
        let none = Cubins { folder: None, limit: LIMIT };
        // A file where the folder should be.
        let file = std::env::temp_dir().join(format!("dlbc-cubins-{}-file", std::process::id()));
        fs::write(&file, "").unwrap();
        let blocked = Cubins { folder: Some(file.join("dlbc")), limit: LIMIT };
        for cache in [none, blocked] {
            let before = count.get();
            for _ in 0..2 {
                assert_eq!(load(&cache, "sm_80", "a", &count).unwrap(), "sm_80:a");
            }
            assert_eq!(count.get(), before + 2);
        }
        fs::remove_file(file).unwrap();
    }
}
