"""Put launches that a benchmark measured into the measurements of a machine.

    python benchmarks/strategies.py inception_v3:256 --devices 2 --precision bf16 --out rows.json
    python benchmarks/learn.py rows.json clusters/h200.json

What was measured before stays as it is; of what a row has several times, the median is taken.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import median

from netc.cost import LaunchTable, MeasuredLaunch, measured_json
from netc.cost.measured import parse_measured


def main() -> None:
    """Read rows and measurements, write measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=Path, nargs="+")
    parser.add_argument("machine", type=Path, help="its measurements, a .json file")
    options = parser.parse_args()
    known = parse_measured(options.machine.read_text())
    tables = dict(known.launches)
    found: dict[tuple[str, str], list[MeasuredLaunch]] = defaultdict(list)
    for row in (row for path in options.rows for row in json.loads(path.read_text())):
        for text, seconds, flops, nbytes in row.get("launches", ()):
            found[row["setting"], text].append(MeasuredLaunch(seconds, flops, nbytes))
    new = 0
    for (setting, text), each in found.items():
        before = tables[setting].launches if setting in tables else {}
        if text not in before:
            one = replace(each[0], seconds=max(median(e.seconds for e in each), 1e-9))
            tables[setting] = LaunchTable({**before, text: one})
            new += 1
    options.machine.write_text(measured_json(replace(known, launches=tables)))
    print(f"{new} launches are new in {options.machine}, of {len(found)} measured")


if __name__ == "__main__":
    main()
