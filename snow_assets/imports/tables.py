"""The books: tables with the platform's names, states and columns, in SQLite or PostgreSQL.

Runs write them, people and programs read them. Rows of import sets (sys_import_set_row, ..._row_error) are Parquet
files beside the staging (`home`), since there are millions of them; `books_view` shows them as tables, too.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA: Final = MetaData()

LOADS: Final = Table(
    "sys_concurrent_import_set",
    METADATA,
    Column("number", String(40), primary_key=True),  # CISET0000001
    Column("scheduled_import", String(100), nullable=False),
    Column("load_id", String(40), nullable=False),
    Column("sys_id", String(32), nullable=False),  # drawn: loads of two sets of books may have one load id
    Column("table_name", String(80), nullable=False),  # the staging table
    Column("partition", String(20), nullable=False),  # round_robin, key, size
    Column("state", String(20), nullable=False),  # loading, loaded, processed, error, cancelled
    Column("sys_domain", String(100), nullable=False),
    Column("execution_context", String(40)),
    Column("definition", Text, nullable=False),  # the declaration as it was when the load began, as JSON
    Column("staged", BigInteger, nullable=False, default=0),  # rows in import sets
    Column("rejected", BigInteger, nullable=False, default=0),  # rows of the source that could not be read
    Column("last_job", String(40)),  # the transformer job that ended last: it starts what follows
    Column("error", Text),
    Column("sys_created_on", DateTime, nullable=False),
    Column("load_completed", DateTime),
    Column("completed", DateTime),
    UniqueConstraint("scheduled_import", "load_id"),
)

SETS: Final = Table(
    "sys_import_set",
    METADATA,
    Column("number", String(40), primary_key=True),  # ISET0000001
    Column("concurrent_import_set", String(40), nullable=False, index=True),
    Column("set_no", Integer, nullable=False),  # from 1, in its load
    Column("partition_key", String(60), nullable=False),  # of the asset: <load id>/0001
    Column("state", String(20), nullable=False),  # loading, loaded, processed, error, cancelled
    Column("table_name", String(80), nullable=False),
    Column("max_row_id", BigInteger, nullable=False),  # staged rows
    Column("load_completed", DateTime),
    UniqueConstraint("concurrent_import_set", "set_no"),
)

JOBS: Final = Table(
    "sys_concurrent_import_set_job",
    METADATA,
    Column("number", String(40), primary_key=True),  # CISJ0000001
    Column("import_set", String(40), nullable=False, index=True),
    Column("concurrent_import_set", String(40), nullable=False, index=True),
    Column("scheduled_import", String(100), nullable=False),
    Column("execution_context", String(40)),
    Column("type", String(20), nullable=False),  # regular, reprocessing, resuming
    Column("state", String(20), nullable=False),  # pending, running, completed, error
    Column("synchronize_inserts", Boolean, nullable=False),
    Column("run_after", String(40)),  # another job
    Column("retry_count", Integer, nullable=False, default=0),
    Column("worker", String(200)),  # who runs it: a Dagster run, a process
    Column("error", Text),
    Column("sys_created_on", DateTime, nullable=False),
    Column("started", DateTime),
    Column("completed", DateTime),
)

RUNS: Final = Table(
    "sys_import_set_run",
    METADATA,
    Column("number", String(40), primary_key=True),  # ISR0000001
    Column("set", String(40), nullable=False, index=True),
    Column("concurrent_import_set", String(40), nullable=False, index=True),
    Column("job", String(40), nullable=False),
    Column("state", String(20), nullable=False),  # running, complete, complete_with_errors, error
    Column("attempt", String(40)),  # names the file of its rows
    Column("total", BigInteger, nullable=False, default=0),
    Column("processed", BigInteger, nullable=False, default=0),
    Column("inserts", BigInteger, nullable=False, default=0),
    Column("updates", BigInteger, nullable=False, default=0),
    Column("ignored", BigInteger, nullable=False, default=0),
    Column("skipped", BigInteger, nullable=False, default=0),
    Column("errors", BigInteger, nullable=False, default=0),
    Column("sys_created_on", DateTime, nullable=False),
    Column("completed", DateTime),
    Column("run_time", Float),  # seconds
)

PLANS: Final = Table(
    "sys_execution_plan",
    METADATA,
    Column("execution_context", String(40), primary_key=True),
    Column("position", Integer, primary_key=True),  # from 0: what runs after what
    Column("scheduled_import", String(100), nullable=False),
    Column("parent", String(100)),
    Column("order", Integer, nullable=False),
    Column("depth", Integer, nullable=False),
)

CONTEXTS: Final = Table(
    "sys_execution_context",
    METADATA,
    Column("number", String(40), primary_key=True),  # EXEC0000001
    Column("scheduled_import", String(100), nullable=False),  # the parent of all
    Column("next_import", String(100)),
    Column("next_position", Integer),
    Column("state", String(20), nullable=False),  # running, completed, error
    Column("sys_created_on", DateTime, nullable=False),
    Column("completed", DateTime),
)

EXECUTIONS: Final = Table(
    "sys_import_set_execution",
    METADATA,
    Column("execution_context", String(40), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("scheduled_import", String(100), nullable=False),
    Column("concurrent_import_set", String(40)),
    Column("table", String(80)),
    Column("state", String(20), nullable=False),  # pending, running, completed, error, cancelled
    Column("started_by", String(40)),  # the last transformer job of the import before
    Column("released", DateTime),  # since when it may start
    Column("started", DateTime),
    Column("completed", DateTime),
)

NUMBERS: Final = Table(
    "sys_number_counter",
    METADATA,
    Column("prefix", String(10), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
