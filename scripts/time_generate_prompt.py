#!/usr/bin/env python3
"""Times the usual way to make a prompt of a given length beside tics' construction.

    scripts/time_generate_prompt.py [tokenizer.json …] [--lengths 512,12000] [--seconds 5]

The usual way: draw token ids, decode them, encode the text again, cut or extend until the length is
right. It is written out here with the `tokenizers` package from PyPI; `transformers` wraps the same
package, and takes longer. Tics' side is its example `check_tokenizer --json`, built in release mode:
text drawn for a request, and text joined from prefix blocks that it has not made before.

Both run on one core. Prints a table; the ratio is tokens a second of construction over those of the
usual way. Exit status: 0, or 2 when an input cannot be read or tics not be built.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from check_prompts import EMBEDDED, fail, load
from venv import ensure

ROOT = Path(__file__).resolve().parent.parent
# Encodings of one prompt before it is given up.
ATTEMPTS = 64


def generate(tokenizer, n_vocabulary, n, draw):
    """A text of n tokens, and how often it was encoded; None for the text when it was not reached."""
    ids = [draw.randrange(n_vocabulary) for _ in range(n)]
    for attempt in range(1, ATTEMPTS + 1):
        text = tokenizer.decode(ids)
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) == n:
            return text, attempt
        ids = ids[:n] + [draw.randrange(n_vocabulary) for _ in range(n - len(ids))]
    return None, ATTEMPTS


def time_usual(tokenizer, n, seconds):
    """Tokens a second over whole prompts, encodings a prompt, and the share that was not reached."""
    draw, n_vocabulary = random.Random(1), tokenizer.get_vocab_size(with_added_tokens=False)
    prompts = encodings = missed = 0
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        text, attempts = generate(tokenizer, n_vocabulary, n, draw)
        prompts += 1
        encodings += attempts
        missed += text is None
    return (prompts - missed) * n / spent, encodings / prompts, missed / prompts


def time_construction(paths):
    """What the example says of the embedded tokenizer and of each given one, in this order."""
    command = ["cargo", "run", "--quiet", "--release", "-p", "tics-prompt", "--example", "check_tokenizer", "--"]
    try:
        done = subprocess.run([*command, "--json", *paths], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        fail(f"cargo: {error.strerror}; a Rust toolchain builds tics")
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0:
        fail(f"`{' '.join(command)}` failed with status {done.returncode}")
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizers", nargs="*", help="tokenizer.json (default: the embedded one)")
    parser.add_argument("--lengths", default="512,12000", help="of 16, 512, 12000 (default: 512,12000)")
    parser.add_argument("--seconds", type=float, default=5, help="for the usual way, each length (default: 5)")
    args = parser.parse_args()
    try:
        lengths = [int(length) for length in args.lengths.split(",")]
    except ValueError:
        parser.error("--lengths takes numbers with commas between")
    # Read at the package's start: both sides are to have one core.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Its own requirements serve downloads, which are not wanted here.
    ensure(["tokenizers==0.22.2"], dependencies=False)

    paths = [str(Path(path).resolve()) for path in args.tokenizers]
    findings = time_construction(paths)[1:] if paths else time_construction([])
    print(f"{'tokenizer':<24} {'tokens':>6} {'usual way':>12} {'encodings':>9} {'missed':>6} {'construction':>12} {'ratio':>7}")
    print(f"{'':<24} {'':>6} {'tokens/s':>12} {'a prompt':>9} {'':>6} {'tokens/s':>12}")
    for path, finding in zip(paths or [EMBEDDED], findings):
        tokenizer = load(path)
        for n in lengths:
            speeds = [speed for speed in finding["speeds"] if speed["n_tokens"] == n]
            if not speeds:
                parser.error(f"--lengths: {n} is not measured on the other side")
            usual, encodings, missed = time_usual(tokenizer, n, args.seconds)
            for speed in speeds:
                ratio = f"{speed['tokens_per_s'] / usual:7.0f}" if usual else "      –"
                print(
                    f"{Path(path).name[:24]:<24} {n:>6} {usual:>12,.0f} {encodings:>9.1f} {missed:>6.0%} "
                    f"{speed['tokens_per_s']:>12,.0f} {ratio}  {speed['what']}"
                )


if __name__ == "__main__":
    main()
