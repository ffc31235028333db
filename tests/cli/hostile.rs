//! Hostile files: models and inputs that try to crash, stall or exhaust the program, or to leave something behind.
//!
//! Each ends with a code that its kind allows, a message that names what is wrong, no panic, no file half written,
//! within ten seconds of processor time (a machine may be busy with others) and 4 GiB of address space. The broken models are made by `scripts/fixtures/make_broken.py`, which needs
//! the project's Python; damaged inputs are made here.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const DIGITS: &str = "fixtures/digits_cnn/model.onnx";
const TABLE: &str = "fixtures/tabular_mlp/model.onnx";

/// Processor time that any command may take, all its threads together.
const MAX_SECONDS: f64 = 10.0;
/// When a command is stopped.
const KILL_SECONDS: f64 = 20.0;
/// Both for a model that becomes hundreds of thousands of primitives: a development build, an order of magnitude
/// slower than a release, spends 40 µs on each.
const DEV_SECONDS: f64 = 90.0;
/// Wall time after which a command that does nothing is stopped.
const ASLEEP_SECONDS: f64 = 600.0;
/// Address space in KiB; a small model maps 0.5 GiB of it, mostly for stacks.
const MAX_KIB: u64 = 4 << 20;

/// Left out: a million nodes would take most of the test's time.
const LEFT_OUT: &[&str] = &["long_million_identity"];
/// Given [`DEV_SECONDS`], and only compiled: 50,000 operands, and nothing in them that others do not have.
const LARGE: &[&str] = &["long_concat_50000"];

/// Result of a command under limits.
struct Done {
    /// `None` when a signal ended it.
    code: Option<i32>,
    seconds: f64,
    out: String,
    err: String,
    /// Files in the folder of its outputs.
    left: Vec<String>,
}

/// Runs `dlbc` with `--{flag} FOLDER/result` in an empty folder, with little memory and time.
fn dlbc(words: &[&str], flag: &str) -> Done {
    limited(words, flag, KILL_SECONDS)
}

/// The same, stopped after `kill` seconds.
fn limited(words: &[&str], flag: &str, kill: f64) -> Done {
    let (texts, results) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let text = |name: &str| texts.path().join(name);
    let mut command = if cfg!(unix) {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -v {MAX_KIB}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_dlbc")]);
        shell
    } else {
        Command::new(env!("CARGO_BIN_EXE_dlbc"))
    };
    let start = Instant::now();
    let mut child = command
        .args(words)
        .arg(flag)
        .arg(results.path().join("result.npz"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(File::create(text("out")).unwrap())
        .stderr(File::create(text("err")).unwrap())
        .spawn()
        .unwrap();
    let mut seconds = 0.0;
    let status = loop {
        // A process that has ended keeps its times until it is waited for.
        let (used, ended) = match processor(child.id()) {
            Some(usage) => usage,
            None => (start.elapsed().as_secs_f64(), child.try_wait().unwrap().is_some()),
        };
        seconds = f64::max(seconds, used);
        if ended {
            break child.wait().unwrap();
        }
        if seconds > kill || start.elapsed().as_secs_f64() > ASLEEP_SECONDS {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let read = |name: &str| String::from_utf8_lossy(&fs::read(text(name)).unwrap()).into_owned();
    let left = fs::read_dir(results.path()).unwrap();
    Done {
        code: status.code(),
        seconds,
        out: read("out"),
        err: read("err"),
        left: left.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect(),
    }
}

/// Seconds of processor time that a process has used, and whether it has ended; `None` where the system does not say.
fn processor(id: u32) -> Option<(f64, bool)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may have spaces; after it come the state, ten numbers, and the ticks in user and system mode.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?;
    Some((ticks / 100.0, fields[0] == "Z"))
}

/// Lists the deviations of a command's result from the allowed codes and the names in its message.
fn faults(done: &Done, codes: &[i64], names: &[&str], forbidden: &[&str]) -> Vec<String> {
    let mut faults = vec![];
    let mut check = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };
    check(
        done.code.is_some_and(|c| codes.contains(&i64::from(c))),
        format!("code {:?}, allowed {codes:?}", done.code),
    );
    check(done.seconds < MAX_SECONDS, format!("{:.1} s of processor time", done.seconds));
    let panicked = ["panicked", "internal error", "RUST_BACKTRACE"].iter().any(|p| done.err.contains(p));
    check(!panicked, "a panic".into());
    if done.code == Some(0) {
        check(done.left == ["result.npz"], format!("left {:?}", done.left));
    } else {
        check(done.left.is_empty(), format!("left {:?}", done.left));
        for name in names {
            check(done.err.contains(name), format!("the message does not name `{name}`"));
        }
    }
    for text in forbidden {
        check(!done.out.contains(text) && !done.err.contains(text), format!("prints {:?} as it is", text));
    }
    if !faults.is_empty() {
        faults.push(done.err.trim().chars().take(300).collect());
    }
    faults
}

/// Generates the corpus of broken models in a new folder. Without Python the test is reported as skipped.
fn corpus() -> Option<TempDir> {
    let python = crate::common::python()?;
    let folder = TempDir::new().unwrap();
    let generator = Command::new(python)
        .arg(crate::common::root().join("scripts/fixtures/make_broken.py"))
        .arg(folder.path())
        .arg(crate::common::root().join(DIGITS))
        .output()
        .unwrap();
    assert!(generator.status.success(), "{}", String::from_utf8_lossy(&generator.stderr));
    Some(folder)
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn codes(list: &Value) -> Vec<i64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
}

/// Compiles and, when that succeeds, runs a model of the corpus; returns what deviates.
fn check_model(folder: &Path, name: &str, case: &Value) -> Vec<String> {
    let path = |key: &str| case[key].as_str().map(|f| folder.join(f).to_string_lossy().into_owned());
    let model = path("file").unwrap();
    let (names, forbidden) = (texts(&case["names"]), texts(&case["forbid"]));
    let expected = codes(&case["expect"]);
    let compiling = case.get("compile").map_or_else(|| expected.clone(), codes);
    let large = LARGE.contains(&name) && cfg!(debug_assertions);
    let mut compiled = limited(&["compile", &model], "-o", if large { DEV_SECONDS } else { KILL_SECONDS });
    if large {
        compiled.seconds *= MAX_SECONDS / DEV_SECONDS;
    }
    let mut deviations = faults(&compiled, &compiling, &names, &forbidden);
    if compiled.code == Some(0) && !large {
        let inputs = path("inputs").unwrap_or_else(|| "fixtures/digits_cnn/input.npz".into());
        let ran = dlbc(&["run", &model, "--inputs", &inputs], "--out");
        deviations
            .extend(faults(&ran, &expected, &names, &forbidden).into_iter().map(|f| format!("run: {f}")));
    }
    deviations
}

#[test]
fn broken_models_end_as_the_manifest_allows() {
    let Some(folder) = corpus() else { return };
    let manifest = fs::read_to_string(folder.path().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let cases: Vec<(&String, &Value)> =
        manifest.as_object().unwrap().iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())).collect();
    assert!(cases.len() > 500, "{} cases", cases.len());
    let (next, deviations) = (AtomicUsize::new(0), Mutex::new(vec![]));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let faults = check_model(folder.path(), name, case);
                    if !faults.is_empty() {
                        deviations.lock().unwrap().push(format!("{name}: {}", faults.join("; ")));
                    }
                }
            });
        }
    });
    let mut deviations = deviations.into_inner().unwrap();
    deviations.sort();
    assert!(deviations.is_empty(), "{} of {}:\n{}", deviations.len(), cases.len(), deviations.join("\n"));
}

/// An .npy file of any header.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn floats(shape: &str, values: &[f32]) -> Vec<u8> {
    npy("'<f4'", shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

/// An archive of entries.
fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for (name, bytes) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A damaged input: what runs, with which option naming the file, and what must come of it.
struct Input {
    name: &'static str,
    model: &'static str,
    option: &'static str,
    bytes: Vec<u8>,
    more: &'static [&'static str],
    code: i64,
    /// Words that the message must contain.
    names: &'static [&'static str],
}

impl Input {
    /// For the model of digits, whose input is `input` f32[batch,1,8,8].
    fn digits(
        name: &'static str,
        option: &'static str,
        bytes: Vec<u8>,
        code: i64,
        names: &'static [&'static str],
    ) -> Input {
        Input { name, model: DIGITS, option, bytes, more: &[], code, names }
    }
}

fn check_inputs(inputs: Vec<Input>) {
    let folder = TempDir::new().unwrap();
    let mut deviations = vec![];
    for input in &inputs {
        let file: PathBuf = folder.path().join(input.name);
        fs::write(&file, &input.bytes).unwrap();
        let file = file.to_string_lossy();
        let pair = if input.option == "--input" { format!("input={file}") } else { file.into_owned() };
        let words = [&["run", input.model, input.option, &pair], input.more].concat();
        let faults_of_input =
            faults(&dlbc(&words, "--out"), &[input.code], input.names, &["\u{1b}", "\u{202e}"]);
        if !faults_of_input.is_empty() {
            deviations.push(format!("{}: {}", input.name, faults_of_input.join("; ")));
        }
    }
    assert!(deviations.is_empty(), "{}", deviations.join("\n"));
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let image = vec![0.5; 64];
    let nan = [&[f32::NAN][..], &image[1..]].concat();
    let infinite = [&[0.0, f32::NEG_INFINITY][..], &image[2..]].concat();
    let case = |name, bytes, code, names| Input::digits(name, "--input", bytes, code, names);
    check_inputs(vec![
        case("rank.npy", floats("(64,)", &image), 3, &["`input`", "f32[batch,1,8,8]", "f32[64]"]),
        case("shape.npy", floats("(1, 1, 4, 16)", &image), 3, &["`input`", "f32[1,1,4,16]"]),
        case("scalar.npy", floats("()", &[1.0]), 3, &["`input`"]),
        case("short.npy", floats("(1, 1, 8, 8)", &image[1..]), 3, &["short.npy", "ends early"]),
        case("long.npy", floats("(1, 1, 4, 8)", &image), 3, &["long.npy", "more data"]),
        case("object.npy", npy("'|O'", "(1, 1, 8, 8)", &[0x80; 512]), 3, &["object.npy"]),
        case("text.npy", npy("'<U4'", "(1, 1, 8, 8)", &[0; 1024]), 4, &["text.npy"]),
        case("record.npy", npy("[('a', '<f4')]", "(1, 1, 8, 8)", &[0; 256]), 3, &["record.npy"]),
        case("complex.npy", npy("'<c8'", "(1, 1, 8, 8)", &[0; 512]), 4, &["complex.npy"]),
        case("negative.npy", floats("(-1, 1, 8, 8)", &image), 3, &["negative.npy"]),
        case("huge.npy", floats("(1152921504606846976,)", &[]), 7, &["huge.npy", "--max-tensor-bytes"]),
        case("overflow.npy", floats("(4294967296, 4294967296, 4294967296)", &[]), 7, &["overflow.npy"]),
        case("names.npy", npy("'\u{1b}[2J\u{202e}'", "(1,)", &[]), 4, &["names.npy"]),
        case("nothing.npy", vec![], 3, &["nothing.npy"]),
        case("nan.npy", floats("(1, 1, 8, 8)", &nan), 3, &["`input`", "at index [0, 0, 0, 0]"]),
        case("infinite.npy", floats("(1, 1, 8, 8)", &infinite), 3, &["`input`", "[0, 0, 0, 1]"]),
        case("doubles.npy", npy("'<f8'", "(1, 1, 8, 8)", &[0; 512]), 0, &[]),
    ]);
}

#[test]
fn an_empty_batch_is_refused_or_explained() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("empty.npy");
    fs::write(&file, floats("(0, 1, 8, 8)", &[])).unwrap();
    let done = dlbc(&["run", DIGITS, "--input", &format!("input={}", file.display())], "--out");
    let deviations = faults(&done, &[0, 3], &["`input`"], &[]);
    assert!(deviations.is_empty(), "{}", deviations.join("; "));
}

#[test]
fn archives_that_are_damaged_or_do_not_fit_are_refused() {
    let image = floats("(1, 1, 8, 8)", &[0.5; 64]);
    let good = zipped(&[("input.npy", &image)]);
    let bomb = {
        let mut bytes = image.clone();
        bytes.resize(256 << 20, 0);
        zipped(&[("input.npy", &bytes)])
    };
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let large = {
        let zeros = npy("'<f4'", "(1048576, 1, 8, 8)", &vec![0; 256 << 20]);
        zipped(&[("input.npy", &zeros)])
    };
    let mut flipped = good.clone();
    // Inside of the packed data: behind the local header, before the directory.
    for byte in &mut flipped[60..70] {
        *byte ^= 0xa5;
    }
    let case = |name, bytes, code, names| Input::digits(name, "--inputs", bytes, code, names);
    let mut cases = vec![
        case("good.npz", good.clone(), 0, &[]),
        case("other.npz", zipped(&[("pixels.npy", &image)]), 2, &["missing input `input`", "`pixels`"]),
        case("none.npz", zipped(&[]), 2, &["missing input `input`"]),
        case(
            "object.npz",
            zipped(&[("input.npy", &npy("'|O'", "(1,)", &[0x80; 64]))]),
            3,
            &["object.npz", "`input`"],
        ),
        case(
            "huge.npz",
            zipped(&[("input.npy", &floats("(1152921504606846976,)", &[]))]),
            7,
            &["huge.npz", "`input`"],
        ),
        case("bomb.npz", bomb, 3, &["bomb.npz", "`input`", "more data"]),
        case("path.npz", zipped(&[("../../input.npy", &image)]), 2, &["missing input `input`"]),
        case("escape.npz", zipped(&[("\u{1b}[2J\u{202e}.npy", &image)]), 2, &["missing input `input`"]),
        case("flipped.npz", flipped, 3, &["flipped.npz"]),
        case("empty.npz", vec![], 3, &["empty.npz"]),
        Input {
            more: &["--max-tensor-bytes", "1048576"],
            ..case("large.npz", large, 7, &["large.npz", "`input`", "--max-tensor-bytes"])
        },
    ];
    for (name, end) in [("cut1.npz", 1), ("cut2.npz", 30), ("cut3.npz", good.len() - 50)] {
        cases.push(case(name, good[..good.len() - end].to_vec(), 3, &["damaged or incomplete"]));
    }
    check_inputs(cases);
}

#[test]
fn files_that_are_not_pictures_or_tables_are_refused() {
    let mut huge = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    huge.extend([0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 8, 6, 0, 0, 0]);
    // The checksum of the header, computed as the format asks.
    huge.extend(crc(&huge[12..]).to_be_bytes());
    huge.extend(b"\0\0\0\x01IDAT\x78");
    huge.extend(crc(b"IDAT\x78").to_be_bytes());
    let png = fs::read(crate::common::root().join("fixtures/digits_cnn/digit.png")).unwrap();
    let rows = fs::read_to_string(crate::common::root().join("fixtures/tabular_mlp/rows.csv")).unwrap();
    let header = rows.lines().next().unwrap();
    let row = rows.lines().nth(1).unwrap();
    let table = |text: String| text.into_bytes();
    let csv = |name, bytes, names| Input { model: TABLE, ..Input::digits(name, "--csv", bytes, 3, names) };
    let picture = |name, bytes, code, names| Input::digits(name, "--image", bytes, code, names);
    check_inputs(vec![
        picture("text.png", b"not a picture".to_vec(), 3, &["text.png"]),
        picture("empty.png", vec![], 3, &["empty.png"]),
        picture("cut.png", png[..png.len() / 2].to_vec(), 3, &["cut.png"]),
        picture("huge.png", huge, 7, &["huge.png"]),
        csv("ragged.csv", table(format!("{header}\n{row},1\n")), &["ragged.csv", "row 0"]),
        csv("narrow.csv", table(format!("{header}\n1,2\n")), &["narrow.csv", "row 0"]),
        csv(
            "words.csv",
            table(format!("{header}\n{}\n", row.replace("13.68", "many"))),
            &["words.csv", "`many`"],
        ),
        csv(
            "escape.csv",
            table(format!("{header}\n{}\n", row.replace("13.68", "\u{1b}[2J"))),
            &["escape.csv"],
        ),
        csv("bytes.csv", [header.as_bytes(), b"\n\xff\xfe\n"].concat(), &["bytes.csv"]),
        csv("blank.csv", vec![], &["blank.csv"]),
        csv("rowless.csv", table(format!("{header}\n")), &["rowless.csv", "expected a row below the header"]),
    ]);
}

/// CRC-32 as PNG defines it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}
