"""`sesame doctor RUN…`"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit, table
from sesame.errors import UserError


@dataclass(frozen=True)
class Doctor:
    """Is this run healthy? Its loss, gradients and states against what is expected, a verdict, and what to try.

    It may be running, finished or stopped. Nothing is changed in its folder.
    """

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN…")]
    """Run folders, or single checkpoints of them (RUN/checkpoints/step-00001000)."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def doctor_command(argv: list[str]) -> int:
    options = options_of(Doctor, argv, "sesame doctor")
    if not options.runs:
        raise UserError("which run? Name one: sesame doctor RUN. `sesame runs` lists them.")
    from sesame.health.examine import doctor

    shown: list[Any] = []
    found = [doctor(run) for run in options.runs]
    for each in found:
        title = f"{each.run}: {each.recipe}, {each.progress}, step {each.step:,} of {each.steps:,}"
        rows = [(check.name, check.state, check.reading, check.expected or None) for check in each.checks]
        shown += [table(title, ["check", "", "reading", "expected"], rows), each.verdict]
        shown += [f"To try ({name}): {advice}" for name, advice in each.advice]
    emit("doctor", {"runs": [asdict(each) for each in found]}, *shown, as_json=options.json, path=None)
    return 0
