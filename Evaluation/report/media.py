"""Copy pictures and videos into a report, unless they are damaged."""

from __future__ import annotations

from pathlib import Path

from Common.files.bounded_read import read_bounded

_LARGEST = 50 * 2**20  # maximum bytes of a copied file
_PNG_BEGINS, _PNG_ENDS = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


class Media:
    """Copies files that the page shows, under new names.

    Args:
        folder: folder of the copies, created with the first one.
        problems: list to which a line is added per file that cannot be shown.
    """

    def __init__(self, folder: Path, problems: list[str]) -> None:
        self.problems = problems
        self._folder = folder
        self._names: dict[Path, str] = {}

    def add(self, path: Path) -> str | None:
        """Copy a file and return its path relative to the page; on problems, return None."""
        known = self._names.get(path)
        if known is not None:
            return known
        try:
            size = path.stat().st_size
            if not 0 < size <= _LARGEST:
                self.problems.append(f"Not shown: {path} has {size:,} bytes.")
                return None
            content = read_bounded(path, _LARGEST)
        except OSError as error:
            self.problems.append(f"Not shown: {path}: {error.strerror}.")
            return None
        if not _is_whole(path.suffix.lower(), content):
            self.problems.append(f"Not shown: {path} is cut short or damaged.")
            return None
        self._folder.mkdir(exist_ok=True)
        name = f"{self._folder.name}/{len(self._names) + 1:03d}{path.suffix.lower()}"
        (self._folder.parent / name).write_bytes(content)
        self._names[path] = name
        return name


def _is_whole(suffix: str, content: bytes) -> bool:
    """Return whether a file is complete, since browsers show truncated PNGs without an error."""
    if suffix == ".png":
        return content.startswith(_PNG_BEGINS) and _PNG_ENDS in content
    if suffix == ".mp4":
        return _has_whole_boxes(content)
    return True


def _has_whole_boxes(content: bytes) -> bool:
    """Return whether an MP4's boxes (ISO/IEC 14496-12, 4.2) are complete and playable."""
    at, kinds = 0, set()
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        kinds.add(content[at + 4 : at + 8])
        if size == 1:  # the size follows in 64 bits
            size = int.from_bytes(content[at + 8 : at + 16], "big")
        elif size == 0:  # until the end of the file
            size = len(content) - at
        at += max(size, 8)
    return at == len(content) and {b"ftyp", b"moov"} <= kinds
