"""`/docs`: Swagger UI from an installed package. The page loads nothing from elsewhere and has no inline code."""

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response

from gateway.errors import NotFound

PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mcp-gateway</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
"""Addresses are relative, so that it works behind a proxy that adds a prefix."""

START: Final = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
});
"""

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

PACKAGE: Final = "fastapi_offline"
"""Keeps Swagger UI's files; nothing else of it is used."""
TYPES: Final = {"swagger-ui-bundle.js": "text/javascript; charset=utf-8", "swagger-ui.css": "text/css; charset=utf-8"}
KEPT: Final = {"cache-control": "max-age=3600"}


def docs_routes() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    folder = files(PACKAGE) / "static"

    @router.get("/docs")
    async def page() -> Response:
        return Response(PAGE, media_type="text/html", headers={"content-security-policy": POLICY})

    @router.get("/docs/start.js")
    async def start() -> Response:
        return Response(START, media_type="text/javascript", headers=KEPT)

    @router.get("/docs/{name}")
    def asset(name: str) -> Response:  # in a thread: it reads a file
        if name not in TYPES:
            raise NotFound("Nothing here. The page is /docs.")
        return Response((folder / name).read_bytes(), headers=KEPT | {"content-type": TYPES[name]})

    return router
