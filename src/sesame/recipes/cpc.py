"""CPC (van den Oord et al. 2018) on log-mel frames with a GRU, at a size that a laptop trains in minutes."""

from sesame.config import Cpc, Gru, Optimizer, Recipe, SpeechData

RECIPES = (
    Recipe(
        name="cpc-tiny",
        data=SpeechData(rows=16),
        backbone=Gru(layers=2, width=128),
        pretext=Cpc(),
        optimizer=Optimizer(lr=1e-3),
        max_minutes=10,
    ),
)
