"""Start a run, or go on with one: what happens before and after the training loop."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
from jaxtyping import Float
from torch import Tensor

from sesame.config import Recipe
from sesame.data import open_data
from sesame.data.tokenizer import Vocabulary
from sesame.engine import build as building
from sesame.engine import hooks, machine, products
from sesame.engine.distributed import Team
from sesame.engine.loop import Hook, pretrain
from sesame.engine.plan import plan
from sesame.engine.run import Config, Run, check_free
from sesame.engine.signals import StopSignal
from sesame.errors import UserError
from sesame.interop import Published
from sesame.models import fitting
from sesame.pretext import word_vectors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """How a sitting of training ended."""

    run: Run
    stop: StopSignal
    first: bool
    """This is the first process, the one that writes and speaks."""


def start(
    recipe: Recipe,
    out: Path | str,
    origin: str = "",
    shows: Sequence[hooks.Show] = (),
    extra: Sequence[Hook] = (),
) -> Ended:
    """Train `recipe` (which names its data) into the new run folder `out`, from the weights of `origin` if given.

    `shows` are told of every event. `extra` hooks (probes) are called with the standard ones, before a checkpoint is
    saved: a run that goes on from it has missed none of them.
    """
    out = Path(out)
    device = machine.device_of(recipe)
    team = Team.join(device)
    if team.rank == 0:
        check_free(out, recipe)
    data = open_data(recipe.data)
    weights = None
    if origin:
        recipe, weights = adopt(recipe, data, origin)
    recipe = building.freeze(recipe, data)
    recipe = plan(msgspec.structs.replace(recipe, products=products.chosen(recipe, team)), data, out)
    config = Config(
        recipe=recipe, machine=_conditions(recipe, team, data), data=building.identity_of(data), origin=origin
    )
    run = Run.create(out, config, building.vocabulary_of(data)) if team.rank == 0 else Run(out, config)
    try:
        return _go(run, team, data, weights, shows, extra)
    except UserError:
        if team.rank == 0 and (said := run.state()) and not said.step and run.newest(weights_only=True) is None:
            with suppress(UserError):  # another process has taken the name meanwhile
                run.discard()
        raise


def resume(
    path: Path | str, inexact: bool = False, shows: Sequence[hooks.Show] = (), extra: Sequence[Hook] = ()
) -> Ended:
    """Go on with a run exactly where it stopped.

    Raises UserError where the machine, torch or the data are not those it was started with: the weights would then
    not be those of an undisturbed run. `inexact` goes on all the same, saying so.
    """
    run = Run.open(path)
    recipe = run.recipe
    if (said := run.state()) and said.state == "imported":
        raise UserError(
            f"{run.path} is an imported model, which never was in training. Train it further as a run of its own: "
            f"sesame pretrain RECIPE --from {run.path} --data SOURCE… --out RUN"
        )
    team = Team.join(machine.device_of(recipe))
    if team.rank == 0:
        run.lock()
    data = open_data(recipe.data)
    then, now = run.config.machine, _conditions(recipe, team, data)
    changed = [
        f"{key}: {then.get(key, 'none')} then, {now.get(key, 'none')} now"
        for key in then | now
        if then.get(key) != now.get(key)
    ]
    if other := building.altered(data, run.config.data):
        changed.append(other)
    if changed and not inexact:
        raise UserError(
            f"{run.path} was started under other conditions ({'; '.join(changed)}), so going on would not give the "
            "weights of an undisturbed run. Restore them, or pass --inexact to go on all the same."
        )
    if changed:
        log.warning("going on under other conditions: %s. The result is not exact to the bit.", "; ".join(changed))
    weights = adopt(recipe, data, run.config.origin)[1] if run.config.origin and run.newest(True) is None else None
    return _go(run, team, data, weights, shows, extra)


def _conditions(recipe: Recipe, team: Team, data: Any) -> dict[str, str]:
    """What the bits of the weights depend on besides recipe and data."""
    return machine.fingerprint(recipe, team.world) | building.libraries_of(data)


def _go(
    run: Run,
    team: Team,
    data: Any,
    weights: dict[str, Tensor] | None,
    shows: Sequence[hooks.Show],
    extra: Sequence[Hook],
) -> Ended:
    try:
        *before, save = hooks.standard(*shows)
        stop = pretrain(run, data, [*before, *extra, save], weights)
    finally:
        run.close()
    team.leave()
    return Ended(run, stop, team.rank == 0)


def adopt(recipe: Recipe, data: Any, origin: str) -> tuple[Recipe, dict[str, Tensor]]:
    """The recipe with the backbone of `origin` (a run, a model folder, a hub name), and weights to begin from.

    Of word vectors only the first embeddings come. Dropout stays the recipe's. Heads that `origin` does not have are
    fresh, and it is said. Raises UserError where the data were prepared with another tokenizer.
    """
    model = building.load(origin)
    vocabulary = building.vocabulary_of(data)
    if model.vocabulary is not None and vocabulary is not None and model.vocabulary.hash != vocabulary.hash:
        raise UserError(
            f"the data were prepared with another tokenizer than {origin} was trained with, so its embeddings would "
            f"mean nothing. Prepare them with: sesame data prepare SOURCE… --tokenizer {origin} --out DIR"
        )
    theirs: Any = model.objective.backbone.config
    ours: Any = recipe.backbone
    vectors = model.objective.backbone.token_vectors
    if vectors is not None and not isinstance(ours, type(theirs)):
        return with_first_embeddings(recipe, data, vectors, origin)
    kept = {}
    if isinstance(ours, type(theirs)):
        kept = {name: getattr(ours, name) for name in ("dropout", "attention_dropout") if hasattr(ours, name)}
    recipe = msgspec.structs.replace(recipe, backbone=msgspec.structs.replace(theirs, **kept))
    objective = building.build(recipe, data)
    task: Any = model.objective.pretext.config
    state, words = model.objective.state_dict(), cast(Vocabulary, vocabulary)  # images have none, and none is read
    Published(Path(origin), theirs, task, state, words, left_out=()).load_into(objective)
    return recipe, objective.state_dict()


def with_first_embeddings(
    recipe: Recipe, data: Any, vectors: Float[Tensor, "vocab width"], origin: str
) -> tuple[Recipe, dict[str, Tensor]]:
    """The recipe as it is, and fresh weights whose token embeddings are the `vectors` of `origin`. Raises UserError
    where it has no such embeddings, or they have another width."""
    recipe = msgspec.structs.replace(recipe, backbone=fitting.sized(recipe.backbone, {"vocab": len(vectors)}))
    objective = building.build(recipe, data)
    word_vectors.begin(objective, objective.pretext.prepare(data), vectors, origin)
    return recipe, objective.state_dict()
