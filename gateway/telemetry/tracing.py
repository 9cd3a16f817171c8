"""Whether calls are traced. Nothing of OpenTelemetry is imported, here or elsewhere, unless they are.

The standard variables say where spans go (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, …) and which
(`OTEL_TRACES_SAMPLER`); `gateway.tracing` says only what those cannot.
"""

import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog

from gateway.config.models import GatewaySettings
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.config.models import Config
    from gateway.telemetry.span_export import Exporting

log = structlog.stdlib.get_logger("gateway.tracing")

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HOW: Final = "Install it with the package: uv tool install '.[otel]', or pip install '.[otel]'."


def is_on(settings: GatewaySettings, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether calls are to be traced: as the settings say, else where a variable says where spans go.

    Raises:
        ConfigError: they are to be, and cannot.
    """
    wanted = settings.tracing.enabled
    if wanted is False or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() or "otlp"
    if exporter == "none" or (wanted is None and not any(environ.get(name) for name in ENDPOINTS)):
        return False
    trouble = _trouble(exporter, environ)
    if trouble and wanted:
        raise ConfigError(f"gateway.tracing.enabled: {trouble}")
    if trouble:
        log.warning("calls are not traced", reason=trouble)
    return not trouble


def _trouble(exporter: str, environ: Mapping[str, str]) -> str:
    """Why they cannot be."""
    protocol = next((given for name in PROTOCOLS if (given := environ.get(name))), "http/protobuf")
    if exporter != "otlp":
        return f"OTEL_TRACES_EXPORTER is {exporter!r}, and only 'otlp' and 'none' are known here."
    if protocol != "http/protobuf":
        return f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}, and only 'http/protobuf' is spoken here."
    if not all(map(_is_installed, ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"))):
        return f"the extra `otel` is not installed. {_HOW}"
    return ""


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def start(config: "Callable[[], Config]") -> "Exporting":
    """Begin to trace and to export, as the variables say. Where `is_on` said so.

    Args:
        config: the one in force, whenever it is asked for.
    """
    from gateway.telemetry.span_export import Exporting

    return Exporting(config)
