"""The entry point of ``snow-assets``: the commands, and how each of them ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from snow_assets.cli.commands import Commands
from snow_assets.cli.failures import Reported, Signals, report_failure, report_signal

# Command -> module below snow_assets.cli that holds a click command of that name, and its line in --help.
# Modules are imported when their command runs, so that --help is quick and imports nothing else.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Start a working folder: pulls.yaml and what belongs beside it."),
    "validate": ("validate", "Check pulls.yaml; no network."),
    "check": ("check", "Reach the instance: who we are, and what can be read."),
    "plan": ("plan", "Show what a pull would ask for; fetches nothing."),
    "pull": ("pull", "Plan, land, reconcile and publish pulls."),
    "status": ("status", "Show where pulls stand."),
    "files": ("files", "Print the Parquet files that hold the published rows."),
    "table": ("table", "Print where the Delta table lies, and how to read it."),
    "sql": ("sql", "Query the published rows."),
    "jsonl": ("jsonl", "Write the raw records, one JSON object per line."),
    "dbt-vars": ("dbt_vars", "Print what dbt is told when it is run by hand."),
    "prune": ("prune", "Remove what is older than a pull keeps."),
    "compact": ("prune", "Make the small files of a delta pull few."),
    "corpus": ("corpus", "Write the published rows as files for other programs."),
    "documents": ("documents", "Write the rows as documents, and what changed since the last time."),
    "graph": ("graph", "Export, or walk, the CIs and relations of a pull of cmdb_rel_ci."),
    "attachments": ("attachments", "List and fetch the files attached to the rows."),
    "imports": ("imports", "Run imports, and show where they stand."),
    "count": ("count", "Count the rows of a table at the instance."),
    "simulate": ("simulate", "Run an embedded ServiceNow instance in the foreground."),
    "demo": ("demo", "See all of it at work on an embedded instance."),
}


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from snow_assets import __version__

        click.echo(f"snow-assets {__version__}")
        ctx.exit()


@click.group(
    cls=Commands,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print it.")
def snow_assets() -> None:
    """Pull ServiceNow tables completely, and publish them as Delta Lake tables.

    Start with: snow-assets demo, or snow-assets init in an empty folder.
    """


def _stays(given: Sequence[str]) -> str:
    """What becomes of the work of a command that a signal ended."""
    if "pull" in given:
        return "what has landed stays, and the next pull goes on from there"
    if given[:1] == ["imports"] and {"run", "resume", "reprocess"} & set(given):
        return "import sets that are applied stay; go on with: snow-assets imports resume NAME"
    return ""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    signals = Signals()
    with signals.watched():
        try:
            code = snow_assets.main(given, prog_name="snow-assets", standalone_mode=False)
            sys.stdout.flush()
        except Reported as reported:
            return reported.exit_code
        except (KeyboardInterrupt, click.Abort):
            return report_signal(signals.exit_code(), as_json=as_json, hint=_stays(given))
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return 2
        except BrokenPipeError:  # whoever read stdout has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as error:  # noqa: BLE001 - the last boundary: a line, never a traceback
            return report_failure(error, as_json=as_json)
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
