"""A picture of a week: a map of 7 x 24 hours for each kind of share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deferpower.cli.heatmap import DAYS, Share
from deferpower.errors import ConfigError


def draw(path: str, titles: Sequence[str], maps: Sequence[Sequence[Sequence[Share]]]) -> None:
    """Draw maps one below the other; `timeline.check` tells whether that can be done.

    Args:
        path: the picture.
        titles: of each map.
        maps: each 7 days of 24 shares.

    Raises:
        ConfigError: the file cannot be written.
    """
    # The class and not pyplot: that looks for a display and keeps every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.0 * len(maps)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(maps), 1, squeeze=False)[:, 0]
    for axes, title, shares in zip(panels, titles, maps, strict=True):
        axes.set_facecolor("0.85")  # shows where nothing is known
        image = axes.imshow(
            [[math.nan if share is None else 100 * share for share in day] for day in shares],
            vmin=0,
            vmax=100,
            aspect="auto",
            cmap="viridis",
        )
        axes.set_title(title, loc="left", fontsize="medium")
        axes.set_yticks(range(len(DAYS)), DAYS)
        axes.set_xticks(range(0, 24, 3), [f"{hour:02}:00" for hour in range(0, 24, 3)])
        figure.colorbar(image, ax=axes, format="%d %%")
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise ConfigError(f"--plot: cannot write {path!r}: {error.strerror}") from None
