"""The OpenAPI 3 document, made from the table of routes and the schemas that judge and describe their content.

`GET /api/openapi.json` gives it. Nothing in it is written by hand, so that nothing in it can be out of date.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from baton.schemas import resources, rest
from baton.schemas.answers import ErrorAnswer
from baton.schemas.codec import camel
from baton.schemas.fields import Mode
from baton.web.rest.answers import JSON
from baton.web.rest.route import PathSchema, Route
from baton.web.throttle import is_limited

OPENAPI_VERSION: Final = "3.0.3"
_FORBIDDEN: Final = "The wrong role, or a Host or Origin that is not ours"
_SECONDS: Final = {"type": "integer", "minimum": 1}
_SECURITY: Final[tuple[dict[str, list[str]], ...]] = ({"bearer": []}, {"cookie": []})


def describe(routes: Iterable[Route], version: str) -> Mapping[str, Any]:
    """The document for these routes of this version of Baton."""
    plugin = MarshmallowPlugin(schema_name_resolver=_name_of)  # type: ignore[arg-type]  # also takes objects, and None
    spec = APISpec(
        title="Baton",
        version=version,
        openapi_version=OPENAPI_VERSION,
        info={"description": "Drive coding agents. Errors of every route have one shape: `ErrorAnswer`."},
        plugins=[plugin],
    )
    converter = plugin.converter
    assert converter is not None, "made with the spec"
    converter.add_attribute_function(_variants)  # type: ignore[no-untyped-call]  # untyped in apispec
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    spec.components.security_scheme(
        "cookie",
        {"type": "apiKey", "in": "cookie", "name": "baton_token_3001", "description": "Ends in the server's port."},
    )
    for route in routes:
        spec.path(path=route.path, operations={route.method.lower(): _operation(route, converter)})
    document: Mapping[str, Any] = spec.to_dict()
    return document


def _operation(route: Route, converter: OpenAPIConverter) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route, converter), *_query_parameters(route, converter)],
        "responses": _responses(route),
        "security": [] if route.is_public else list(_SECURITY),
    }
    body = _body(route)
    return operation if body is None else {**operation, "requestBody": body}


def operation_id(route: Route) -> str:
    """A name for the operation, once per document: `post_chat_runs_requestId_abort`."""
    words = [word.strip("{}").replace("-", "_").replace(".", "_") for word in route.path.split("/") if word != "api"]
    return "_".join([route.method.lower(), *filter(None, words)])


def _path_parameters(route: Route, converter: OpenAPIConverter) -> list[dict[str, Any]]:
    known = {camel(name): field for name, field in PathSchema().fields.items()}
    return [
        {"name": name, "in": "path", "required": True, "schema": converter.field2property(known[name])}
        for name in route.parameters
    ]


def _query_parameters(route: Route, converter: OpenAPIConverter) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    return [
        {
            "name": field.data_key,
            "in": "query",
            "required": field.required,
            "schema": converter.field2property(field),
        }
        for field in route.query().fields.values()
    ]


def _body(route: Route) -> dict[str, Any] | None:
    """The body without the fields that the path gives."""
    described = route.body_description or route.body
    if described is None:
        return None
    schema = described()
    given = {name for name, field in schema.fields.items() if field.data_key in route.filled_fields}
    if given:
        schema = described(exclude=given)
    needs_body = any(field.required for field in schema.fields.values())
    return {"required": needs_body, "content": {route.consumes: {"schema": schema}}}


def _responses(route: Route) -> dict[str, Any]:
    content: dict[str, Any] = {kind: {} for kind in route.produces}
    if route.answer is not None:
        content = {JSON: {"schema": route.answer}}
    good = {str(status): _response(status, content) for status in (route.status, *route.also_answers)}
    wrong: dict[str, Any] = {"description": "What is wrong", "content": {JSON: {"schema": ErrorAnswer}}}
    return {**good, **_refusals(route, wrong["content"]), "default": wrong}


def _refusals(route: Route, content: Mapping[str, Any]) -> dict[str, Any]:
    """What is refused before the route is reached: who comes without a credential, from elsewhere, or too often."""
    refusals: dict[str, Any] = {"403": {"description": _FORBIDDEN, "content": dict(content)}}
    if not route.is_public or route.judges_token:
        refusals["401"] = {"description": "No valid credential came along", "content": dict(content)}
    if is_limited(route.path):
        refusals["429"] = {
            "description": "Too many requests, or too many wrong tokens",
            "headers": {"Retry-After": {"description": "In so many seconds it works again", "schema": _SECONDS}},
            "content": dict(content),
        }
    return refusals


def _response(status: int, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": dict(content)}


def _name_of(schema: Schema | type[Schema]) -> str | None:
    """The component's name: the class without `Schema`; None puts a schema with excluded fields in place."""
    if isinstance(schema, Schema) and (schema.exclude or schema.only):
        return None
    cls = schema if isinstance(schema, type) else type(schema)
    return cls.__name__.removesuffix("Schema")


def _variants(converter: OpenAPIConverter, field: fields.Field[Any], **_: object) -> dict[str, Any]:
    """What apispec cannot know about our own fields."""
    if isinstance(field, resources.Variant):
        named = {name: _reference(converter, schema) for name, schema in field.variants.items()}
        # Without the mapping a value would have to be the name of its schema (OpenAPI 3.0.3, Discriminator Object).
        mapping = {name: reference["$ref"] for name, reference in named.items()}
        return {"oneOf": [*named.values()], "discriminator": {"propertyName": "type", "mapping": mapping}}
    if isinstance(field, fields.Enum):
        return {"type": "string"}
    if isinstance(field, Mode) and field.allow_none:
        return {"enum": [*field.metadata["enum"], None]}  # `nullable` alone lets nothing through that `enum` has not
    return {"type": "integer"} if isinstance(field, rest.QueryNumber) else {}


def _reference(converter: OpenAPIConverter, schema: type[Schema]) -> dict[str, Any]:
    reference: dict[str, Any] = converter.resolve_nested_schema(schema)  # type: ignore[no-untyped-call]  # untyped in apispec
    return reference
