//! `--device cuda` on machines whose driver or device fails: the exit code and the message, by a driver that fails on purpose.

use std::path::{Path, PathBuf};
use std::process::Command;

const DIGITS: &str = "fixtures/digits_cnn/model.onnx";

/// Builds the driver into a folder.
fn driver(folder: &Path, flags: &[&str]) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/libcuda.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let built = Command::new(rustc)
        .args(["--edition", "2021", "--crate-type", "cdylib", "--crate-name", "cuda", "-C", "opt-level=1"])
        .args(flags)
        .arg("-o")
        .arg(folder.join("libcuda.so.1"))
        .arg(source)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.to_path_buf()
}

struct Machine<'a> {
    home: &'a Path,
    library: Option<&'a Path>,
    fault: &'a str,
}

impl Machine<'_> {
    /// Exit code and standard error; nothing may be written when it fails.
    fn run(&self, device: &str, inputs: &Path) -> (i32, String) {
        let out = self.home.join("out.npz");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dlbc"));
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["run", DIGITS, "--device", device, "--inputs"])
            .arg(inputs)
            .arg("--out")
            .arg(&out)
            .env("FAKE_CUDA", self.fault)
            .env("XDG_CACHE_HOME", self.home.join(format!("cache-{}", self.fault)));
        match self.library {
            Some(library) => command.env("LD_LIBRARY_PATH", library),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
        let done = command.output().unwrap();
        let code = done.status.code().unwrap();
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!text.contains("panicked"), "{text}");
        assert_eq!(out.exists(), code == 0, "{code}: {text}");
        let _ = std::fs::remove_file(&out);
        (code, text)
    }
}

#[test]
#[cfg(target_os = "linux")]
fn drivers_and_devices_that_fail_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let whole = driver(&home.join("whole"), &[]);
    let lacking = driver(&home.join("lacking"), &["--cfg", "lacking"]);
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits_cnn/input.npz");
    let whole = Some(whole.as_path());
    let mut count = 0;
    for (library, fault, device, code, message) in [
        (whole, "old", "cuda", 5, "the driver supports CUDA 11.4, 12.0 is needed"),
        (whole, "no-device", "cuda", 5, "no CUDA device"),
        (whole, "", "cuda:3", 5, "device 3 is not among 1"),
        (whole, "chip", "cuda", 5, "the GPU is an sm_75, sm_80 is needed"),
        (Some(lacking.as_path()), "", "cuda", 5, "no CUDA device"),
        (whole, "memory", "cuda", 5, "out of device memory"),
        (whole, "small", "cuda", 5, "bytes needed, "),
        (whole, "lost", "cuda", 5, "the device was lost"),
        // The assembler's refusal is a bug of ours, with its log.
        (whole, "ptx", "cuda", 1, "line 12: unknown instruction"),
        // `auto` runs on the CPU and says nothing of GPUs.
        (whole, "", "auto", 0, ""),
        (whole, "old", "auto", 0, ""),
        (whole, "no-device", "auto", 0, ""),
    ] {
        let (exit_code, text) = Machine { home, library, fault }.run(device, &inputs);
        assert_eq!(exit_code, code, "{fault} on {device}: {text}");
        assert!(text.contains(message), "{fault} on {device}: {text}");
        assert!(!message.is_empty() || !text.contains("processor"), "{fault} on {device}: {text}");
        count += 1;
    }
    let (code, text) = Machine { home, library: None, fault: "" }.run("cuda", &inputs);
    // A machine that has a driver of its own has one.
    if text.contains("the driver's library") {
        assert_eq!(code, 5, "{text}");
        count += 1;
    }
    println!("{count} machines: exit code and message");
}

#[test]
#[cfg(target_os = "linux")]
fn an_input_that_is_not_finite_is_refused_before_the_device_runs() {
    let folder = tempfile::tempdir().unwrap();
    let whole = driver(&folder.path().join("whole"), &[]);
    let mut pixels = vec![0.5f32; 64];
    pixels[9] = f32::NAN;
    let array = ndarray::ArrayD::from_shape_vec(vec![1, 1, 8, 8], pixels).unwrap();
    let path = folder.path().join("nan.npz");
    let mut file = ndarray_npy::NpzWriter::new(std::fs::File::create(&path).unwrap());
    file.add_array("input", &array).unwrap();
    file.finish().unwrap();
    let machine = Machine { home: folder.path(), library: Some(&whole), fault: "lost" };
    let (code, text) = machine.run("cuda", &path);
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("input `input` at index [0, 0, 1, 1]: expected a finite number, found NaN"),
        "{text}"
    );
}
