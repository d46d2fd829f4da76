"""Settings: read once from `CDP_*` environment variables, handed down as an argument, never global."""

import os
from ipaddress import ip_network
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a deployment may choose. Every field is documented in docs/settings.md."""

    model_config = SettingsConfigDict(env_prefix="CDP_", frozen=True)

    home: Path = Field(default=Path(".cdp"), description="The workspace folder: everything a deployment owns.")
    database_url: SecretStr | None = Field(
        default=None,
        description="A PostgreSQL 15+ server to use instead of the embedded one (postgresql://user:pass@host/db).",
    )
    memory_limit: str = Field(default="400MB", description="Memory of the DuckDB engine before it spills to disk.")
    threads: int = Field(default=os.cpu_count() or 2, ge=1, description="Threads of the DuckDB engine.")
    phone_regions: str = Field(
        default="GB,CN",
        pattern="^[A-Z]{2}(,[A-Z]{2})*$",
        description="Countries in which to read a phone number that names none, best guess first (ISO 3166).",
    )
    encrypt: bool = Field(default=True, description="Encrypt the lake's files; fixed when the workspace is made.")
    keep_releases: int = Field(default=5, ge=1, description="How many finished runs stay readable as snapshots.")
    api_host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    api_port: int = Field(default=8000, ge=0, le=65535, description="Port the API listens on.")
    public_url: str = Field(
        default="", description="How the world reaches the API, for links in messages; as called where empty."
    )
    webhook_networks: str = Field(
        default="", description="Networks that are not public and that webhooks may go to all the same (10.1.0.0/16,…)."
    )
    alert_webhook: SecretStr | None = Field(
        default=None, description="A Slack-compatible webhook that alerts are sent to (https://hooks.example.org/...)."
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="How alerts are e-mailed (smtp://user:pass@host:587, smtps:// for TLS from the start).",
    )
    ui_port: int = Field(default=3000, ge=0, le=65535, description="Port the Dagster UI listens on.")

    @field_validator("webhook_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        for one in value.split(",") if value else ():
            ip_network(one.strip())  # says itself what is wrong with it
        return value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()
