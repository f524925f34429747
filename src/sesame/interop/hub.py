"""Where a model lies: a folder, or a name on the Hugging Face hub that is fetched into its cache."""

from pathlib import Path

from sesame.errors import UserError

_TEXTS = ["config.json", "tokenizer*", "vocab.txt", "special_tokens_map.json", "added_tokens.json"]


def locate(model: str) -> Path:
    """The folder of `model`: that path itself, or the hub's snapshot of that name (fetched once, then from the cache).

    Raises UserError when it is neither, or the hub cannot be reached and the cache does not have it.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.exists() or model.startswith((".", "/", "~")) or model.count("/") > 1:
        found = "a file" if path.exists() else "no such folder"
        raise UserError(f"{model}: {found}. Expected a model folder (config.json, weights, tokenizer) or a hub name.")
    from huggingface_hub import snapshot_download  # costs almost a second, and a folder needs none of it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model, allow_patterns=[*_TEXTS, "model*.safetensors*"]))
        if not any(folder.glob("model*.safetensors*")):
            folder = Path(snapshot_download(model, allow_patterns=[*_TEXTS, "pytorch_model*.bin*"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as e:
        raise UserError(
            f"{model}: no folder of that name here, and the hub did not give it ({str(e).splitlines()[0]}). "
            "Check the name; without a network, download the model elsewhere and give the path of its folder."
        ) from None
    return folder
