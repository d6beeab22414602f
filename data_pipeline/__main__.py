"""``python -m data_pipeline CONFIG``: ingest the listings and fetch the tiles, without torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.ingest_text import describe_ingest
from data_pipeline.plan import plan_tiles
from data_pipeline.steps import TilesReport, ingest, tiles
from db.markets import claim_market
from db.session import open_database
from housevis.core.config import load_config
from housevis.core.engine import open_runner
from housevis.core.errors import HousevisError
from housevis.core.storage import explained_disk_errors, sole_writer
from housevis.core.workspace import Workspace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both steps; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m data_pipeline", description="Ingest listings and fetch aerial tiles (for analysts)."
    )
    parser.add_argument("config", type=Path, help="configuration file (TOML)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the workspaces")
    parser.add_argument(
        "--i-have-rights", metavar="REFERENCE", help="your own licence for imagery that is not open"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="work on the workers of the Dask scheduler at this address"
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="only say what fetching would take, in tiles, bytes, time and money",
    )
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.i_have_rights:
            imagery = config.imagery.model_copy(update={"rights_reference": options.i_have_rights})
            config = config.model_copy(update={"imagery": imagery})
        if options.scheduler:
            config = config.model_copy(update={"engine": "dask", "scheduler": options.scheduler})
        workspace = Workspace(options.runs / config.name)
        with explained_disk_errors(workspace.folder), sole_writer(workspace.folder):
            engine = open_database(config.database or workspace.database)
            claim_market(engine, config.name)
            with open_runner(config) as runner:
                print(describe_ingest(ingest(config, workspace, engine, runner)), flush=True)
                if not config.uses_pictures:
                    print("tiles: nothing to do, the configuration uses no pictures")
                    return 0
                if options.plan:
                    print("\n".join(plan_tiles(config, workspace, engine).lines()), flush=True)
                    return 0
                print(describe_tiles(tiles(config, workspace, engine, runner)), flush=True)
    except HousevisError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    except KeyboardInterrupt:
        print("Interrupted; what was fetched stays. Run the command again to go on.", file=sys.stderr)
        return 130
    return 0


def describe_tiles(report: TilesReport) -> str:
    """The counts of `tiles`, as lines for a reader."""
    lines = [
        f"{report.unit}: {report.needed} needed = {report.ok} ok + {report.blank} blank"
        f" + {report.missing} missing + {report.failed} failed; {report.fetched} fetched"
        + (" (nothing left to do)" if report.skipped else f" in {report.seconds:.1f} s")
    ]
    lines += [f"  failed {cause}: {count}" for cause, count in sorted(report.errors.items())]
    if report.attribution:
        lines.append(f"  imagery: {report.attribution}")
    if report.rights_reference:
        lines.append(f"  rights: {report.rights_reference}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
