#!/usr/bin/env python3
"""Plays a run with the given binary and checks it with code that is not Tics' own.

    python3 scripts/check_run.py target/release/tics [--trace FILE] [--limit N]

- every prompt that the simulated server received, encoded by Python's `tokenizers`, has exactly the asked length;
- mini-sglang's figures, recomputed here from the exported file, are those of `--definitions minisgl`, and
  `tics report` on the exported file prints the same;
- the report printed later is byte for byte the one printed at the end of the run;
- `examples/offline` prints the p99 TTFT of the summary.

Exits with 1 at the first check that fails.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


def run(*command, **options):
    """Runs a command that must succeed; returns what it printed."""
    print("$", " ".join(str(part) for part in command), flush=True)
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=False, **options)
    if done.returncode != 0:
        sys.stdout.buffer.write(done.stdout)
        sys.exit(f"check_run: exit status {done.returncode} of {command[0]}")
    return done.stdout


def same(what, left, right):
    if left != right:
        sys.exit(f"check_run: {what}: {left!r} is not {right!r}")
    print(f"ok: {what}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tics", type=pathlib.Path)
    parser.add_argument("--trace", type=pathlib.Path, default=ROOT / "traces" / "mooncake.jsonl")
    parser.add_argument("--limit", default="120")
    args = parser.parse_args()
    tics = args.tics.resolve()
    env = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        dump, run_dir = folder / "dump.jsonl", folder / "run"
        sim = f"--slots 256 --prefill-rate 1e8 --decode-step 2ms --dump '{dump}'"
        report = run(tics, "replay", args.trace, "--limit", args.limit, "--scale", "0.1", "--sim", sim,
                     "--run-dir", run_dir, "--quiet", "--no-probe", env=env)
        same("the report again is the report", run(tics, "report", run_dir), report)
        print(run(sys.executable, HERE / "check_prompts.py", dump, "--run", run_dir).decode(), end="", flush=True)
        exported, figures = folder / "minisgl.json", folder / "figures.json"
        run(tics, "export", run_dir, "--format", "minisgl", "-o", exported)
        figures.write_bytes(run(tics, "report", run_dir, "--definitions", "minisgl", "--json"))
        checked = run(sys.executable, HERE / "minisgl_definitions.py", exported, figures)
        print(checked.decode(), end="", flush=True)
        again = json.loads(run(tics, "report", exported, "--json"))
        # The file has no failed requests, so it cannot say how many were left out.
        original = json.loads(figures.read_text())
        same("the exported file gives the same figures", again["ttft_ms"], original["ttft_ms"])
        summary = json.loads((run_dir / "summary.json").read_text())
        offline = run("cargo", "run", "--quiet", "--locked", "--manifest-path",
                      ROOT / "examples" / "offline" / "Cargo.toml", "--", run_dir).decode()
        value = f"{summary['ttft_ms']['p99']:.3f}"
        same("examples/offline prints the p99 TTFT", value in offline, True)


if __name__ == "__main__":
    main()
