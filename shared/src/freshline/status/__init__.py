"""Status: how targets stand, as values, and the row that each location's sensor writes of it.

`document` has the values, `targets` and `locations` make them from a plan. A sensor writes those of
its location into the instance (`rows`), so that a reader need not read the history of all assets to
know them, nor import Dagster (`quick`). `freshline.overview` works them out anew.
"""
