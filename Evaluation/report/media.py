"""Pictures and videos of a report's page: copied beside it, if they are whole."""

from __future__ import annotations

from pathlib import Path

from Common.files.bounded_read import read_bounded

_LARGEST = 50 * 2**20  # bytes of a file that is copied beside the page
_PNG_BEGINS, _PNG_ENDS = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


class Media:
    """Files that the page shows, copied beside it under names of our own.

    Args:
        folder: of the copies; made with the first of them.
        problems: where a line is added for whatever cannot be shown.
    """

    def __init__(self, folder: Path, problems: list[str]) -> None:
        self.problems = problems
        self._folder = folder
        self._names: dict[Path, str] = {}

    def add(self, path: Path) -> str | None:
        """The copy's address in the page; None, and a problem, where there is nothing to show."""
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
    """Whether a file has its beginning and its end: browsers draw half a PNG without a word."""
    if suffix == ".png":
        return content.startswith(_PNG_BEGINS) and _PNG_ENDS in content
    if suffix == ".mp4":
        return _has_whole_boxes(content)
    return True


def _has_whole_boxes(content: bytes) -> bool:
    """Whether an MP4's boxes (ISO/IEC 14496-12, 4.2) fill it, with what a player needs."""
    at, kinds = 0, set()
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        kinds.add(content[at + 4 : at + 8])
        if size == 1:  # the size follows in 64 bits
            size = int.from_bytes(content[at + 8 : at + 16], "big")
        elif size == 0:  # up to the end
            size = len(content) - at
        at += max(size, 8)
    return at == len(content) and {b"ftyp", b"moov"} <= kinds
