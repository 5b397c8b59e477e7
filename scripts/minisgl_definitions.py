#!/usr/bin/env python3
"""Recomputes mini-sglang's figures of a run and compares them with those that Tics prints.

    tics export RUN --format minisgl -o run.json
    tics report RUN --definitions minisgl --json > figures.json
    python3 scripts/minisgl_definitions.py run.json figures.json

The formulas are written out here once more, in another language and from the exported file alone:

    a request   [input_len, output_len, tic, tic, ...], seconds: the response's head, then each event
    TTFT        tics[1] - tics[0], one a request
    "TPOT"      every later gap, pooled over all requests
    E2E         tics[-1] - tics[0], one a request
    percentile  sorted[int(n * p)]
    throughput  sum(len(tics)) and len(requests), each / (largest tic - smallest tic)

Exits with 1 if a figure differs by more than 1e-9 of itself, with 2 if a file cannot be used.
Needs Python 3.9 or later and nothing else.
"""

import json
import math
import sys

TOLERANCE = 1e-9
STATISTICS = ("mean", "p50", "p90", "p99", "max")


def distribution(times, scale):
    """Mean, percentiles and largest of `times` (seconds), multiplied by `scale`."""
    if not times:
        return None
    times = sorted(times)
    n = len(times)
    return {
        "mean": scale * math.fsum(times) / n,
        "p50": scale * times[int(n * 0.5)],
        "p90": scale * times[int(n * 0.9)],
        "p99": scale * times[int(n * 0.99)],
        "max": scale * times[-1],
    }


def figures(requests):
    """The figures of `requests`, each a list of tics in seconds."""
    first, later, whole = [], [], []
    for tics in requests:
        gaps = [after - before for before, after in zip(tics, tics[1:])]
        first.append(gaps[0])
        later.extend(gaps[1:])
        whole.append(tics[-1] - tics[0])
    tokens = sum(len(tics) for tics in requests)
    duration = None
    if requests:
        duration = max(max(tics) for tics in requests) - min(min(tics) for tics in requests)
    return {
        "requests": len(requests),
        "tokens": tokens,
        "duration_s": duration,
        "tokens_per_s": tokens / duration if duration else None,
        "requests_per_s": len(requests) / duration if duration else None,
        "ttft_ms": distribution(first, 1000.0),
        "tpot_ms": distribution(later, 1000.0),
        "e2e_s": distribution(whole, 1.0),
    }


def flat(tree):
    """The numbers of `tree` by name: `ttft_ms.p50` and so on."""
    numbers = {}
    for name, value in tree.items():
        if name in ("ttft_ms", "tpot_ms", "e2e_s"):
            for statistic in STATISTICS:
                numbers[f"{name}.{statistic}"] = None if value is None else value[statistic]
        else:
            numbers[name] = value
    return numbers


def agree(ours, theirs):
    """Whether two figures are the same to the tolerance, or both absent."""
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=TOLERANCE, abs_tol=0.0)


def load(path):
    """The JSON of file `path`, or an end with status 2."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        print(f"minisgl_definitions: {path}: {error}", file=sys.stderr)
        sys.exit(2)


def main(arguments):
    if len(arguments) != 2:
        print("usage: minisgl_definitions.py EXPORTED.json FIGURES.json", file=sys.stderr)
        return 2
    exported, printed = arguments
    requests = [row[2:] for row in load(exported)]
    # A stream without an event has no TTFT; mini-sglang's own code stops there.
    ours = flat(figures([tics for tics in requests if len(tics) >= 2]))
    theirs_tree = load(printed)
    if theirs_tree.get("definitions") != "minisgl":
        print(f"minisgl_definitions: {printed}: not the output of --definitions minisgl --json", file=sys.stderr)
        return 2
    theirs = flat({name: theirs_tree[name] for name in figures([])})
    differing = 0
    for name, value in ours.items():
        same = agree(value, theirs[name])
        differing += not same
        print(f"{name:<16} {value!s:>24} {theirs[name]!s:>24}  {'agrees' if same else 'DIFFERS'}")
    print(f"{len(ours)} figures, {differing} differ by more than {TOLERANCE:g} of themselves")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
