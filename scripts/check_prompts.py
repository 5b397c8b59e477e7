#!/usr/bin/env python3
"""Checks that every prompt a server received has exactly the length that was asked for.

    scripts/check_prompts.py DUMP --run RUN_DIRECTORY [--tokenizer tokenizer.json]
    scripts/check_prompts.py DUMP --lengths TRACE.jsonl [--tokenizer tokenizer.json]

DUMP is what the simulated server wrote of the bodies it received, one JSON object a line:
`{"id": "<run>-<i>", "body": {…}}`, where `i` is the request's index in the schedule. The lengths
come from the journal of the run (`input.asked` of record `i`) or from a trace whose row `i`,
counted from 0, is request `i` (`input_length`).

Prompts are encoded by the `tokenizers` package from PyPI, without special tokens: this is the
check from outside on what tics builds. Exit status: 0 when all lengths agree, 1 when one does not,
or a request is missing or was not asked for, 2 when an input cannot be read.
"""

import argparse
import json
import sys
from pathlib import Path

from venv import ensure

EMBEDDED = Path(__file__).resolve().parent.parent / "crates/prompt/assets/tokenizer.json"
# Prompts encoded together, on all cores.
BATCH = 256
# Wrong prompts named one by one.
SHOWN = 10


def fail(message):
    # The other checks read their inputs with these functions.
    print(f"{Path(sys.argv[0]).stem}: {message}", file=sys.stderr)
    sys.exit(2)


def json_lines(path):
    """(line number, object) of each line; blank lines are passed over."""
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, json.loads(line)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except ValueError as error:
        fail(f"{path}: line {number}: not JSON ({error})")


def asked_by_run(directory):
    """Tokens asked of each request that was sent, by its index; and the indices answered."""
    asked, answered = {}, set()
    for _, line in json_lines(Path(directory) / "requests.jsonl"):
        # A `sent` line has no outcome; the header and the closing line have no index.
        if "i" in line and "outcome" in line and line.get("sent_ns") is not None:
            asked[line["i"]] = line["input"]["asked"]
            if line["outcome"] in ("ok", "short", "long"):
                answered.add(line["i"])
    return asked, answered


def asked_by_trace(path):
    """Tokens asked by each row of a trace."""
    lengths = {}
    for i, (number, row) in enumerate(json_lines(path)):
        if not isinstance(row.get("input_length"), int):
            fail(f"{path}: line {number}: no integer input_length")
        lengths[i] = row["input_length"]
    return lengths, set()


def prompts(path):
    """(index, text) of each dumped request."""
    for number, line in json_lines(path):
        try:
            index = int(line["id"].rpartition("-")[2])
            body = line["body"]
            text = body["messages"][0]["content"] if "messages" in body else body["prompt"]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            fail(f'{path}: line {number}: expected {{"id": "<run>-<i>", "body": {{…}}}} with a prompt')
        if not isinstance(text, str):
            fail(f"{path}: line {number}: the prompt is not a string")
        yield index, text


def batches(items):
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def load(path):
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # The package raises nothing more precise.
        fail(f"{path}: not a readable tokenizer.json ({error})")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", help="bodies that the server received")
    parser.add_argument("--tokenizer", default=EMBEDDED, help="tokenizer.json (default: the embedded one)")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", help="run directory, for the lengths asked")
    source.add_argument("--lengths", help="trace with input_length, for the lengths asked")
    args = parser.parse_args()
    # Its own requirements serve downloads, which are not wanted here.
    ensure(["tokenizers==0.22.2"], dependencies=False)

    tokenizer = load(args.tokenizer)
    asked, answered = asked_by_run(args.run) if args.run else asked_by_trace(args.lengths)
    seen, tokens, wrong = set(), 0, []
    for batch in batches(prompts(args.dump)):
        encodings = tokenizer.encode_batch_fast([text for _, text in batch], add_special_tokens=False)
        for (index, _), encoding in zip(batch, encodings):
            seen.add(index)
            tokens += len(encoding)
            if asked.get(index) != len(encoding):
                wrong.append((index, asked.get(index), len(encoding)))
    missing = sorted(answered - seen)

    for index, expected, found in wrong[:SHOWN]:
        print(f"request {index}: asked {'nothing' if expected is None else expected}, has {found} tokens")
    if len(wrong) > SHOWN:
        print(f"… and {len(wrong) - SHOWN} more")
    if missing:
        print(f"answered but not in the dump: {len(missing)}, the first is request {missing[0]}")
    print(f"{len(seen)} prompts, {tokens} tokens, {len(wrong)} of the wrong length")
    if not seen:
        print("nothing was checked: the dump holds no prompt")
    sys.exit(1 if wrong or missing or not seen else 0)


if __name__ == "__main__":
    main()
