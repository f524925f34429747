"""Sesame: self-supervised learning on your own text, images and speech.

The public names, each imported when it is first used, so that `import sesame` is instant.

    sesame.prepare(["my-texts/"], "data")
    model = sesame.pretrain("bert-tiny", "data", "run", max_minutes=30)
    sesame.fill(model, "Return the [MASK] of the list.")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sesame import recipes as recipes
    from sesame.api import pretrain as pretrain
    from sesame.api import resume as resume
    from sesame.config import Recipe as Recipe
    from sesame.data.prepare import prepare as prepare
    from sesame.engine.build import Model as Model
    from sesame.engine.build import load as load
    from sesame.engine.exchange import export_model as export_model
    from sesame.engine.exchange import import_model as import_model
    from sesame.errors import UserError as UserError
    from sesame.health.examine import doctor as doctor
    from sesame.probes.score import score as score
    from sesame.probes.watch import watch as watch
    from sesame.tasks.embed import embed as embed
    from sesame.tasks.embed import embed_tokens as embed_tokens
    from sesame.tasks.fill import fill as fill
    from sesame.tasks.folder import finetune as finetune
    from sesame.tasks.generate import generate as generate
    from sesame.tasks.opening import open_task as open_task
    from sesame.tasks.tuned import open_tuned as open_tuned

_WHERE = {
    "prepare": "sesame.data.prepare",
    "pretrain": "sesame.api",
    "resume": "sesame.api",
    "load": "sesame.engine.build",
    "import_model": "sesame.engine.exchange",
    "export_model": "sesame.engine.exchange",
    "fill": "sesame.tasks.fill",
    "generate": "sesame.tasks.generate",
    "score": "sesame.probes.score",
    "embed": "sesame.tasks.embed",
    "embed_tokens": "sesame.tasks.embed",
    "open_task": "sesame.tasks.opening",
    "finetune": "sesame.tasks.folder",
    "open_tuned": "sesame.tasks.tuned",
    "watch": "sesame.probes.watch",
    "doctor": "sesame.health.examine",
    "Model": "sesame.engine.build",
    "Recipe": "sesame.config",
    "UserError": "sesame.errors",
}

__all__ = ["recipes", *_WHERE]


def __getattr__(name: str) -> Any:
    if name == "recipes":
        return importlib.import_module("sesame.recipes")
    if name not in _WHERE:
        raise AttributeError(f"module 'sesame' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
