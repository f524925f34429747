"""Bounded numbers that fields are made of."""

from typing import Annotated

from msgspec import Meta

Rate = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Above0 = Annotated[float, Meta(gt=0.0)]
