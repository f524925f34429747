"""The small BERT that the uses are tested on, and the same in `transformers`."""

import pytest
import torch
from small_model import make

from sesame.engine.build import Model


@pytest.fixture(scope="session")
def model() -> Model:
    torch.set_num_threads(1)
    return make()


@pytest.fixture(scope="session")
def reference(model, tmp_path_factory):
    """The same weights in `transformers`."""
    transformers = pytest.importorskip("transformers")
    from sesame.interop.model_folder import save_model

    folder = tmp_path_factory.mktemp("reference") / "model"
    assert save_model(model.objective, model.vocabulary, folder)
    network = transformers.BertForMaskedLM.from_pretrained(folder).eval()
    return transformers.AutoTokenizer.from_pretrained(folder), network
