"""Read the tensors of a model folder: safetensors or `pytorch_model.bin`, whole or in shards."""

import json
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sesame.errors import UserError

LAYOUTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""In order of preference."""


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor in `folder`, by the name it has there, on the CPU.

    Raises UserError when there is no such file, a shard is missing, or a file is damaged or holds more than tensors.
    """
    for layout in LAYOUTS:
        if (folder / layout).is_file():
            return _read_shards(folder / layout) if layout.endswith(".json") else _read_file(folder / layout)
    others = sorted(p.name for p in folder.iterdir() if p.suffix in (".h5", ".msgpack", ".onnx", ".ckpt", ".gguf"))
    found = f", only {', '.join(others)}" if others else ""
    raise UserError(
        f"{folder}: no weights in a layout that Sesame reads{found}. It reads {', '.join(LAYOUTS)}: "
        "convert the model with the library that wrote it."
    )


def read_json(path: Path) -> dict:
    """The JSON object in `path`."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. A model folder holds config.json, weights and a tokenizer.") from None
    except (OSError, ValueError) as e:
        raise UserError(f"{path}: not readable as JSON ({e}). The file is damaged: fetch the model again.") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(value).__name__}. Fetch the model again.")
    return value


def _read_shards(index: Path) -> dict[str, Tensor]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise UserError(f"{index}: no weight_map from tensors to files. The index is damaged: fetch the model again.")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        if Path(shard).name != shard:
            raise UserError(f"{index}: shard {shard!r} lies outside the folder. Expected plain file names.")
        tensors |= _read_file(index.parent / shard)
    if lost := sorted(set(places) - set(tensors)):
        raise UserError(f"{index}: the shards lack {', '.join(lost)}. Fetch the model again.")
    return tensors


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{path}: the index names this shard, and it is not there. Fetch the model again.")
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except (SafetensorError, OSError, EOFError, RuntimeError) as e:
        raise UserError(f"{path}: damaged or cut short ({_first_line(e)}). Fetch the model again.") from None
    if strange := [str(k) for k, v in tensors.items() if not isinstance(v, Tensor)]:
        raise UserError(f"{path}: {', '.join(strange)} is no tensor. Expected a state dict: names and their tensors.")
    return tensors


def _load_pickle(path: Path) -> dict:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise UserError(
            f"{path}: not a pickle of tensors alone, and anything else in it could run code ({_first_line(e)}). "
            "If you trust it, open it with the library that wrote it and save it again as safetensors."
        ) from None
    if not isinstance(tensors, dict):
        raise UserError(
            f"{path}: expected a state dict, found {type(tensors).__name__}. Save model.state_dict() instead."
        )
    return tensors


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
