"""Finds out whether an audit log is whole: nothing changed, nothing missing between its lines, nothing cut off."""

import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, cast

from gateway.telemetry.audit.chain import BadRecord, ChainRecord, Head, Keys, parsed
from gateway.telemetry.audit.heads import BadHead, read_all

MAX_LINE: Final = 1024 * 1024
"""Bytes; none that the gateway writes is so long."""
MOST_FINDINGS: Final = 100
"""How many are kept; all are counted."""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Something that is not as it was written.

    Args:
        place: `file:line`, or the file.
    """

    place: str
    chain: str
    message: str


@dataclass
class SeenChain:
    """What was found of one chain."""

    first: int
    last: int
    mac: str
    place: str
    """Of its last line."""
    begins: str
    """The place of its first line."""
    keys: Keys | None
    records: int = 0
    has_ended: bool = False
    after: Head | None = None
    """The end of the chain before, as its own first line has it."""
    head_trouble: str = ""


@dataclass
class Report:
    """What came of it."""

    files: list[str] = field(default_factory=list[str])
    records: int = 0
    chains: dict[str, SeenChain] = field(default_factory=dict[str, SeenChain])
    findings: list[AuditFinding] = field(default_factory=list[AuditFinding])
    count: int = 0
    """Of findings."""
    notices: list[str] = field(default_factory=list[str])
    """What could not be found out."""
    first: str = ""
    last: str = ""
    """When the first and the last line were written."""

    def find(self, place: str, message: str, chain: str = "") -> None:
        self.count += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(AuditFinding(place, chain, message))


def verify(files: Sequence[Path], keys: Sequence[Keys], heads: Path | None, *, has_oldest: bool) -> Report:
    """
    Args:
        files: those that rotation made and the newest, in any order; `.gz` is read as it is.
        heads: the folder that says where chains end; None if there is none to be had.
        has_oldest: whether they go back to the beginning; else chains may begin in the middle.

    Raises:
        OSError: one of them cannot be read.
    """
    report = Report()
    ends = list(read_all(heads, [each.head for each in keys])) if heads is not None else []  # before lines are added
    for path in sorted(files, key=_begins):
        report.files.append(str(path))
        with _open(path) as file:
            for number, line in enumerate(_lines(file), 1):
                _look(report, f"{path}:{number}", line, keys, has_oldest=has_oldest)
    _compare(report, ends, has_heads=heads is not None, has_oldest=has_oldest)
    return report


def _look(report: Report, place: str, line: bytes, keys: Sequence[Keys], *, has_oldest: bool) -> None:
    try:
        record = parsed(line)
    except BadRecord as error:
        report.find(place, f"this line is not as the gateway wrote it: it {error}")
        return
    report.records += 1
    at = str(record.fields.get("at", ""))
    report.first, report.last = report.first or at, at
    seen = report.chains.get(record.chain)
    if seen is None:
        sealed = next((each for each in keys if record.is_sealed_with(each.chain)), None)
        seen = report.chains[record.chain] = SeenChain(record.n, record.n - 1, record.prev, place, place, sealed)
        if sealed is None:
            report.find(place, "this line was changed, or sealed with a key that was not given", record.chain)
        if record.n and has_oldest:
            report.find(place, f"{_lines_of(0, record.n - 1)} missing before this line, line {record.n}", record.chain)
        _begin(report, place, seen, record)
    elif not any(record.is_sealed_with(each.chain) for each in _likely(seen, keys)):
        report.find(place, "this line was changed: its seal does not fit", record.chain)
    _follow(report, place, seen, record)


def _begin(report: Report, place: str, seen: SeenChain, record: ChainRecord) -> None:
    after: Any = record.fields.get("after")
    if after is not None:
        try:
            seen.after = Head(str(after["chain"]), int(after["n"]), str(after["mac"]))
        except (KeyError, ValueError, TypeError):
            report.find(place, "this line does not say what it follows", record.chain)
    if trouble := record.fields.get("head_trouble"):
        report.find(
            place, f"when this chain began, the file that said where the one before ends {trouble}", record.chain
        )


def _likely(seen: SeenChain, keys: Sequence[Keys]) -> Sequence[Keys]:
    """A chain has one key. If its first line fits none, it was that line that was changed."""
    return [seen.keys] if seen.keys is not None else keys


def _follow(report: Report, place: str, seen: SeenChain, record: ChainRecord) -> None:
    if record.n <= seen.last:
        report.find(place, f"line {record.n} of its chain stands here again, or not where it belongs", record.chain)
        return
    if record.n > seen.last + 1:
        report.find(place, f"{_lines_of(seen.last + 1, record.n - 1)} missing before this line", record.chain)
    elif record.prev != seen.mac:
        report.find(place, f"this line does not follow the one before, at {seen.place}", record.chain)
    seen.last, seen.mac, seen.place = record.n, record.mac, place
    seen.records += 1
    seen.has_ended = record.fields.get("event") == "end"


def _compare(report: Report, ends: Iterable[tuple[Path, Head | BadHead]], *, has_heads: bool, has_oldest: bool) -> None:
    """Whether each chain goes as far as whoever came after it says."""
    vouched: set[str] = set()
    for path, head in ends:
        if isinstance(head, BadHead):
            report.find(str(path), f"this file {head}; nothing says where its writer's chain ends")
        else:
            vouched.add(head.chain)
            _reaches(report, head, str(path), must_be_there=True)
    for seen in list(report.chains.values()):
        if seen.after is not None:
            vouched.add(seen.after.chain)
            _reaches(report, seen.after, seen.begins, must_be_there=has_oldest)
    for name, seen in report.chains.items():
        if seen.first and not has_oldest:
            report.notices.append(f"chain {name} begins with line {seen.first}, at {seen.begins}")
        if name not in vouched and not seen.has_ended:
            message = "nothing says where this chain ends: lines may have been cut off after this one"
            if has_heads:
                report.find(seen.place, message, name)
            else:
                report.notices.append(f"{seen.place}: {message} (chain {name})")


def _reaches(report: Report, head: Head, place: str, *, must_be_there: bool) -> None:
    seen = report.chains.get(head.chain)
    if seen is None:
        if must_be_there:
            message = f"the whole chain {head.chain} is missing: it had {head.n + 1} lines or more"
            report.find(place, message, head.chain)
        else:
            report.notices.append(f"chain {head.chain} is in none of the files; it had {head.n + 1} lines or more")
    elif seen.last < head.n:
        message = f"{_lines_of(seen.last + 1, head.n)} missing at the end of the chain, after this one"
        report.find(seen.place, message, head.chain)
    elif seen.last == head.n and seen.mac != head.mac:
        report.find(seen.place, f"this line is not the one that {place} says the chain ends with", head.chain)


def _lines_of(first: int, last: int) -> str:
    return f"line {first} of its chain is" if first == last else f"lines {first} to {last} of its chain are"


def _begins(path: Path) -> str:
    """When the first line of a file was written, so that files can be read in that order."""
    with _open(path) as file:
        for line in _lines(file):
            try:
                return str(parsed(line).fields.get("at", ""))
            except BadRecord:
                continue
    return ""


def _open(path: Path) -> IO[bytes]:
    """To be closed by whoever asks."""
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE):
        yield line
