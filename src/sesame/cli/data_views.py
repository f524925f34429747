"""`sesame data views SOURCE --recipe NAME --out FILE.png`: what a recipe makes of your images, before you train."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from sesame.cli.options import check_free, options_of
from sesame.cli.output import emit, table
from sesame.config import VIEWS, ImageData, Views
from sesame.errors import UserError, nearest


@dataclass(frozen=True, kw_only=True)
class ViewsOptions:
    """Draw a contact sheet: images beside views of them, with what was drawn for each."""

    source: Positional[str]
    """A folder with a folder per class, or of images alone; a .zip of one; .npz, .npy, IDX, CIFAR's .bin, .parquet;
    hf:NAME[/CONFIG]; digits (built in)."""
    recipe: str
    """A recipe that learns from two views, or the name of its views: simclr, simclr-cifar, byol, digits."""
    out: Path
    """The picture: a .png file."""
    images: int = 6
    """How many, drawn by the seed."""
    views: int = 5
    """Of each image; where the recipe's two views differ, they come in turn."""
    seed: int = 0
    size: int = 0
    """Height and width that images are brought to; 0 for the commonest of theirs, or 224."""
    channels: Literal[0, 1, 3] = 0
    """1 for grey, 3 for colours; 0 for what the images are."""
    image_field: str = "image"
    """Column of Parquet files and hub data sets that holds the image, …"""
    label_field: str = "label"
    """… and its label."""
    skip_bad: bool = False
    """Leave out what cannot be read, count and report it, instead of stopping."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def views_command(argv: list[str]) -> int:
    o = options_of(ViewsOptions, argv, "sesame data views")
    if o.out.suffix.lower() != ".png":
        raise UserError(f"--out {o.out}: the contact sheet is a picture. Give a name that ends in .png.")
    check_free("--out", o.out)
    if o.images < 1 or o.views < 1:
        raise UserError(f"--images {o.images} --views {o.views}: at least 1 of each was expected.")
    views = views_of(o.recipe)
    from sesame.data.contact_sheet import chosen, contact_sheet
    from sesame.data.images import ImageSet, ImageStream

    try:
        data = ImageData(
            source=o.source, rows=1, size=o.size, channels=o.channels, image_field=o.image_field,
            label_field=o.label_field, skip_bad=o.skip_bad,
        )  # fmt: skip
        stream = ImageStream(ImageSet(data), o.seed)
    except UserError as error:
        raise UserError(str(error).replace("--data.", "--")) from None
    images = chosen(stream, o.images, o.seed)
    sheet = contact_sheet(stream, views, images, o.views, o.seed, f"{Path(o.source).name}, and views by {o.recipe}")
    o.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(o.out)
    channels, height, width = stream.pixels.shape[1:]
    result = {
        "source": o.source,
        "images": len(stream.pixels),
        "height": height,
        "width": width,
        "channels": channels,
        "classes": len(stream.names),
        "skipped": {reason: skip.count for reason, skip in stream.skipped.items()},
        "sheet": str(o.out),
    }
    rows = [(name, value) for name, value in result.items() if not isinstance(value, dict)]
    rows += [(f"skipped: {reason}", skip.count) for reason, skip in stream.skipped.items()]
    emit("data views", result, table("Images and their views", ["", ""], rows), as_json=o.json, path=None)
    return 0


def views_of(name: str) -> Views:
    """The two views of a recipe, or of that name."""
    from sesame import recipes

    if name in VIEWS:
        return VIEWS[name]
    found = {key: recipe.pretext.views for key, recipe in recipes.RECIPES.items() if hasattr(recipe.pretext, "views")}
    if name not in found:
        what = f"{name} learns from no views" if name in recipes.RECIPES else f"there are no views called {name!r}"
        raise UserError(f"--recipe {name}: {what}.{nearest(name, [*VIEWS, *found])}")
    return found[name]
