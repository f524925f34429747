"""Where a model lies: a folder, or a name on the Hugging Face hub that is fetched into its cache."""

from pathlib import Path

from sesame.errors import UserError

_TEXTS = ["*config.json", "tokenizer*", "vocab.txt", "special_tokens_map.json", "added_tokens.json"]


def locate(model: str) -> Path:
    """The folder of `model`: that path itself, or the hub's snapshot of that name (fetched once, then from the cache).

    NAME@REVISION is another than the newest. Raises UserError when it is neither, or the hub cannot be reached and the
    cache does not have it.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    _check_name(model)
    from huggingface_hub import snapshot_download  # costs almost a second, and a folder needs none of it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = model.partition("@")
    try:
        folder = Path(
            snapshot_download(name, revision=revision or None, allow_patterns=[*_TEXTS, "model*.safetensors*"])
        )
        if not any(folder.glob("model*.safetensors*")):
            snapshot_download(name, revision=revision or None, allow_patterns=[*_TEXTS, "pytorch_model*.bin*"])
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as e:
        raise UserError(
            f"{model}: no folder of that name here, and the hub did not give it ({str(e).splitlines()[0]}). "
            "Check the name; without a network, download the model elsewhere and give the path of its folder."
        ) from None
    return folder


def revisions(model: str) -> list[tuple[str, str]]:
    """(name, commit) of every branch and tag of a model on the hub, and of the models whose names go on from its own
    with `-step`. Without a network, of those in the cache. Raises UserError where neither knows the model.
    """
    _check_name(model)
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
    from huggingface_hub.file_download import repo_folder_name

    api, found = HfApi(endpoint=constants.ENDPOINT), []
    try:
        try:
            refs = api.list_repo_refs(model)
            found = [(ref.name, ref.target_commit) for ref in (*refs.branches, *refs.tags)]
        except RepositoryNotFoundError:
            pass  # a name that only others begin with: google/multiberts-seed_0
        owner, _, short = model.rpartition("/")
        others = api.list_models(author=owner or None, search=f"{short}-step", expand=["sha"])
        return found + [(other.id, other.sha or "") for other in others if other.id.startswith(f"{model}-step")]
    except (HfHubHTTPError, HFValidationError) as e:
        reason = str(e).splitlines()[0]
    except Exception as e:  # no network; what that raises depends on the library underneath
        reason = f"{type(e).__name__}: {e}"
    cache = Path(constants.HF_HUB_CACHE)
    folder = repo_folder_name(repo_id=model, repo_type="model")
    found = [(path.name, path.read_text().strip()) for path in sorted(cache.glob(f"{folder}/refs/*"))]
    for path in sorted(cache.glob(f"{folder}-step*/refs/main")):
        found.append((path.parts[-3].removeprefix("models--").replace("--", "/"), path.read_text().strip()))
    if not found:
        raise UserError(
            f"{model}: no folder of that name here, and the hub did not list its checkpoints ({reason}). Check the "
            "name; without a network, download the checkpoints elsewhere, each as a folder step-0, step-1000 …, and "
            "give the path of the folder that holds them."
        )
    return found


def _check_name(model: str) -> None:
    """Raise UserError for what is meant as a path and is none."""
    if Path(model).expanduser().exists() or model.startswith((".", "/", "~")) or model.count("/") > 1:
        found = "a file" if Path(model).expanduser().exists() else "no such folder"
        raise UserError(f"{model}: {found}. Expected a model folder (config.json, weights, tokenizer) or a hub name.")
