"""Contracts and findings in the forms that other tools read.

`odcs` writes a location's contract as one of the Open Data Contract Standard, with `logical_types`,
and `odps` the location as a data product. `sarif` writes the gate's findings, for code scanning.
Nothing here prints or writes files.
"""

from freshline.standards.odcs import data_contract
from freshline.standards.odps import data_product
from freshline.standards.sarif import sarif_log

__all__ = ["data_contract", "data_product", "sarif_log"]
