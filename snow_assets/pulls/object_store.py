"""A landing in an object store (``s3://``, ``gs://``, ``az://``, ...), by the extra ``[cloud]``."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.exceptions import AlreadyExistsError
from obstore.store import from_url

from snow_assets.errors import LandingError


class ObjectStore:
    """An object store by URL (``s3://``, ``gs://``, ``az://``, ...). One upload commits a file.

    Credentials come from the store's usual environment variables; see the documentation of ``obstore``.
    """

    def __init__(self, url: str) -> None:
        self.location = url.rstrip("/")
        self.delta_location = self.location
        self.retries = 5  # of one request, by obstore, with its own waits

    @cached_property
    def _store(self) -> Any:
        try:
            return from_url(self.location, retry_config={"max_retries": self.retries})
        except Exception as error:  # noqa: BLE001 - each kind of store raises its own
            raise self._unusable(error) from None

    def check_writable(self) -> None:
        """See ``Store``. Lists the landing, which proves that the store is reached and the credentials work."""
        self.list("")

    def list(self, folder: str) -> list[str]:
        """See ``Store``."""
        prefix = folder.strip("/")
        try:
            found = obstore.list_with_delimiter(self._store, prefix or None)
        except Exception as error:  # noqa: BLE001 - each kind of store raises its own
            raise self._unusable(error) from None
        names = [last_name(entry["path"]) for entry in found["objects"]]
        names += [last_name(path) + "/" for path in found["common_prefixes"]]
        return sorted(name for name in names if not name.startswith("."))

    def read(self, path: str) -> bytes:
        """See ``Store``."""
        return bytes(obstore.get(self._store, path).bytes())

    def write(self, path: str, content: bytes) -> None:
        """See ``Store``."""
        obstore.put(self._store, path, content)

    def create(self, path: str, content: bytes) -> None:
        """See ``Store``."""
        try:
            obstore.put(self._store, path, content, mode="create")
        except AlreadyExistsError as error:
            raise FileExistsError(path) from error
        except Exception as error:  # noqa: BLE001 - each kind of store raises its own
            raise self._unusable(error) from None

    def scratch(self, path: str) -> Path:
        """See ``Store``."""
        return Path(tempfile.gettempdir()) / f"snow_assets-{os.getpid()}-{uuid4().hex[:8]}-{last_name(path)}"

    def commit(self, scratch: Path, path: str) -> None:
        """See ``Store``."""
        try:
            obstore.put(self._store, path, scratch, mode="create")
        except AlreadyExistsError as error:
            raise FileExistsError(path) from error
        scratch.unlink()

    def replace(self, scratch: Path, path: str) -> None:
        """See ``Store``."""
        obstore.put(self._store, path, scratch)
        scratch.unlink()

    def chunks(self, path: str) -> Iterator[bytes]:
        """See ``Store``."""
        for chunk in obstore.get(self._store, path).stream(min_chunk_size=1 << 20):
            yield bytes(chunk)

    def remove(self, path: str) -> None:
        """See ``Store``."""
        with suppress(FileNotFoundError):
            obstore.delete(self._store, path)

    def remove_scratch(self, folder: str = "") -> None:
        """See ``Store``. Scratch files lie in the temporary folder of the machine that made them."""

    def parquet(self, path: str) -> pq.ParquetFile:
        """See ``Store``."""
        source = pa.PythonFile(_RangeReader(self._store, path), mode="r")
        return pq.ParquetFile(source, page_checksum_verification=True)

    def size(self, path: str) -> int:
        """See ``Store``."""
        return int(obstore.head(self._store, path)["size"])

    def sizes(self, folder: str) -> dict[str, int]:
        """See ``Store``."""
        prefix = folder.strip("/")
        try:
            batches = list(obstore.list(self._store, f"{prefix}/" if prefix else None))
        except Exception as error:  # noqa: BLE001 - each kind of store raises its own
            raise self._unusable(error) from None
        return {entry["path"]: int(entry["size"]) for batch in batches for entry in batch}

    def uri(self, path: str) -> str:
        """See ``Store``."""
        return f"{self.location}/{path}"

    def set_aside(self, path: str) -> str:
        """See ``Store``."""
        aside = f"{path}.damaged"
        obstore.rename(self._store, path, aside)
        return aside

    def remove_folder(self, folder: str) -> None:
        """See ``Store``. What names the folder a plan goes last: a kill leaves a plan that can be removed again."""
        last: list[str] = []
        for batch in obstore.list(self._store, folder.strip("/") + "/"):
            paths = [entry["path"] for entry in batch]
            last += [path for path in paths if last_name(path) == "plan.json"]
            obstore.delete(self._store, [path for path in paths if path not in last])
        obstore.delete(self._store, last)

    def _unusable(self, error: Exception) -> LandingError:
        return LandingError(
            f"the object store cannot be used ({type(error).__name__})",
            key="data",
            value=self.location,
            hint="check the URL and the store's environment variables",
        )


class _RangeReader(io.RawIOBase):
    """A seekable file of range requests, so that a footer costs two small ones and not the whole file."""

    def __init__(self, store: Any, path: str) -> None:
        self._store = store
        self._path = path
        self._at = 0
        self._size = int(obstore.head(store, path)["size"])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        content = bytes(obstore.get_range(self._store, self._path, start=self._at, end=end))
        self._at += len(content)
        return content


def last_name(path: str) -> str:
    """The last part of a path."""
    return path.rstrip("/").rpartition("/")[2]
