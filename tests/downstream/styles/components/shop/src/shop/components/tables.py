import dagster as dg


class Tables(dg.Component, dg.Model, dg.Resolvable):
    """Tables that a YAML file lists."""

    schema_name: str
    names: list[str]

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - the interface has it
        @dg.multi_asset(
            name=f"load_{self.schema_name}",
            specs=[dg.AssetSpec([self.schema_name, name]) for name in self.names],
        )
        def load(): ...

        return dg.Definitions(assets=[load])
