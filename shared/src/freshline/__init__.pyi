# The only list of the names that `freshline` offers: `__init__.py` loads them from it, and type
# checkers read it.
from .airbyte import nested_columns as nested_columns
from .airbyte import stream_columns as stream_columns
from .airbyte import stream_key as stream_key
from .airbyte import stream_spec as stream_spec
from .contract import Contract as Contract
from .dbt.build import FreshlineDbtResource as FreshlineDbtResource
from .dbt.build import build_dbt as build_dbt
from .dbt.build import dbt_manifest as dbt_manifest
from .dbt.prepare import prepare_dbt as prepare_dbt
from .dbt.translator import FreshlineDbtTranslator as FreshlineDbtTranslator
from .errors import ContractError as ContractError
from .errors import FreshlineError as FreshlineError
from .errors import KeyConventionError as KeyConventionError
from .errors import ManifestMissingError as ManifestMissingError
from .errors import ModeError as ModeError
from .errors import PolicyError as PolicyError
from .errors import StreamError as StreamError
from .errors import TickError as TickError
from .keys import asset_key as asset_key
from .location import with_freshline as with_freshline
from .policy import MaxLag as MaxLag
from .policy import max_lag as max_lag
from .policy import policy_of as policy_of
from .stamp import data_time_metadata as data_time_metadata
from .stamp import lag_metadata as lag_metadata
from .stamp import stamp_lag as stamp_lag
