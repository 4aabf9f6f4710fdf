"""OpenAPI schema: all errors are problem documents instead of FastAPI's own form."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from bitdose.service.problems import MEDIA_TYPE
from bitdose.wire import Problem

_OPERATIONS = ("get", "head", "post", "put", "patch", "delete", "options")
_REF = {"$ref": "#/components/schemas/Problem"}
_UNUSED = ("HTTPValidationError", "ValidationError")


def use(app: FastAPI) -> None:
    """Install the schema with problem documents."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = with_problems(plain())
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way


def with_problems(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose operations have problem responses for all errors."""
    for path in schema.get("paths", {}).values():
        for method in _OPERATIONS:
            responses = path.get(method, {}).get("responses")
            if responses is not None:
                if "422" in responses:
                    responses["422"] = _answer("Wrong request")
                responses["default"] = _answer("Error and remedy")
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in _UNUSED:
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    return schema


def _answer(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": _REF}}}
