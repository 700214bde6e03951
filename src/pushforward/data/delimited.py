"""CSV and TSV files: the header, the rows, lines that are no rows."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import InputError
from .columns import ColumnKind, cells_of
from .dialect import Dialect, first_dialect, opened_text, zipped
from .events import default_columns
from .found import BrokenFile, Request, counted, group_parts, reading, size_of
from .frames import INDEX
from .table_stream import Chunk, TableStream
from .tables import refuse_twins

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["csv_frame", "read_csv"]

_BLOCK = 2 << 20  # characters that are parsed at a time
_LOOSE = "a quote without its pair"


def read_csv(
    paths: list[Path], name: str, request: Request, beside: Sequence[str] = ()
) -> TableStream:
    """Read CSV or TSV files, plain or gzipped, with header lines, as one table.

    Empty cells, ``NA``, ``NaN``, ``null`` and ``?`` are missing values. A semicolon between the
    cells, and then a decimal comma, are recognised, and so are tabs and vertical bars. If the first
    line holds only numbers, other than the 0, 1, 2, ... of columns without names, there is no
    header and the columns are called x0, x1, ... Lines with more or fewer cells than the header are
    unreadable. Of several files the first decides on all this; the others may have their
    columns in another order. Those called ``train``, ``test`` or ``validation`` are these splits.

    Raises:
        InputError: the file is empty, broken, not UTF-8, has no numeric column, or two of one
            name.
    """
    groups = group_parts(paths)
    dialect = first_dialect(groups)
    notes = [*beside]
    if not dialect.header:
        last = "" if len(dialect.first) == 1 else f" to x{len(dialect.first) - 1}"
        file = "The file has" if len(paths) == 1 else "The files have"
        called = "its" if len(paths) == 1 else "their"
        notes.append(f"{file} no header; {called} columns are called x0{last}.")
    mixed = request.schema is not None
    parts = {
        split: [_Csv(path, dialect, mixed) for path in group] for split, group in groups.items()
    }
    # Text takes about as many bytes as the numbers in it; gzip makes it a quarter or less.
    estimate = sum(size_of(path) * (4 if zipped(path) else 1) for path in paths)
    return TableStream(name, parts, request, paths=paths, estimate=estimate, notes=notes)


def csv_frame(path: Path) -> pd.DataFrame:
    """One file as a data frame, read as ``read_csv`` reads it, with its text and codes kept.

    Raises:
        InputError: the file is empty, broken or not UTF-8, has a line that is no row, or two
            columns of one name.
    """
    import pandas as pd

    try:
        file = _Csv(path, first_dialect({"train": [path]}), mixed=True)
        chunks = list(file.chunks(None))
    except BrokenFile as error:
        raise InputError(str(error)) from None
    bad = [said for chunk in chunks for said in chunk.unreadable]
    if bad:
        more = f", and {len(bad) - 1:,} more" if len(bad) > 1 else ""
        raise InputError(f"{bad[0]} is no row{more}; mend the file, or leave these lines out.")
    filled = [chunk for chunk in chunks if chunk.rows]
    if not filled:
        with opened_text(path) as text:
            return pd.DataFrame(columns=pd.Index(file._header(text)[0]))
    return pd.concat(
        [pd.DataFrame({n: held.series for n, held in chunk.cells.items()}) for chunk in filled],
        ignore_index=True,
    )


@dataclass
class _Block:
    """Lines of a file: the text of the rows, the line that each begins at, and the other lines."""

    text: list[str] = field(default_factory=list)
    lines: Sequence[int] = field(default_factory=list)
    bad: list[tuple[int, int]] = field(default_factory=list)  # line, number of cells or 0: _LOOSE


class _Csv:
    """One file of a table, in the dialect of the first."""

    def __init__(self, path: Path, dialect: Dialect, mixed: bool) -> None:
        self.path, self.name, self.dialect, self.mixed = path, path.name, dialect, mixed
        self._texts: frozenset[str] = frozenset()
        """Columns whose cells are text, whatever they look like, where there is a schema."""

    def dtypes(self) -> dict[str, str]:
        """None: text has no types."""
        return {}

    def as_text(self, columns: Collection[str]) -> None:
        """Read these columns as text from now on, numbers too: 01 is not 1 there."""
        self._texts = frozenset(columns)

    def _as_is(self, names: Sequence[str]) -> dict[str, type[str]]:
        """The columns that are not to be read as numbers."""
        codes = {names[i] for i in self.dialect.codes if i < len(names)} if self.mixed else set()
        return dict.fromkeys(codes | self._texts.intersection(names), str)

    def kinds(self) -> dict[str, ColumnKind | None]:
        """The cells tell, but for the index that pandas writes."""
        with opened_text(self.path) as file:
            names, _ = self._header(file)
        return {name: "index" if name == INDEX else None for name in names}

    def chunks(self, columns: Sequence[str] | None, start: int = 0) -> Iterator[Chunk]:
        with opened_text(self.path) as file:
            names, line = self._header(file)
            for block in self._blocks(file, len(names), line):
                read = len(block.text) + len(block.bad)
                start -= read
                if start < 0:
                    yield self._parse(block, names, columns, read)

    def _header(self, file: IO[str]) -> tuple[list[str], int]:
        """Return the names of the columns, and how many lines there are before the first row."""
        reader = self._reader(file)
        cells = next((cells for cells in reader if any(cell.strip() for cell in cells)), None)
        if cells is None:
            raise BrokenFile(f"{self.path} is an empty file.", "an empty file")
        line = reader.line_num
        if not self.dialect.header:
            file.seek(0)
            names = default_columns(len(self.dialect.first))
            if len(cells) != len(names):
                raise InputError(
                    f"{self.path} has {counted(len(cells), 'column')}, but the first file "
                    f"{len(names)}; give files of the same columns."
                )
            return list(names), 0
        refuse_twins([cell for cell in cells if cell], self.path)
        cells[-1] = cells[-1].rstrip(" ")
        return [cell or f"Unnamed: {i}" for i, cell in enumerate(cells)], line

    def _blocks(self, file: IO[str], cells: int, line: int) -> Iterator[_Block]:
        while lines := file.readlines(_BLOCK):
            text = "".join(lines)
            if '"' in text:
                block, consumed = self._quoted(lines, file, cells, line)
            else:
                block, consumed = self._plain(lines, cells, line), len(lines)
            line += consumed
            yield block

    def _plain(self, lines: list[str], cells: int, line: int) -> _Block:
        separator, wanted = self.dialect.separator, cells - 1
        counts = [text.count(separator) for text in lines]
        if counts.count(wanted) == len(lines) and wanted:
            return _Block(lines, range(line + 1, line + 1 + len(lines)))
        block = _Block()
        for i, (text, count) in enumerate(zip(lines, counts, strict=True), line + 1):
            if count == wanted and (wanted or text.strip(" \n")):
                block.text.append(text)
                block.lines.append(i)  # type: ignore[attr-defined]
            elif text.strip(" \n"):
                block.bad.append((i, count + 1))
        return block

    def _quoted(self, lines: list[str], file: IO[str], cells: int, line: int) -> tuple[_Block, int]:
        """Split lines with quoted cells, which may hold separators and line ends.

        A quote without its pair would swallow the rows below it: only its own line is unreadable.
        """
        ahead, consumed = deque(lines), list[str]()

        def fed() -> Iterator[str]:
            while text := ahead.popleft() if ahead else file.readline():
                consumed.append(text)
                yield text

        reader = self._reader(fed())
        block = _Block()
        while ahead:
            start = len(consumed)
            try:
                count = len(next(reader, []))
            except csv.Error:  # a cell of more than 128 KiB
                count = 0
            taken = consumed[start:]
            if len(taken) > 1 and (count != cells or not self._closed(taken)):
                ahead.extendleft(reversed(taken[1:]))
                del consumed[start + 1 :]
                reader, count, taken = self._reader(fed()), 0, taken[:1]
            text, at = "".join(taken), line + start + 1
            if count == cells and text.strip(" \n"):
                block.text.append(text)
                block.lines.append(at)  # type: ignore[attr-defined]
            elif text.strip(" \n"):
                block.bad.append((at, count))
        return block, len(consumed)

    def _reader(self, lines: Iterable[str], *, strict: bool = False) -> Any:
        separator = self.dialect.separator
        return csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=strict)

    def _closed(self, lines: Sequence[str]) -> bool:
        try:
            list(self._reader(lines, strict=True))
        except csv.Error:
            return False
        return True

    def _parse(
        self, block: _Block, names: list[str], columns: Sequence[str] | None, read: int
    ) -> Chunk:
        import pandas as pd

        wanted = len(names)
        unreadable = []
        for line, count in block.bad:
            why = f"{counted(count, 'cell')} for {wanted}" if count else _LOOSE
            unreadable.append(f"line {line} of {self.name} ({why})")
        if not block.text:
            return Chunk({}, 0, read, str, unreadable)
        with reading(self.path, "CSV"):
            frame = pd.read_csv(
                io.BytesIO("".join(block.text).encode()),  # four times smaller than StringIO
                sep=self.dialect.separator,
                decimal=self.dialect.decimal,
                header=None,
                names=names,
                usecols=None if columns is None else list(columns),
                dtype=self._as_is(names) or None,
                index_col=False,
                low_memory=False,
                na_values=["?"],
                skipinitialspace=True,
            )
            if len(frame) != len(block.text):
                raise ValueError(f"the quotes near line {block.lines[0]} do not match")
        cells = {name: cells_of(frame[name], self.dialect.decimal) for name in frame.columns}
        if self.mixed:
            for name, held in cells.items():
                held.series = frame[name]
        lines = block.lines
        return Chunk(
            cells, len(frame), read, lambda row: f"line {lines[row]} of {self.name}", unreadable
        )
