"""`sesame score RUN FILE`"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sesame.cli.lines import read_lines
from sesame.cli.options import options_of
from sesame.cli.output import emit, table

SHOWN = 60
"""Characters of a line in the table."""


@dataclass(frozen=True)
class Score:
    """How probable each line of a file is to a model: log-likelihood (nats) and perplexity, and of all together.

    A GPT predicts every token from those before it; of a BERT it is the pseudo-log-likelihood, every token hidden in
    turn. Perplexity is a token's, so it compares models of one tokenizer only.
    """

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run, one of its checkpoints, a model folder, or the hub name of a model."""
    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """Text, UTF-8, one input a line."""
    stride: int = 0
    """A line that is longer than the model reads is read in windows that begin so many tokens after each other; each
    scores what no window before has. 0: half of what the model reads."""
    skip_empty: bool = False
    """Leave empty lines out (they are counted) in place of refusing them."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def score_command(argv: list[str]) -> int:
    options = options_of(Score, argv, "sesame score")
    lines, skipped = read_lines(options.file, options.skip_empty, "nothing has no probability")

    from sesame.engine.build import load
    from sesame.probes.prediction import Reader
    from sesame.probes.score import perplexity, score

    model = load(options.run)
    scored = score(model, lines, options.stride)
    total, tokens = sum(each.log_likelihood for each in scored), sum(each.tokens for each in scored)
    protocol = "log-likelihood" if Reader.of(model).causal else "pseudo-log-likelihood"
    result = {
        "run": options.run,
        "file": options.file,
        "measure": protocol,
        "lines": [
            {"text": text, "log_likelihood": each.log_likelihood, "tokens": each.tokens,
             "perplexity": each.perplexity, "windows": each.windows}
            for text, each in zip(lines, scored, strict=True)
        ],
        "skipped_empty_lines": skipped,
        "total": {"log_likelihood": total, "tokens": tokens, "perplexity": perplexity(total, tokens)},
    }  # fmt: skip
    rows = [
        (_short(text), each.tokens, each.log_likelihood, each.perplexity)
        for text, each in zip(lines, scored, strict=True)
    ]
    rows.append(("all", tokens, total, perplexity(total, tokens)))
    shown = table(str(options.file), ["line", "tokens", f"{protocol}, nats", "perplexity"], rows)
    emit("score", result, shown, as_json=options.json, path=options.result)
    return 0


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
