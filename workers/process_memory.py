"""How much memory a process and everything it started hold, by the program's name."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_KIB = 1_024


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process."""

    pid: int
    parent: int
    program: str
    resident_bytes: int
    """Memory in RAM, pages shared with other processes included."""


def memory_of_tree(root: int) -> list[ProcessMemory]:
    """The process ``root`` and all its descendants, the parent before its children; empty if it is gone."""
    processes = {process.pid: process for process in _processes()}
    found = [processes[root]] if root in processes else []
    for parent in found:
        found += [process for process in processes.values() if process.parent == parent.pid]
    return found


def _processes() -> list[ProcessMemory]:
    if (_PROC / "self" / "status").exists():
        read = (_from_status(path / "status") for path in _PROC.iterdir() if path.name.isdigit())
        return [process for process in read if process is not None]
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,rss=,comm="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 3) for line in listed.stdout.splitlines()]
    return [
        ProcessMemory(int(pid), int(parent), Path(program).name, int(kib) * _KIB)
        for pid, parent, kib, program in rows
    ]


def _from_status(status: Path) -> ProcessMemory | None:
    try:
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    except OSError:
        # It ended while the others were read.
        return None
    return ProcessMemory(
        pid=int(fields["Pid"]),
        parent=int(fields["PPid"]),
        program=fields["Name"].strip(),
        # Kernel threads have none.
        resident_bytes=int(fields.get("VmRSS", "0 kB").split()[0]) * _KIB,
    )
