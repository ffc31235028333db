"""Results as lines of JSON, each on the disk before the next measurement begins.

A line has a step and a name. `begun` marks a measurement under way, so that one that takes the process down can be named.
A run that finds a file goes on where it ended: measurements with a result are not repeated.
"""
import json
import os
import time
from pathlib import Path


class Store:
    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.mend()

    def mend(self) -> None:
        """Ends a line that a killed process left open; readers skip what is not JSON."""
        if self.path.exists() and self.path.stat().st_size:
            with open(self.path, "rb+") as file:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")

    def add(self, step: str, name: str, **fields) -> None:
        line = json.dumps({"step": step, "name": name, "time": round(time.time(), 3), **fields}) + "\n"
        # One write to a file opened for appending: lines of several processes do not mix.
        with open(self.path, "ab", buffering=0) as file:
            file.write(line.encode())
            os.fsync(file.fileno())

    def lines(self) -> list:
        if not self.path.exists():
            return []
        lines = []
        for line in self.path.read_bytes().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return lines

    def retry(self) -> None:
        """Lets what was wrong so far be measured again."""
        self.add("retry", "all")

    def results(self, step: str) -> dict:
        """The last result of each measurement of a step, by name."""
        results: dict = {}
        for line in self.lines():
            if line["step"] == "retry":
                results = {name: result for name, result in results.items() if result.get("ok") is not False}
            elif line["step"] == step and not line.get("begun"):
                results[line["name"]] = line
        return results

    def begun(self, step: str) -> list:
        """Measurements of a step that began and have no result, the latest last."""
        names = {}
        for line in self.lines():
            if line["step"] == step:
                names.pop(line["name"], None)
                if line.get("begun"):
                    names[line["name"]] = True
        return list(names)

    def finished(self, step: str) -> bool:
        return step in self.results("steps")
