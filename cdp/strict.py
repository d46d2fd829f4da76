"""The base of every YAML file's model."""

from pydantic import BaseModel, ConfigDict

NAME = r"^[a-z][a-z0-9_]*$"


class Strict(BaseModel):
    """A mapping that refuses keys it does not know: a typo must not pass as a missing value."""

    model_config = ConfigDict(extra="forbid", frozen=True)
