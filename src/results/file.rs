//! Atomic writing of files.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Out;

use crate::error::{Error, Result, ResultExt};

/// Temporary files that are being written, to be removed when the program is interrupted.
static PENDING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the temporary files that are being written.
pub fn discard_pending() {
    for path in PENDING.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        let _ = fs::remove_file(path);
    }
}

/// Checks that a file can be written to a path, before any work is done for it.
///
/// # Errors
/// For a missing folder, and for a path that exists and is not a regular file.
pub fn check(path: &Path) -> Result<()> {
    let folder = folder(path);
    if !folder.is_dir() {
        return Err(Error::usage(format!(
            "cannot write `{}`: the folder `{}` does not exist",
            path.display(),
            folder.display()
        )));
    }
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            Err(Error::usage(format!("cannot write `{}`: expected a regular file", path.display())))
        }
        _ if path.file_name().is_none() => {
            Err(Error::usage(format!("cannot write `{}`: expected the name of a file", path.display())))
        }
        _ => Ok(()),
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file atomically: into a temporary file beside it, which is renamed when it is complete.
///
/// # Errors
/// Errors of `fill`, and when the file cannot be written. An existing file then stays as it was.
pub fn write(path: &Path, fill: impl FnOnce(Out) -> Result<()>) -> Result<()> {
    check(path)?;
    let doing = || format!("cannot write `{}`", path.display());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".dlbc-").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder(path)).with_context(doing)?;
    let pending = file.path().to_path_buf();
    PENDING.lock().unwrap_or_else(PoisonError::into_inner).push(pending.clone());
    let mut out = BufWriter::new(file);
    fill(&mut out).with_context(doing)?;
    out.flush().with_context(doing)?;
    let file = out.into_inner().map_err(|e| e.into_error()).with_context(doing)?;
    File::sync_data(file.as_file()).with_context(doing)?;
    file.persist(path).map_err(|e| e.error).with_context(doing)?;
    PENDING.lock().unwrap_or_else(PoisonError::into_inner).retain(|p| *p != pending);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.bin");
        fs::write(&path, "before").unwrap();
        let failed = write(&path, |out| {
            out.write_all(b"half")?;
            Err(Error::io("no more"))
        });
        assert_eq!(failed.unwrap_err().describe(), format!("cannot write `{}`: no more", path.display()));
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&path, |out| Ok(out.write_all(b"whole")?)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn places_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check(&folder.path().join("missing/out.npz")).is_err());
        assert!(check(folder.path()).is_err());
        assert!(check(&folder.path().join("new.npz")).is_ok());
        assert!(check("new.npz".as_ref()).is_ok());
    }
}
