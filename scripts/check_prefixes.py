#!/usr/bin/env python3
"""Checks that the prompts a server received share exactly the prefixes that their trace says.

    scripts/check_prefixes.py DUMP TRACE.jsonl [--tokenizer tokenizer.json] [--run RUN_DIRECTORY]
                              [--rows N] [--pairs N] [--overhead N] [--block-size N]

DUMP is what the simulated server wrote of the bodies it received, one JSON object a line:
`{"id": "<run>-<i>", "body": {…}}`. Request `i` is row `i` of TRACE, counted from 0, or the row that
the journal of the run names (`--run`, for a run of a part of its trace). TRACE is a Mooncake trace
(blocks of 512 tokens), a Qwen-Bailian trace (16), or Tics' own rows (`block_size`).

Three things are checked:
- every prompt has `input_length` tokens, less `--overhead` for a chat template;
- the tokens of a block are the same wherever its id stands behind the same blocks, and blocks behind
  the same prefix differ in their first token: together this is the sharing of all pairs of rows;
- for `--pairs` random pairs and all neighbouring rows, the tokens in common, and the tokens of the
  bytes in common up to the last whole word, are `block size · common leading ids`, or the length of
  the shorter prompt where that is less.

Prompts are encoded by the `tokenizers` package from PyPI, without special tokens; prompts of token
ids are taken as they are. `--rows N` looks at the first N requests of the dump only. Exit status: 0
when everything agrees, 1 when something does not or nothing was checked, 2 when an input cannot be
read.
"""

import argparse
import json
import mmap
import os
import random
import sys
import tempfile
from array import array
from hashlib import blake2b
from pathlib import Path

from check_prompts import EMBEDDED, batches, fail, json_lines, load
from venv import ensure

# Differences named one by one.
SHOWN = 10
# Bytes of a token in the file of all tokens.
WIDTH = 4


def read_trace(path, block_size):
    """(line number, input_length, block size, ids) of each row."""
    rows = []
    for number, row in json_lines(path):
        size = block_size or row.get("block_size") or (16 if "chat_id" in row else 512)
        ids = row.get("hash_ids")
        if not isinstance(row.get("input_length"), int) or not isinstance(ids, list) or not ids:
            fail(f"{path}: line {number}: expected input_length and hash_ids")
        rows.append((number, row["input_length"], size, ids))
    return rows


def rows_of_run(directory, rows):
    """Row of the trace of each request, by the request's index."""
    by_line = {row[0]: row for row in rows}
    of_request = {}
    for _, line in json_lines(Path(directory) / "requests.jsonl"):
        if "i" in line and line.get("row") in by_line:
            of_request[line["i"]] = by_line[line["row"]]
    return of_request


def prompts(path, limit):
    """(index, prompt as text or token ids) of the dumped requests."""
    for count, (number, line) in enumerate(json_lines(path)):
        if count == limit:
            return
        try:
            index = int(line["id"].rpartition("-")[2])
            body = line["body"]
            if "messages" in body:
                prompt = body["messages"][0]["content"]
            else:
                prompt = body["prompt"] if "prompt" in body else body["input_ids"]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            fail(f'{path}: line {number}: expected {{"id": "<run>-<i>", "body": {{…}}}} with a prompt')
        yield index, prompt


def common_prefix(a, b):
    """Number of leading bytes (or items) that two sequences have in common."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        # What is known to agree is not compared again.
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def common_ids(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


class Store:
    """Token ids and text of each request, in unnamed temporary files."""

    def __init__(self):
        self.files = {kind: tempfile.TemporaryFile() for kind in ("tokens", "text")}
        self.spans = {"tokens": [], "text": []}
        self.maps = {}

    def add(self, kind, data):
        start = self.files[kind].tell()
        self.files[kind].write(data)
        self.spans[kind].append((start, start + len(data)))

    def get(self, kind, position):
        if kind not in self.maps:
            self.files[kind].flush()
            fd = self.files[kind].fileno()
            self.maps[kind] = mmap.mmap(fd, 0, access=mmap.ACCESS_READ) if os.fstat(fd).st_size else b""
        start, end = self.spans[kind][position]
        return memoryview(self.maps[kind])[start:end]


class Blocks:
    """What the first request that holds a block has there, and the first tokens behind each prefix."""

    def __init__(self):
        # By the digest of all ids up to the block: tokens in it so far, and their digest.
        self.known = {}
        # By (prefix, first token): the block that begins with it.
        self.first = {}
        self.n_siblings = {}
        self.wrong = []
        self.met = []

    def add(self, index, tokens, size, ids):
        prefix = b""
        # What no block covers is the request's own, and no sibling's either.
        for position, block in enumerate([*ids, f"behind the blocks of {index}"]):
            content = tokens[position * size * WIDTH : (position + 1) * size * WIDTH]
            if not content:
                break
            behind, prefix = prefix, blake2b(prefix + repr(block).encode(), digest_size=12).digest()
            owner = self.first.setdefault((behind, content[:WIDTH]), prefix)
            if owner != prefix:
                self.met.append((index, block))
            self.compare(index, block, prefix, behind, content)

    def compare(self, index, block, prefix, behind, content):
        known = self.known.get(prefix)
        if known is None:
            self.n_siblings[behind] = self.n_siblings.get(behind, 0) + 1
            self.known[prefix] = (content if len(content) < 64 * WIDTH else None, len(content), digest(content))
            return
        start, length, seen = known
        if length == len(content):
            same = seen == digest(content)
        elif length < len(content) and start is not None:
            same = content[:length] == start
        else:
            # Partial blocks of different lengths are left to the pairs.
            return
        if not same:
            self.wrong.append((index, block))


def digest(content):
    return blake2b(content, digest_size=12).digest()


def encode(tokenizer, batch):
    """Token ids of each prompt of a batch, packed."""
    texts = [prompt for _, prompt in batch if isinstance(prompt, str)]
    encodings = iter(tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    for index, prompt in batch:
        ids = next(encodings).ids if isinstance(prompt, str) else prompt
        try:
            yield index, prompt, array("I", ids).tobytes()
        except (TypeError, OverflowError):
            fail(f"request {index}: the prompt is neither a string nor token ids")


def tokens_of_common_bytes(tokenizer, a, b):
    """Number of tokens of the text that two texts begin with, cut at its last whole word."""
    end = common_prefix(a, b)
    if not all(len(text) == end or text[end] == ord(" ") for text in (a, b)):
        end = max(bytes(a[:end]).rfind(b" "), 0)
    return len(tokenizer.encode(bytes(a[:end]).decode(), add_special_tokens=False).ids) if end else 0


def expected(a, b):
    """Tokens that two requests share by their ids; each is (index, tokens, block size, ids)."""
    if a[2] != b[2]:
        return None
    return min(common_ids(a[3], b[3]) * a[2], a[1], b[1])


def check_pairs(tokenizer, store, requests, pairs):
    """Pairs checked, by tokens and by bytes, and those that are wrong, described."""
    checked, by_bytes, wrong = 0, 0, []
    for a, b in pairs:
        expect = expected(requests[a], requests[b])
        if expect is None:
            continue
        checked += 1
        tokens = common_prefix(store.get("tokens", a), store.get("tokens", b)) // WIDTH
        texts = store.get("text", a), store.get("text", b)
        found = tokens
        if all(texts):
            by_bytes += 1
            found = tokens_of_common_bytes(tokenizer, *texts)
        if not expect == tokens == found:
            names = f"requests {requests[a][0]} and {requests[b][0]}"
            wrong.append(f"{names}: {expect} tokens in common by their ids, {tokens} by token, {found} by byte")
    return checked, by_bytes, wrong


def show(lines):
    for line in lines[:SHOWN]:
        print(line)
    if len(lines) > SHOWN:
        print(f"… and {len(lines) - SHOWN} more")


def check_requests(args, tokenizer, row_of):
    """Encodes the dump; the store, the requests and the blocks, and what is wrong, described."""
    store, blocks, requests, wrong, n_tokens = Store(), Blocks(), [], [], 0
    for batch in batches(prompts(args.dump, args.rows)):
        for index, prompt, tokens in encode(tokenizer, batch):
            row = row_of(index)
            if row is None:
                wrong.append(f"request {index}: no such row in the trace")
                continue
            _, length, size, ids = row
            n = len(tokens) // WIDTH
            n_tokens += n
            if n != length - args.overhead:
                wrong.append(f"request {index}: {length - args.overhead} tokens expected, {n} found")
            requests.append((index, n, size, ids))
            store.add("tokens", tokens)
            store.add("text", prompt.encode() if isinstance(prompt, str) else b"")
            blocks.add(index, tokens, size, ids)
        print(f"\r{len(requests)} prompts, {n_tokens} tokens", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f"{len(requests)} prompts, {n_tokens} tokens, {len(wrong)} of the wrong length or without a row")
    return store, blocks, requests, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", help="bodies that the server received")
    parser.add_argument("trace", help="trace with hash_ids and input_length, JSON lines")
    parser.add_argument("--tokenizer", default=EMBEDDED, help="tokenizer.json (default: the embedded one)")
    parser.add_argument("--run", help="run directory, where request i is not row i")
    parser.add_argument("--rows", type=int, help="requests of the dump to look at (default: all)")
    parser.add_argument("--pairs", type=int, default=10_000, help="random pairs (default: 10000)")
    parser.add_argument("--overhead", type=int, default=0, help="tokens that the chat template adds")
    parser.add_argument("--block-size", type=int, help="tokens in a block (default: by the format)")
    args = parser.parse_args()
    # Its own requirements serve downloads, which are not wanted here.
    ensure(["tokenizers==0.22.2"], dependencies=False)

    tokenizer = load(args.tokenizer)
    rows = read_trace(args.trace, args.block_size)
    if args.run:
        row_of = rows_of_run(args.run, rows).get
    else:
        row_of = dict(enumerate(rows)).get
    store, blocks, requests, wrong = check_requests(args, tokenizer, row_of)
    show(wrong)

    most = max(blocks.n_siblings.values(), default=0)
    print(
        f"{len(blocks.known)} distinct blocks, at most {most} behind one prefix: {len(blocks.wrong)} with "
        f"other tokens than before, {len(blocks.met)} that begin as a sibling"
    )
    show([f"request {index}: block {block} differs" for index, block in blocks.wrong])
    show([f"request {index}: block {block} begins as a sibling" for index, block in blocks.met])

    # Neighbours in the trace's order, whatever order they arrived in.
    order = sorted(range(len(requests)), key=lambda position: requests[position][0])
    draw = random.Random(1)
    pairs = list(zip(order, order[1:]))
    n_neighbours = len(pairs)
    if len(requests) > 1:
        pairs += [draw.sample(range(len(requests)), 2) for _ in range(args.pairs)]
    checked, by_bytes, wrong_pairs = check_pairs(tokenizer, store, requests, pairs)
    print(
        f"{checked} pairs ({n_neighbours} neighbours, {len(pairs) - n_neighbours} random), {by_bytes} of them by "
        f"bytes too: {len(wrong_pairs)} share other than their ids say"
    )
    show(wrong_pairs)
    if not requests:
        print("nothing was checked: the dump holds no prompt")
    sys.exit(1 if wrong or blocks.wrong or blocks.met or wrong_pairs or not requests else 0)


if __name__ == "__main__":
    main()
