"""How a published model is to write: `generation_config.json`, read as settings of ours and kept for the way back."""

import json
import logging
from pathlib import Path
from typing import Any

import msgspec

from sesame.config import Generate
from sesame.errors import UserError
from sesame.interop.tensors import read_json

log = logging.getLogger(__name__)

NAME = "generation_config.json"
DRAWING = ("temperature", "top_k", "top_p", "min_p")
_OURS = {"num_beams": "beams", "max_new_tokens": "max_tokens"} | {
    name: name for name in ("length_penalty", "repetition_penalty", *DRAWING)
}
_DRAWS = {"temperature": 1.0, "top_k": 50}
"""How `transformers` draws where a file says no more than that it does."""
_ELSEWHERE = ("do_sample", "num_return_sequences", "max_length")
"""Read here by other means, or said by the command."""
_BEGINS = "decoder_start_token_id"
"""Said of an encoder-decoder alone."""
_IDLE = {"no_repeat_ngram_size": 0, "min_length": 0, "min_new_tokens": 0, "use_cache": True, "num_beam_groups": 1}
"""What may also stand there, with the value that changes nothing; what is off changes nothing either."""


def settings_in(folder: Path) -> Generate | None:
    """What `folder` says of writing, the rest by default; None where it says nothing.

    Beams and draws are told apart as in `transformers`, by `do_sample`: without it nothing is drawn. A file that has
    the ids of tokens alone says nothing. What is not known here is left out, and a warning names it, ids too by which a
    text would begin or end in another way than here. Raises UserError for a value that cannot be.
    """
    if not (folder / NAME).is_file():
        return None
    says = {name: value for name, value in read_json(folder / NAME).items() if value is not None}
    known = {ours: says[name] for name, ours in _OURS.items() if name in says}
    if _BEGINS in says and isinstance(says.get("max_length"), int):  # counts the token that the decoder begins with
        known.setdefault("max_tokens", says["max_length"] - 1)
    draws = says.get("do_sample", False) and known.get("temperature") != 0
    searches = known.get("beams", 1) != 1
    found = {name: value for name, value in known.items() if name not in DRAWING}
    if draws and not searches:
        found = _DRAWS | known
    elif not searches and (known or "do_sample" in says):
        found["temperature"] = 0.0
    unknown = [name for name in says if name not in _OURS and name not in _ELSEWHERE and _matters(name, says[name])]
    unknown += _other_tokens(says)
    if draws and searches:
        unknown.append("do_sample with num_beams")
    if unknown:
        log.warning("%s: left out, as it is not known here: %s", folder / NAME, ", ".join(unknown))
    try:
        return msgspec.convert(found, Generate) if found else None
    except msgspec.ValidationError as error:
        raise UserError(f"{folder / NAME}: {error}.") from None


def _matters(name: str, value: Any) -> bool:
    said_elsewhere = name.startswith("_") or name.endswith(("_token_id", "_version"))
    return not (said_elsewhere or value is False or _IDLE.get(name, ...) == value)


def _other_tokens(says: dict[str, Any]) -> list[str]:
    """The ids that are not followed here: a decoder begins with the end token or with the padding (as BART's, as T5's),
    no first token is forced on it, and one token ends a text."""
    said = says.get("eos_token_id")
    ends = said if isinstance(said, list) else [said]
    followed = {
        "forced_bos_token_id": False,
        "forced_eos_token_id": says.get("forced_eos_token_id") in ends,
        _BEGINS: says.get(_BEGINS) in (*ends, says.get("pad_token_id")),
        "eos_token_id": len(ends) == 1,
    }
    return [name for name, so in followed.items() if name in says and not so]


def merged(folder: Path | None, special: dict[str, int]) -> str:
    """The file's content: what `folder` says, with the ids of special tokens as `special` has them. Where these are
    others, a warning says so."""
    kept = read_json(folder / NAME) if folder is not None and (folder / NAME).is_file() else {}
    others = [f"{name} {kept[name]} (now {own})" for name, own in special.items() if kept.get(name) not in (own, None)]
    if others:
        log.warning("%s: not kept, as here the model uses other tokens: %s", NAME, ", ".join(others))
    return json.dumps(kept | special, indent=2) + "\n"
