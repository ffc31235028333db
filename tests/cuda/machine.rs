//! Machines whose CUDA driver is the fake one: for this program, which runs one of its tests again, and for `dlbc`.

use std::path::{Path, PathBuf};
use std::process::Command;

use dlbc_fakedriver::install;
use tempfile::TempDir;

/// Variable that is set where this program runs a test again.
const INSIDE: &str = "DLBC_TEST_INSIDE";

/// A folder with the driver and a home of its own.
pub struct Machine {
    folder: TempDir,
    driver: bool,
    variables: Vec<(String, String)>,
}

impl Machine {
    /// A machine with the driver, which behaves as `FAKE_CUDA` says.
    pub fn new(faults: &str) -> Machine {
        Machine::lacking(faults, None)
    }

    /// A machine whose driver lacks a function.
    pub fn lacking(faults: &str, function: Option<&str>) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        install(&folder.path().join("driver"), function).unwrap();
        Machine { folder, driver: true, variables: vec![] }.with("FAKE_CUDA", faults)
    }

    /// A machine without a driver, unless one is installed.
    pub fn without_driver() -> Machine {
        Machine { folder: tempfile::tempdir().unwrap(), driver: false, variables: vec![] }
    }

    /// Sets a variable of the environment.
    pub fn with(mut self, name: &str, value: &str) -> Machine {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn on_it(&self, program: impl Into<PathBuf>) -> Command {
        let mut command = Command::new(program.into());
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("DLBC_CUDA_SYNC")
            .env_remove("DLBC_CUDA_TIMEOUT")
            .env_remove("FAKE_CUDA")
            .env("XDG_CACHE_HOME", self.folder().join("cache"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        match self.driver {
            true => command.env("LD_LIBRARY_PATH", self.folder().join("driver")),
            false => command.env_remove("LD_LIBRARY_PATH"),
        };
        command
    }

    /// Runs `dlbc run` on a model and an archive of inputs. Returns the exit code and standard error; nothing may be written when
    /// it fails.
    pub fn explain(&self, device: &str, model: &str, inputs: &Path) -> (i32, String) {
        let out = self.folder().join("out.npz");
        let mut command = self.on_it(env!("CARGO_BIN_EXE_dlbc"));
        command.args(["run", model, "--device", device, "--inputs"]).arg(inputs).arg("--out").arg(&out);
        let done = command.output().unwrap();
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        let code = done.status.code().unwrap_or_else(|| panic!("{}: {text}", done.status));
        assert!(!text.contains("panicked"), "{text}");
        assert_eq!(out.exists(), code == 0, "{code}: {text}");
        let _ = std::fs::remove_file(&out);
        (code, text)
    }

    /// Returns whether this is the process that [`Machine::run`] started.
    pub fn inside() -> bool {
        std::env::var_os(INSIDE).is_some()
    }

    /// Runs `check` there: in a process of its own, which runs the test of this name again. Returns what that printed behind `# `.
    pub fn run(&self, test: &str, check: impl FnOnce()) -> Vec<String> {
        if Machine::inside() {
            check();
            return vec![];
        }
        let mut command = self.on_it(std::env::current_exe().unwrap());
        let done = command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().unwrap();
        let text = [done.stdout, done.stderr].map(|t| String::from_utf8_lossy(&t).into_owned()).concat();
        assert!(done.status.success() && text.contains("1 passed"), "{test}, {}: {text}", done.status);
        let lines: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("# ").map(String::from)).collect();
        lines.iter().for_each(|line| println!("{line}"));
        lines
    }
}
