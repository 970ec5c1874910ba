"""Adds up what `meson test` logged: every check of a Check program and every method of a unittest
counts for itself, any other program counts as one."""
import json
import re
import sys

CHECK = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.M)
UNITTEST = re.compile(r"^Ran (\d+) tests? in ", re.M)
TROUBLE = re.compile(r"\b(failures|errors|skipped|unexpected successes)=(\d+)")


def count(entry):
    """(passed, failed, skipped) of one program."""
    output = entry.get("stdout", "") + "\n" + entry.get("stderr", "")
    ended_well = entry["result"] in ("OK", "EXPECTEDFAIL")
    if entry["result"] == "SKIP":
        return 0, 0, 1
    total = failed = skipped = 0
    for match in CHECK.finditer(output):
        checks, failures, errors = map(int, match.groups())
        total += checks
        failed += failures + errors
    for match in UNITTEST.finditer(output):
        total += int(match.group(1))
        for kind, number in TROUBLE.findall(output[match.end():].split("\nRan ")[0]):
            if kind == "skipped":
                skipped += int(number)
            else:
                failed += int(number)
    if total == 0:
        return (1, 0, 0) if ended_well else (0, 1, 0)
    if not ended_well and failed == 0:
        failed = 1  # it crashed, or a sanitizer ended it
        total = max(total, 1)
    return max(total - failed - skipped, 0), failed, skipped


def main(logs):
    passed = failed = skipped = 0
    for log in logs:
        try:
            with open(log, encoding="utf-8", errors="replace") as lines:
                entries = [json.loads(line) for line in lines if line.strip()]
        except FileNotFoundError:
            print(f"{log}: no test ran")
            failed += 1
            continue
        for entry in entries:
            p, f, s = count(entry)
            passed, failed, skipped = passed + p, failed + f, skipped + s
            if f:
                print(f"failed: {entry['name']} ({entry['result']})")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


sys.exit(main(sys.argv[1:]))
