"""The ASGI application: every route, and which role answers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from google.protobuf.descriptor import FileDescriptor
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from ....schema.proto import (
    adhoc_pb2,
    capabilities_pb2,
    push_pb2,
    querier_pb2,
    settings_pb2,
    version_pb2,
)
from ...settings import ServerSettings, Settings
from ..access import load_access
from ..metrics import CONTENT_TYPE
from ..server import Server
from .accept import AcceptCheck
from .adhoc_service import AdhocService
from .deletion_routes import DeletionRoutes
from .gate import Gate
from .ingest import IngestRoute
from .job_routes import JobRoutes
from .observed import Observed
from .openapi import docs, openapi
from .otlp import OtlpReceiver, OtlpService
from .own_api import OwnApi
from .plain import ConfigPages, ReadyPage, build_info, guarded, not_found
from .push import PusherService
from .queries import QuerierService
from .questions import Questions
from .render import RenderRoutes
from .rpc import Handler, RpcService
from .small_services import FeatureFlagsService, SettingsService, VersionService
from .tenancy import tenant_first


def make_app(server: Server, settings: Settings, server_settings: ServerSettings, url: str) -> Starlette:
    """The application over a server, which it starts and stops; `url` is where it will be found."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        server.start(url)
        yield
        await asyncio.to_thread(server.stop)

    routes: list[BaseRoute] = [
        *_plain_routes(server, settings, server_settings),
        *(Mount(one.path, one) for one in _rpc_services(server, server_settings)),
        *_otlp_routes(server, server_settings),
    ]
    slow_s = server_settings.slow_ms / 1000
    middleware = [
        Middleware(Observed, server.metrics, paths_of(routes), slow_s),
        Middleware(AcceptCheck),
    ]
    if server_settings.access_file:
        access = load_access(server_settings.access_file)
        middleware.append(Middleware(Gate, access, server_settings.multitenancy))
    return Starlette(
        routes=routes, lifespan=lifespan, middleware=middleware, exception_handlers={404: not_found}
    )


def paths_of(routes: Iterable[BaseRoute]) -> list[str]:
    """Every path that is answered, with those of the RPC services."""
    paths: list[str] = []
    for route in routes:
        if isinstance(route, Mount):
            paths += getattr(route.app, "paths", (f"{route.path}/",))
        elif isinstance(route, Route):
            paths.append(route.path)
    return paths


def _otlp_routes(server: Server, settings: ServerSettings) -> list[BaseRoute]:
    receiver = OtlpReceiver(server.distributor, settings.multitenancy, settings.body_limit_bytes)
    service = OtlpService(receiver, settings.body_limit_bytes)
    return [
        Route("/v1development/profiles", guarded(receiver.http), methods=["POST"]),
        Mount(service.path, service),
    ]


def _plain_routes(server: Server, settings: Settings, server_settings: ServerSettings) -> list[Route]:
    async def flush(_: Request) -> Response:
        """Store the head as blocks now."""
        await asyncio.to_thread(server.ingester.flush)
        return Response(status_code=204)

    async def metrics(_: Request) -> Response:
        """The metrics."""
        return Response(server.metrics.exposition(), media_type=CONTENT_TYPE)

    ingest = IngestRoute(server.distributor, server_settings.multitenancy, server_settings.body_limit_bytes)
    render = RenderRoutes(Questions(server.querier, server.limits, server_settings.multitenancy))
    config = ConfigPages(settings, server_settings)
    pages = {
        "/ready": ReadyPage(server.fault).page,
        "/metrics": metrics,
        "/api/v1/status/buildinfo": build_info,
        "/api/v1/status/config": config.config,
        "/api/v1/status/config/diff": config.diff,
        "/api/v1/status/config/default": config.default,
        "/pyroscope/render": render.render,
        "/pyroscope/render-diff": render.render_diff,
        "/pyroscope/label-values": render.label_values,
    }
    deletions = DeletionRoutes(server.deleter, server_settings.multitenancy)
    own = OwnApi(
        server.querier, server.ingester, server_settings.multitenancy, server_settings.body_limit_bytes
    )
    jobs = JobRoutes(server.compactor, server_settings.multitenancy)
    pages |= {"/api/v1/jobs": jobs.jobs, "/api/v1/status/jobs": jobs.all_jobs}
    pages |= {"/api/v1/openapi.json": openapi, "/api/v1/docs": docs}
    pages["/api/v1/deletions"] = deletions.deletions
    pages |= {"/api/v1/profiles": own.profiles, "/api/v1/export": own.export}
    asked = {"/api/v1/ask": own.ask, "/api/v1/sql": own.sql, "/api/v1/ingest": own.ingest}
    asked["/api/v1/jobs/compact"] = jobs.compact
    taking = {"/ingest": ingest.ingest, "/pyroscope/ingest": ingest.ingest, "/flush": flush, **asked}
    taking["/api/v1/delete"] = deletions.delete
    return [
        *(Route(path, guarded(page), methods=["GET"]) for path, page in pages.items()),
        *(Route(path, guarded(page), methods=["POST"]) for path, page in taking.items()),
    ]


def _rpc_services(server: Server, settings: ServerSettings) -> list[RpcService]:
    pusher = PusherService(server.distributor, settings.multitenancy)
    adhoc = AdhocService(server.adhoc, settings.multitenancy)
    kept = SettingsService(server.objects, settings.multitenancy)
    services: list[tuple[str, FileDescriptor, Mapping[str, Handler]]] = [
        ("push.v1.PusherService", push_pb2.DESCRIPTOR, {"Push": pusher.push}),
        (
            "querier.v1.QuerierService",
            querier_pb2.DESCRIPTOR,
            {
                method: tenant_first(handler, settings.multitenancy)
                for method, handler in _querier_handlers(
                    QuerierService(Questions(server.querier, server.limits, settings.multitenancy))
                ).items()
            },
        ),
        (
            "capabilities.v1.FeatureFlagsService",
            capabilities_pb2.DESCRIPTOR,
            {"GetFeatureFlags": FeatureFlagsService().get_feature_flags},
        ),
        ("version.v1.Version", version_pb2.DESCRIPTOR, {"Version": VersionService().version}),
        (
            "settings.v1.SettingsService",
            settings_pb2.DESCRIPTOR,
            {"Get": kept.get, "Set": kept.set, "Delete": kept.delete},
        ),
        (
            "adhocprofiles.v1.AdHocProfileService",
            adhoc_pb2.DESCRIPTOR,
            {"Upload": adhoc.upload, "Get": adhoc.get, "List": adhoc.list, "Diff": adhoc.diff},
        ),
    ]
    return [
        RpcService(name, _service(described, name), handlers, settings.body_limit_bytes)
        for name, described, handlers in services
    ]


def _service(described: FileDescriptor, name: str) -> object:
    return described.services_by_name[name.rpartition(".")[2]]


def _querier_handlers(querier: QuerierService) -> Mapping[str, Handler]:
    return {
        "ProfileTypes": querier.profile_types,
        "LabelValues": querier.label_values,
        "LabelNames": querier.label_names,
        "Series": querier.series,
        "SelectMergeStacktraces": querier.select_merge_stacktraces,
        "SelectMergeSpanProfile": querier.select_merge_span_profile,
        "SelectMergeProfile": querier.select_merge_profile,
        "SelectSeries": querier.select_series,
        "SelectHeatmap": querier.select_heatmap,
        "Diff": querier.diff,
        "GetProfileStats": querier.get_profile_stats,
        "AnalyzeQuery": querier.analyze_query,
    }
