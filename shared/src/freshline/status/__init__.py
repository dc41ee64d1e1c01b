"""Status: how targets stand, as values, and what each location's sensor keeps of it.

`document` has the values, `targets` makes them from a plan. A sensor keeps those of its location in
the instance (`kept`), so that a reader need not read the history of all assets to know them, nor
import Dagster (`quick`). `freshline.lookout` works them out anew.
"""
