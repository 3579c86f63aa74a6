"""JSON Schema 2020-12 within a manifest.

Promise: what the readers of a schema rely on has the form that they expect; whatever else it holds is kept as it is.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class _Form(BaseModel):
    model_config = ConfigDict(strict=True)

    ref: str = Field("", alias="$ref")
    definitions: "dict[str, _Form | bool]" = Field({}, alias="$defs")
    title: str = ""
    description: str = ""
    type: str | list[str] = ""
    properties: "dict[str, _Form | bool]" = {}
    required: list[str] = []
    items: "_Form | bool" = True
    additional: "_Form | bool" = Field(True, alias="additionalProperties")
    all_of: "list[_Form | bool]" = Field([], alias="allOf")
    any_of: "list[_Form | bool]" = Field([], alias="anyOf")
    one_of: "list[_Form | bool]" = Field([], alias="oneOf")
    enum: list[Any] = []


def _checked(schema: dict[str, Any]) -> dict[str, Any]:
    _Form.model_validate(schema)
    return schema


Schema = Annotated[dict[str, Any], AfterValidator(_checked)]
"""An object that can be read as a JSON Schema."""
