"""Arguments of another package's environment, given as JSON in one setting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sdar.schemas.errors import ConfigError


def json_arguments(text: str) -> Mapping[str, Any]:
    """Return the arguments that `env.options.arguments` holds; an empty text is none.

    Raises:
        ConfigError: it is no JSON object.
    """
    try:
        arguments = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"env.options.arguments is {text!r}, which is no JSON: {error}. Allowed is an object such as "
            """'{"size": 8}'"""
        ) from error
    if not isinstance(arguments, dict):
        raise ConfigError(
            f"""env.options.arguments is {text!r}; allowed is a JSON object such as '{{"size": 8}}'"""
        )
    return arguments
