"""Where imports keep what they stage and write: a folder per load below ``<data>/import-sets/<import>/``.

::

    import-sets/
      imports.db                        the books (`tables`), unless they are in another database
      people/
        20261121T020000Z/               a load
          staging/0001.parquet          an import set, as it was staged: whole or absent
          errors.parquet                rows of the source that could not be read
          mapped/0001-<attempt>.parquet an import set, mapped; gone once it is applied
          rows/0001-<attempt>.parquet   what became of each row; the target names the attempt that counts
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = "import-sets"


@dataclass(frozen=True)
class LoadFolder:
    """The folder of one load. Nothing is made before the first write."""

    path: Path

    def staged(self, set_no: int) -> Path:
        """The Parquet file of an import set, numbered from 1."""
        return self.path / "staging" / f"{set_no:04d}.parquet"

    def mapped(self, set_no: int, attempt: str) -> Path:
        """The set as one attempt mapped it."""
        return self.path / "mapped" / f"{set_no:04d}-{attempt}.parquet"

    def rows(self, set_no: int, attempt: str) -> Path:
        """What became of the rows of the set in one attempt."""
        return self.path / "rows" / f"{set_no:04d}-{attempt}.parquet"

    def lock(self, set_no: int) -> Path:
        """Locked while the set is transformed: a job that runs and whose lock is free is dead."""
        return self.path / f".{set_no:04d}.lock"

    @property
    def errors(self) -> Path:
        """Rows of the source that could not be read."""
        return self.path / "errors.parquet"


@dataclass(frozen=True)
class Home:
    """The folder of all imports."""

    root: Path

    @property
    def books(self) -> Path:
        """The SQLite file of the books."""
        return self.root / "imports.db"

    def lock(self, name: str) -> Path:
        """Locked while the import ``name`` loads: loads of one import never overlap."""
        return self.root / name / ".load.lock"

    def load(self, name: str, load_id: str) -> LoadFolder:
        """The folder of one load of the import ``name``."""
        return LoadFolder(self.root / name / load_id)


def partition_key(load_id: str, set_no: int) -> str:
    """The name of an import set among the partitions of its import: ``<load id>/0001``."""
    return f"{load_id}/{set_no:04d}"


def load_of(key: str) -> str:
    """The load id in a partition key."""
    return key.split("/", 1)[0]
