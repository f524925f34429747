"""Checkpoints in and out of other libraries' layouts."""

from sesame.interop.generation import settings_in
from sesame.interop.hub import locate
from sesame.interop.model_folder import Published, obstacle, open_model, save_model
from sesame.interop.published import ready

__all__ = ["Published", "locate", "obstacle", "open_model", "ready", "save_model", "settings_in"]
