#!/usr/bin/env python3
"""Checks Parquet traces with pandas and pyarrow, which are nobody's here.

    python3 scripts/check_parquet.py target/debug/tics [FILE…]

- what `tics trace convert` writes, read by pyarrow, has every value of the trace, times to the nanosecond; the
  samples in `traces/` are converted, rows with every field there is, and each FILE;
- what pandas and pyarrow write, however it is packed and laid out, is read by `tics` and converted back to the
  very bytes of the trace it was made from;
- a file packed with what `tics` does not unpack is refused with one line that says so.

Exits with 1 at the first check that fails.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from decimal import Decimal

from venv import ensure

HERE = pathlib.Path(__file__).resolve().parent
TRACES = HERE.parent / "traces"

# Rows with every field, at the ends of their ranges.
RICH = r"""
{"timestamp_s":18446744073.709551615,"input_length":4294967295,"output_length":1,"id":-9223372036854775808,"parent":"7","session_id":"a \"b\"\né","delay_s":0.000000001,"type":"","turn":0,"block_size":16,"hash_ids":[0,18446744073709551615,9223372036854775808],"prompt":"tab\tand \\ and 😀","messages":[{"role": "user",  "content": "a\nb"}],"payload":{"max_tokens": 3, "x": null}}
{"timestamp_s":0.1,"input_length":9,"output_length":2,"id":"","parent":9223372036854775807,"block_size":1,"hash_ids":[]}
{"timestamp_s":0.000000009,"input_length":1,"output_length":4294967295}
""".lstrip()


def same(what, left, right):
    if left != right:
        sys.exit(f"check_parquet: {what}: {left!r} is not {right!r}")


def run(*command):
    """Runs a command that must succeed; what it printed, as bytes."""
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"check_parquet: exit status {done.returncode} of {command}: {done.stderr.decode()}")
    return done.stdout


def rows(lines):
    """The JSON objects of some lines, numbers with a point as decimals."""
    return [json.loads(line, parse_float=Decimal) for line in lines.splitlines() if line.strip()]


def raw(line, field):
    """The text of a JSON value as it stands in a line, or None."""
    if field not in json.loads(line):
        return None
    # Written by us: the key stands once outside of texts, and the value ends where it is whole.
    start = line.index(f'"{field}":') + len(field) + 3
    for end in range(start + 1, len(line) + 1):
        try:
            json.loads(line[start:end])
            return line[start:end]
        except ValueError:
            continue
    return None


def expected(row, line):
    """The columns of a row of our own."""
    ns = lambda field: int(Decimal(row[field]).scaleb(9)) if field in row else None
    number = lambda field: row.get(field) if isinstance(row.get(field), int) else None
    text = lambda field: row.get(field) if isinstance(row.get(field), str) else None
    columns = {name: row.get(name) for name in
               ["input_length", "output_length", "hash_ids", "block_size", "session_id", "type", "turn", "prompt"]}
    columns |= {"timestamp_ns": ns("timestamp_s"), "delay_ns": ns("delay_s")}
    columns |= {"id": number("id"), "id_text": text("id"), "parent": number("parent"), "parent_text": text("parent")}
    columns |= {field: raw(line, field) for field in ["messages", "payload"]}
    return columns


def check_written(tics, trace, folder):
    """Everything in what tics writes, by pyarrow and by pandas."""
    import pandas
    import pyarrow.parquet

    lines = run(tics, "trace", "convert", trace, "--to", "tics").decode()
    out = folder / "written.parquet"
    run(tics, "trace", "convert", trace, "-o", out)
    want = [expected(row, line) for row, line in zip(rows(lines), lines.splitlines())]
    table = pyarrow.parquet.read_table(out)
    found = table.to_pylist()
    same(f"{trace.name}: number of rows", len(found), len(want))
    for number, (one, other) in enumerate(zip(found, want), 1):
        same(f"{trace.name}, row {number}", one, other)
    same(f"{trace.name}: pandas' sum of output lengths", int(pandas.read_parquet(out)["output_length"].sum()),
         sum(row["output_length"] for row in want))
    same(f"{trace.name}: back", run(tics, "trace", "convert", out, "--to", "tics").decode(), lines)
    print(f"ok: {trace.name}: {len(want)} rows of {len(table.column_names)} columns written, read and read back")


def check_read(tics, folder):
    """Files of pandas and pyarrow, made from the samples."""
    import pandas
    import pyarrow
    import pyarrow.parquet

    layouts = [
        {},
        {"compression": "gzip", "row_group_size": 7},
        {"compression": "none", "use_dictionary": False, "data_page_size": 64},
        {"data_page_version": "2.0", "version": "1.0"},
        {"compression": "snappy", "row_group_size": 1},
    ]
    for name, form in [("mooncake", "mooncake"), ("qwen", "qwen")]:
        path = TRACES / f"{name}.jsonl"
        original = path.read_text()
        parsed = [json.loads(line) for line in original.splitlines()]
        for layout in layouts:
            out = folder / "other.parquet"
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(parsed), out, **layout)
            back = run(tics, "trace", "convert", out, "--to", form).decode()
            same(f"{name} by pyarrow with {layout}", back == original, True)
        frame = pandas.DataFrame(parsed)
        frame.to_parquet(out)
        same(f"{name} by pandas", run(tics, "trace", "convert", out, "--to", form).decode() == original, True)
        frame.to_parquet(out, compression="zstd")
        refused = subprocess.run([tics, "trace", "info", out], capture_output=True, text=True, check=False)
        same("status of what is refused", (refused.returncode, refused.stderr.count("\n")), (2, 1))
        same("it says how it is packed", "compressed with ZSTD; expected none, snappy or gzip" in refused.stderr, True)
        print(f"ok: {name}.jsonl: {len(parsed)} rows in {len(layouts)} layouts of pyarrow and one of pandas read")
    # Gaps become fractions in pandas, and whole numbers again.
    frame = pandas.DataFrame({"timestamp_s": [0.1, 1.5], "input_length": [40, 50], "output_length": [4, 5],
                              "turn": [None, 2], "session_id": ["a", None]})
    frame.to_parquet(out)
    same("rows with gaps", rows(run(tics, "trace", "convert", out)), [
        {"timestamp_s": Decimal("0.1"), "input_length": 40, "output_length": 4, "session_id": "a"},
        {"timestamp_s": Decimal("1.5"), "input_length": 50, "output_length": 5, "turn": 2}])
    print("ok: a table with gaps")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tics", type=pathlib.Path)
    parser.add_argument("files", type=pathlib.Path, nargs="*")
    args = parser.parse_args()
    ensure(["pandas==2.3.3", "pyarrow==22.0.0"])
    tics = args.tics.resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        rich = folder / "rich.jsonl"
        rich.write_text(RICH)
        for trace in [rich, *sorted(TRACES.glob("*.jsonl")), *sorted(TRACES.glob("*.csv")), *args.files]:
            check_written(tics, trace, folder)
        check_read(tics, folder)


if __name__ == "__main__":
    main()
