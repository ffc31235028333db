#!/usr/bin/env python3
"""Sign agreement with occlusion: does positive relevance speak for what was asked?

    .venv/bin/python scripts/bench/sign_agreement.py [DLBC] [texts] [tables] [digits]

For each sample and target, the two features with the largest relevance by magnitude, under default flags, are taken out one
at a time: a token becomes [PAD], a column its training mean, a pixel 0. The sign of a feature's relevance should be that of
the fall of the explained quantity: the logit of the class, the difference of two logits, the predicted value. Occlusion runs
in ONNX Runtime. Prints a table with a row a model, composite and target: the share of agreements and how many were judged.
A change below 1e-6 of the quantity's range over the samples is not judged.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[2]
# The composites that a bar is set for; the others are reported beside them.
BARS = {"texts": ["attnlrp", "cp-lrp"], "tables": ["lrp-epsilon", "integrated-gradients"], "digits": ["attnlrp", "epsilon-plus"]}
SKIPPED = {"smoothgrad"}
FEATURES = 2
# Operators that a converter writes between the logit and the probabilities.
PASSED = {"Identity", "Cast", "Reshape", "Concat", "Sub", "Normalizer", "Squeeze", "ArrayFeatureExtractor"}

TEXTS = """
A waste of two hours.
It was ok.
Not bad at all.
Loved it.
A wonderful film with a great cast.
The worst movie of the year.
Boring and far too long.
I laughed from start to finish.
The plot makes no sense.
A charming little comedy.
Terrible acting and a stupid story.
Beautiful pictures, empty characters.
One of the best films I have seen.
It never gets going.
Funny, clever and moving.
A dull and lifeless remake.
The ending is a disappointment.
An honest portrait of a hard life.
Too loud, too fast, too stupid.
A gripping thriller.
I want my money back.
The jokes are old and tired.
A powerful performance by the lead.
Nothing happens for an hour.
Sweet without being silly.
A mess from beginning to end.
Smart dialogue and a fine score.
The children will love it.
An insult to the book.
Slow, but worth the wait.
Fresh, original and very funny.
Bland and forgettable.
It has heart and humor.
The director has no idea what to do.
A delight.
Painful to watch.
Good actors in a bad film.
A masterpiece of its kind.
Cheap effects and cheap tears.
Warm, witty and wise.
""".strip().splitlines()


def run(dlbc, model, words, out=None):
    """The summary of a run, as JSON."""
    words = [dlbc, "run", model, "--json", "--quiet", *words] + (["--out", out] if out else [])
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}\n{done.stderr}")
    return json.loads(done.stdout)


def composites(dlbc):
    """All built-in composites that are the same in every run."""
    listed = subprocess.run([dlbc, "rules", "--json"], check=True, capture_output=True, text=True).stdout
    return [c["name"] for c in json.loads(listed) if c["name"] not in SKIPPED]


def logits_of(model):
    """A session of the model, and the tensor before a final Softmax or Sigmoid."""
    proto = onnx.load(model)
    makers = {name: node for node in proto.graph.node for name in node.output}
    names = [o.name for o in proto.graph.output]
    probabilities = next((n for n in names if "prob" in n), names[0])
    found, node = probabilities, makers[probabilities]
    while node is not None:
        inner = next((i for i in node.input if i in makers), None)
        if node.op_type in ("Softmax", "Sigmoid"):
            found = inner
            break
        node = makers.get(inner) if node.op_type in PASSED else None
    if found not in names:
        proto.graph.output.append(onnx.ValueInfoProto(name=found))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, found


def scores(session, name, feed):
    """Logits [row, class]: a single logit z of two classes becomes [-z, z] halves of a difference."""
    return session.run([name], feed)[0].reshape(len(next(iter(feed.values()))), -1).astype(np.float64)


def quantity(logits, target, classes):
    """The explained quantity of each row."""
    if classes == 2 and logits.shape[1] == 1:
        logits = np.concatenate([-logits, logits], axis=1)
    if "-" in target:
        a, b = target.split("-")
        return logits[:, int(a)] - logits[:, int(b)]
    return logits[:, int(target)]


class Tally:
    """Agreements and judged features by row of the table."""

    def __init__(self):
        self.counts = defaultdict(lambda: [0, 0])

    def add(self, key, relevance, change, scale):
        if abs(change) > 1e-6 * scale and relevance != 0:
            self.counts[key][1] += 1
            self.counts[key][0] += int(np.sign(relevance) == np.sign(change))
        elif abs(change) > 1e-6 * scale:
            # A zero says nothing and counts as a miss.
            self.counts[key][1] += 1


def texts(dlbc, tally):
    model = ROOT / "fixtures/sentiment_bert/model.onnx"
    session, name = logits_of(model)
    targets = ["0", "1", "0-1"]
    for rules in composites(dlbc):
        for text in TEXTS:
            found = run(dlbc, model, ["--rules", rules, "--text", text, "--target", ",".join(targets)])
            for one in found["by_target"]:
                tokens = one["tokens"][0]
                ids = np.array([[t["id"] for t in tokens]], dtype=np.int64)
                feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
                before = quantity(scores(session, name, feed), one["target"], 2)[0]
                plain = [i for i, t in enumerate(tokens) if not t["special"]]
                top = sorted(plain, key=lambda i: -abs(tokens[i]["relevance"]))[:FEATURES]
                for i in top:
                    changed = ids.copy()
                    changed[0, i] = 0
                    after = quantity(scores(session, name, {**feed, "input_ids": changed}), one["target"], 2)[0]
                    tally.add(("texts", "sentiment_bert", rules, one["target"]), tokens[i]["relevance"], before - after, 1.0)


def arrays(dlbc, tally, group, title, model, x, targets, fill, classes, rules):
    """A batch of rows with one float input; `targets` has a list of target and rows that it is asked of."""
    session, name = logits_of(model)
    key = session.get_inputs()[0].name
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for label, target, rows in targets:
            np.savez(folder / "in.npz", **{key: x[rows]})
            run(dlbc, model, ["--rules", rules, "--inputs", folder / "in.npz", "--target", target, "--threads", "1"], folder / "out.npz")
            relevance = np.load(folder / "out.npz")[f"relevance/{key}"].reshape(len(rows), -1)
            before = quantity(scores(session, name, {key: x[rows]}), target, classes)
            scale = max(1e-9, np.ptp(before))
            for r, row in enumerate(rows):
                for i in np.argsort(-np.abs(relevance[r]), kind="stable")[:FEATURES]:
                    changed = x[row:row + 1].copy().reshape(1, -1)
                    changed[0, i] = fill[i]
                    after = quantity(scores(session, name, {key: changed.reshape(x[row:row + 1].shape)}), target, classes)[0]
                    tally.add((group, title, rules, label), relevance[r, i], before[r] - after, scale)


def tables(dlbc, tally):
    folder = ROOT / "fixtures/tables"
    for title, classes, targets in [
        ("breast_cancer", 2, ["0", "1", "0-1"]), ("wine", 3, ["0", "1", "2", "0-1"]), ("diabetes", 1, ["0"]),
    ]:
        x = np.loadtxt(folder / f"{title}.csv", delimiter=",", skiprows=1, dtype=np.float32, ndmin=2)
        fill = training_mean(title)
        rows = list(range(len(x)))
        for rules in composites(dlbc):
            arrays(dlbc, tally, "tables", title, folder / f"{title}.onnx", x, [(t, t, rows) for t in targets], fill, classes, rules)


def training_mean(title):
    """The mean that the scaler in the file subtracts."""
    proto = onnx.load(ROOT / f"fixtures/tables/{title}.onnx")
    scaler = next(n for n in proto.graph.node if n.op_type == "Scaler")
    return np.array(next(a.floats for a in scaler.attribute if a.name == "offset"), dtype=np.float32)


def digits(dlbc, tally):
    model = ROOT / "fixtures/digits_cnn/model.onnx"
    x = (load_digits().images[1500:1540] / 16).astype(np.float32)[:, None]
    session, name = logits_of(model)
    order = np.argsort(-scores(session, name, {session.get_inputs()[0].name: x}), axis=1)
    fill = np.zeros(64, dtype=np.float32)
    cases = []
    for label, of in [("best", lambda o: f"{o[0]}"), ("second", lambda o: f"{o[1]}"), ("best - second", lambda o: f"{o[0]}-{o[1]}")]:
        rows = defaultdict(list)
        for r, o in enumerate(order):
            rows[of(o)].append(r)
        cases += [(label, target, own) for target, own in rows.items()]
    for rules in composites(dlbc):
        arrays(dlbc, tally, "digits", "digits_cnn", model, x, cases, fill, 10, rules)


def main():
    words = sys.argv[1:]
    dlbc = Path(words.pop(0)).resolve() if words and words[0] not in BARS else ROOT / "target/debug/dlbc"
    tally = Tally()
    for group in words or BARS:
        globals()[group](dlbc, tally)
    print("| model | composite | target | agreement | judged |\n| --- | --- | --- | ---: | ---: |")
    sums = defaultdict(lambda: [0, 0])
    for (group, model, rules, target), (good, judged) in tally.counts.items():
        print(f"| {model} | `{rules}` | {target} | {good / max(judged, 1):.3f} | {judged} |")
        if rules in BARS[group]:
            for key in [(group, rules), ("all", "with a bar")]:
                sums[key] = [sums[key][0] + good, sums[key][1] + judged]
    print()
    for (group, rules), (good, judged) in sums.items():
        print(f"{group} {rules}: {good / max(judged, 1):.3f} of {judged}")


if __name__ == "__main__":
    main()
