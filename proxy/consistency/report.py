"""What a run has found, as text and as JSON.

What lives here: figures and their form. What must not: how they came about.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from proxy.consistency.context import Counts
from proxy.consistency.history import Violation
from proxy.consistency.power import Power

_SHOWN = 5
_LINES = 12


@dataclass(slots=True)
class Report:
    """The end of a run.

    Attributes:
        seconds: how long it took, without tables made and removed.
        hits: answers from memory by Howdah's own count, None where it was not asked.
        worst: the longest time in s for which an older state was served, excused or not.
        more: violations beyond those that are kept.
        failure: why the check could not be made as meant; empty if it could.
    """

    through: str
    contract: str
    seconds: float = 0.0
    seed: int = 0
    checked: int = 0
    hits: int | None = None
    worst: float = 0.0
    counts: Counts = field(default_factory=Counts)
    violations: list[Violation] = field(default_factory=list)
    more: int = 0
    power: Power = field(default_factory=Power)
    failure: str = ""

    @property
    def code(self) -> int:
        """The exit code: 1 with violations, 2 if it could not run as meant, else 0."""
        return 1 if self.violations else 2 if self.failure else 0

    def to_json(self) -> str:
        """Everything, as one JSON document."""
        counts = self.counts
        return json.dumps(
            {
                "through": self.through,
                "result": ("ok", "violations", "could not run")[self.code],
                "failure": self.failure,
                "contract": self.contract,
                "seconds": round(self.seconds, 3),
                "seed": self.seed,
                "reads_checked": self.checked,
                "reads_direct": counts.direct,
                "reads_lost": counts.lost_reads,
                "hits": self.hits,
                "writes": self._writes(),
                "writes_total": sum(counts.writes.values()),
                "reads_by_form": dict(sorted(counts.reads.items())),
                "reads_by_style": dict(sorted(counts.styles.items())),
                "compared_at_quiescence": counts.compared,
                "quiescences": counts.quiet,
                "reconnects": counts.reconnects,
                "faults": dict(counts.faults),
                "errors": dict(counts.errors.most_common(50)),
                "worst_staleness_ms": round(self.worst * 1e3, 3),
                "violations_total": len(self.violations) + self.more,
                "violations": [asdict(violation) for violation in self.violations[:100]],
                "power": {
                    "made": dict(self.power.made),
                    "violations": dict(self.power.wrong),
                    "found": dict(self.power.found),
                    "share": self.power.share,
                    "false": self.power.false,
                },
            },
            indent=1,
        )

    def _writes(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for (path, outcome), count in sorted(self.counts.writes.items()):
            found.setdefault(path, {})[outcome] = count
        return found

    def to_text(self) -> str:
        """A page for people."""
        counts = self.counts
        lines = [f"{self.through}, {self.seconds:.1f} s, seed {self.seed}: {self._verdict()}"]
        if self.failure:
            lines.append(f"  could not run as meant: {self.failure}")
        rate = self.checked / self.seconds if self.seconds else 0.0
        hits = "not known (no --http)" if self.hits is None else f"{self.hits:,}"
        lines += [
            f"  contract          {self.contract}",
            f"  reads checked     {self.checked:,} ({rate:,.0f}/s), {counts.direct:,} direct",
            f"  hits among them   {hits}{self._share()}",
            f"  writes            {sum(counts.writes.values()):,}",
            f"  compared at rest  {counts.compared:,} in {counts.quiet} pauses",
            f"  worst staleness   {self.worst * 1e3:.3f} ms",
            f"  lost              {counts.lost_reads:,} reads, {counts.reconnects:,} reconnects",
        ]
        for name, count in sorted(counts.faults.items()):
            lines.append(f"  faults            {name}: {count:,}")
        lines += self._power()
        lines.append("  writes by path    committed / aborted / unknown")
        for path, outcomes in self._writes().items():
            each = [outcomes.get(name, 0) for name in ("committed", "aborted", "unknown")]
            lines.append("    " + " / ".join(f"{n:,}" for n in each).rjust(20) + f"  {path}")
        for text, count in counts.errors.most_common(_SHOWN * 2):
            lines.append(f"  unexpected error  {count:,} x {text}")
        return "\n".join(lines + self._found())

    def _verdict(self) -> str:
        if self.violations:
            return f"{len(self.violations) + self.more:,} VIOLATIONS"
        return "could not run" if self.failure else "no violations"

    def _share(self) -> str:
        if not self.hits or not self.checked:
            return ""
        return f" ({100 * self.hits / self.checked:.1f} %)"

    def _power(self) -> list[str]:
        power = self.power
        wrong = sum(power.wrong.values())
        lines = [
            f"  detection power   {sum(power.made.values()):,} faults put into the recorded"
            f" history, {wrong:,} of them violations, {100 * power.share:.2f} % of those found"
        ]
        for kind, made in sorted(power.made.items()):
            wrong, found = power.wrong[kind], power.found[kind]
            lines.append(f"    {found:,} of {wrong:,} found ({made:,} made): {kind}")
        return lines

    def _found(self) -> list[str]:
        lines: list[str] = []
        kinds: dict[str, int] = {}
        for violation in self.violations:
            kinds[violation.kind] = kinds.get(violation.kind, 0) + 1
        if kinds:
            listed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
            lines.append(f"  violations        {listed}")
        for violation in self.violations[:_SHOWN]:
            lines += ["", *describe(violation)]
        return lines


def describe(violation: Violation) -> list[str]:
    """A violation with its history, times relative to the begin of the read, in ms."""
    v = violation
    late = f", {v.late * 1e3:.3f} ms after a newer state was known" if v.late else ""
    lines = [
        f"{v.kind}: {v.subject}: {v.message}{late}",
        f"    {v.read}",
        f"    read from 0 to {(v.end - v.begin) * 1e3:.3f} ms; before it (ms):",
    ]
    return lines + [f"    {_relative(line, v.begin)}" for line in v.history[-_LINES:]]


def _relative(line: str, zero: float) -> str:
    head, _, rest = line.partition("  ")
    words = [w if w == ".." else f"{(float(w) - zero) * 1e3:+.3f}" for w in head.split()]
    return f"{' '.join(words):>26}  {rest}"
