"""To which import set a row goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import ConfigError
from snow_assets.imports import flow
from snow_assets.imports.hashing import xxh64
from snow_assets.imports.workspace import Workspace
from snow_assets_tests.imports.loads import Imports, numbered


def staged(workspace: Workspace, config: ImportConfig) -> dict[int, list[dict[str, Any]]]:
    """The rows of each import set of a new load."""
    load = flow.stage(config, workspace, new=True)
    folder = workspace.folder(load)
    sets = workspace.books.sets(load)
    found = {each.set_no: pq.read_table(folder.staged(each.set_no)).to_pylist() for each in sets}
    assert {each.set_no: each.rows for each in sets} == {set_no: len(rows) for set_no, rows in found.items()}
    return found


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [row["sys_import_row"] for row in rows]


def test_the_documented_example_of_twenty_rows_in_four_sets(imports: Imports) -> None:
    config = imports.declare("people", numbered(20))
    with imports.open() as workspace:
        found = staged(workspace, config)
    assert {set_no: numbers(rows) for set_no, rows in found.items()} == {
        1: [1, 5, 9, 13, 17],
        2: [2, 6, 10, 14, 18],
        3: [3, 7, 11, 15, 19],
        4: [4, 8, 12, 16, 20],
    }
    assert found[1][1] == {
        "sys_import_row": 5, "sys_import_file": "people.csv", "sys_import_line": 6, "id": "k5", "name": "name 5",
    }  # fmt: skip


@pytest.mark.parametrize(("nodes", "most", "sets"), [(2, 10, 4), (10, 10, 10), (10, 30, 20), (1, 10, 2), (3, 5, 5)])
def test_two_nodes_make_four_sets_and_ten_nodes_ten(imports: Imports, nodes: int, most: int, sets: int) -> None:
    config = imports.declare("people", numbered(20), nodes=nodes, max_import_sets=most)
    with imports.open() as workspace:
        assert list(staged(workspace, config)) == list(range(1, sets + 1))


def test_rows_of_one_key_share_a_set_and_keep_their_order(imports: Imports) -> None:
    rows = [(f"k{i % 7}", f"{i}") for i in range(100)]
    config = imports.declare("people", rows, partition={"key": "id"}, nodes=3)
    with imports.open() as workspace:
        found = staged(workspace, config)
    where = {row["id"]: set_no for set_no, rows in found.items() for row in rows}
    for set_no, mine in found.items():
        assert numbers(mine) == sorted(numbers(mine))
        assert all(where[row["id"]] == set_no for row in mine)
    assert sorted(each for rows in found.values() for each in numbers(rows)) == list(range(1, 101))


def test_keys_go_where_they_went_in_every_version(imports: Imports) -> None:
    """By XXH64 of the lower case; these places must never change, or a load that is resumed would be torn."""
    rows = [("k1", ""), ("K1", ""), ("k2", ""), ("k3", ""), ("", ""), ("Ö", ""), ("ö", "")]
    config = imports.declare("people", rows, partition={"key": "id"}, nodes=5)
    with imports.open() as workspace:
        found = staged(workspace, config)
    assert {set_no: [row["id"] for row in rows] for set_no, rows in found.items()} == {
        2: ["k1", "K1", ""],
        3: ["k2", "k3"],
        5: ["Ö", "ö"],
    }


def test_a_key_may_be_an_expression_or_a_function(imports: Imports, tmp_path: Path) -> None:
    rows = [(f"{letter}-{i}", "") for i in range(6) for letter in "abc"]
    (tmp_path / "keys.py").write_text("def first(row):\n    return row['id'][0]\n")
    ways: list[dict[str, str]] = [{"sql": "split_part(id, '-', 1)"}, {"python": f"{tmp_path}/keys.py:first"}]
    found = []
    for way in ways:
        config = imports.declare("people", rows, partition={"key": way}, nodes=5)
        with imports.open() as workspace:
            found.append({set_no: numbers(rows) for set_no, rows in staged(workspace, config).items()})
    assert found[0] == found[1]
    assert sorted(map(len, found[0].values())) in ([6, 6, 6], [6, 12], [18])


def test_keys_stay_with_their_rows_whatever_order_an_expression_works_in(imports: Imports) -> None:
    rows = [(f"k{number}", str(number * 7 % 5)) for number in range(2_000)]
    window = "name || max(name) OVER (PARTITION BY name) -- the name twice"
    config = imports.declare("people", rows, partition={"key": {"sql": window}})
    with imports.open() as workspace:
        sets = staged(workspace, config)
    names = [{row["name"] for row in rows} for rows in sets.values()]
    assert sorted(name for each in names for name in each) == list("01234")  # each in one set


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("idd", r"partition.key.*'idd'.*no such column.*did you mean 'id'"),
        ({"sql": "lower(idd)"}, r"partition.key.sql 'lower\(idd\)': Binder Error"),
        ({"sql": "count(*)"}, r"gives no key for each row"),
        ({"sql": "unnest([1, 2])"}, r"gives no key for each row"),
        ({"python": "builtins:iter"}, r"partition.key.python 'builtins:iter': returns a dict_keyiterator"),
        ({"python": "keys.py:none"}, r"partition.key.python 'keys.py': cannot be read"),
        ({"python": "operator:truediv"}, r"partition.key.python 'operator:truediv': raises in row 1: TypeError"),
    ],
)
def test_a_key_that_cannot_be_had_is_refused_before_anything_is_written(
    imports: Imports, tmp_path: Path, key: Any, said: str
) -> None:
    config = imports.declare("people", numbered(5), partition={"key": key})
    with imports.open() as workspace:
        with pytest.raises(ConfigError, match=said):
            flow.stage(config, workspace)
        assert workspace.books.loads() == []
    assert not list(tmp_path.rglob("*.parquet"))


def test_sets_of_a_size_are_sealed_while_later_rows_load(imports: Imports) -> None:
    config = imports.declare("people", numbered(23), partition={"size": 10})
    seen: list[tuple[int, int, str, str]] = []
    with imports.open() as workspace:

        def sealed(load: Any, record: Any) -> None:
            assert workspace.folder(load).staged(record.set_no).exists()
            seen.append((record.set_no, record.rows, load.state, record.job.state))

        load = flow.stage(config, workspace, on_set=sealed)
        assert (load.state, load.staged) == ("loaded", 23)
    assert seen == [(1, 10, "loading", "pending"), (2, 10, "loading", "pending"), (3, 3, "loading", "pending")]


def test_sets_of_a_size_are_transformed_while_later_rows_load(
    imports: Imports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second set is sealed only when the first is applied: a transform after the load would wait for ever."""
    import threading

    from snow_assets.imports import staging

    applied = threading.Event()
    imports.declare("people", numbered(20), partition={"size": 10})
    seal = staging.SetFiles._seal

    def waits(self: staging.SetFiles, number: int) -> None:
        if number == 2:
            assert applied.wait(60)
        seal(self, number)

    monkeypatch.setattr(staging.SetFiles, "_seal", waits)
    with imports.open() as workspace:
        done = workspace.books.done

        def told(*arguments: Any) -> None:
            done(*arguments)
            applied.set()

        monkeypatch.setattr(workspace.books, "done", told)
        [finished] = flow.run_import(workspace, "people")
        assert finished.load.state == "processed"
        assert finished.load.last_job is not None
    assert imports.target("SELECT count(*) FROM people") == [(20,)]


def test_a_source_without_rows_has_one_empty_set_and_is_processed(imports: Imports) -> None:
    imports.declare("people", [])
    with imports.open() as workspace:
        [finished] = flow.run_import(workspace, "people")
        assert (finished.load.state, finished.load.staged, finished.counters.total) == ("processed", 0, 0)
        assert [each.rows for each in workspace.books.sets(finished.load)] == [0]


def test_many_texts_are_hashed_as_each_alone_is() -> None:
    texts = [("é" * length + "x" * rest).encode() for length in range(40) for rest in range(9)]
    several = pa.array([*texts, *texts[::7], None, b""], pa.large_binary())[5:]
    assert xxh64(several).tolist() == [xxhash.xxh64_intdigest(each.as_py() or b"") for each in several]
