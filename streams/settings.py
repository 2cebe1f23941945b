"""Settings of every process: from the environment (``FRESHET_*``) and the command line, nothing else.

Secrets come from the environment only, are held as :class:`pydantic.SecretStr` and never appear in a log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One value for each knob, with the default that suits one machine.

    The comment that heads a part and the docstring below a setting are what docs/reference says of it.
    """

    model_config = SettingsConfigDict(
        env_prefix="FRESHET_",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    # Where things are
    bootstrap_servers: str = "127.0.0.1:9092"
    """Comma-separated ``host:port`` of Kafka brokers."""
    topic_prefix: str = Field(default="freshet.", pattern=r"^[a-zA-Z0-9._-]*$", max_length=64)
    """What every topic's name begins with."""
    data_dir: Path = Path(".freshet")
    """Kafka's log, the embedded index and the workers' tables."""
    kafka_username: str | None = None
    """SASL over TLS when set, with the password."""
    kafka_password: SecretStr | None = None
    """Of that user."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How that user proves the password; with SCRAM it never leaves this machine."""
    kafka_tls: bool = False
    """TLS without a password."""
    kafka_ca_file: Path | None = None
    """Certificates (PEM) that sign the brokers' own, where the system does not know them."""

    # Topics
    partitions: int = Field(default=8, ge=1, le=1_024)
    """Of every topic, the same number; never to be changed afterwards."""
    replication: int = Field(default=1, ge=1, le=10)
    """Replicas of every topic."""

    # Groups and connections
    session_timeout_s: float = Field(default=10.0, ge=1.0, le=60.0)
    """A worker whose heartbeats stay away for so long loses its partitions to the others of its group. Most
    brokers allow no less than 6 s."""
    max_poll_interval_s: float = Field(default=300.0, ge=1.0)
    """A worker whose agents hang for so long leaves its group; it comes back when they go on."""
    metadata_max_age_s: float = Field(default=300.0, ge=1.0)
    """After so long every client asks anew which brokers, topics and partitions there are."""
    connections_max_idle_s: float = Field(default=540.0, ge=10.0)
    """A connection unused for so long is closed; the next request opens another."""

    # The index
    qdrant_url: str | None = None
    """A Qdrant server; unset: Qdrant Edge, embedded."""
    qdrant_grpc_port: int = Field(default=6_334, ge=1, le=65_535)
    """Where that server speaks gRPC, on the same host: articles and searches go there."""
    qdrant_api_key: SecretStr | None = None
    """Of the Qdrant server."""
    qdrant_timeout_s: float = Field(default=2.0, gt=0)
    """The most that one attempt to write to it, or to open it, may take."""
    qdrant_search_timeout_s: float = Field(default=0.1, ge=0.001)
    """Of all searches for one answer: what is not found by then is answered without the index."""

    # The vectors
    bundle: Path | None = None
    """A trained bundle's folder, to be served whatever is promoted; unset: the promoted bundle."""
    bundles: Path = Path(".freshet/bundles")
    """The folder of bundles' folders in which a promoted bundle is looked for."""
    encoder: str = "minilm"
    """``minilm`` (from the installed package), or any Hugging Face name or folder."""
    pooling: str = Field(default="mean", pattern="^(cls|mean|attention)$")
    """How token vectors become a text vector."""
    dimension: int = Field(default=64, ge=2, le=4_096)
    """Of article vectors while no bundle is trained: the text vector's orthogonal projection. A bundle brings
    its own, and its own values of the half-lives and the prior weight."""

    # Users
    half_lives_s: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(2 * 3_600.0, 7 * 86_400.0), min_length=1
    )
    """Half-lives of the users' vectors, one vector each."""
    negative_half_life_s: float = Field(default=86_400.0, gt=0)
    """Of the vector that skipped articles feed."""
    prior_weight: float = Field(default=1.0, gt=0)
    """Lambda of the pooling: the population's vector counts as much as this many fresh clicks."""
    max_recent_clicks: int = Field(default=50, ge=1, le=1_000)
    """Clicks remembered by id for each user."""
    max_exposures: int = Field(default=200, ge=1, le=10_000)
    """Shown articles remembered by id for each user."""

    # The stream
    batch_events: int = Field(default=500, ge=1, le=10_000)
    """The most events that one step of an agent handles before it writes and acknowledges."""
    cached_users: int = Field(default=50_000, ge=100)
    """Decoded states kept in memory by each worker."""
    max_clock_skew_s: float = Field(default=300.0, ge=0)
    """An event further in the future than this is a dead letter; one that is less far ahead counts as now."""

    # Learning
    learn: bool = True
    """Learn the ranker's weights from impressions; off, they stay what the bundle, or the topic, says."""
    learn_share: float = Field(default=0.02, ge=0, le=1)
    """Of impressions that name no answer of the worker: what to learn from while it is behind; else all."""
    attribution_window_s: float = Field(default=1_800.0, gt=0)
    """Event time, at most, from an answer to its impression, and from an impression to its late click."""

    # Exploration
    exploration: Literal["none", "thompson", "linucb", "plackett-luce"] = "none"
    """Which policy finds out about articles that little is known of."""
    exploration_slots: int = Field(default=1, ge=0, le=200)
    """The most slots of one list that explore; ``plackett-luce`` draws the whole list."""
    exploration_max_age_s: float = Field(default=3 * 3_600.0, gt=0)
    """Younger articles may be explored."""
    exploration_max_impressions: float = Field(default=40.0, gt=0)
    """Articles shown less often may be explored."""
    exploration_temperature: float = Field(default=0.05, ge=0.01, le=100)
    """Of ``plackett-luce``: near 0 the order of scores, large a shuffle."""
    exploration_alpha: float = Field(default=0.3, ge=0)
    """Of ``linucb``: how many standard deviations of doubt an article gets the benefit of."""

    # Metrics
    metrics_host: str = "127.0.0.1"
    """The address that serves the metrics."""
    metrics_port: int = Field(default=9_464, ge=0, le=65_535)
    """Prometheus endpoint; 0 turns it off."""
    drift_interval_s: float = Field(default=60.0, ge=0)
    """From one measurement of the drift gauges to the next; 0 turns them off."""
    burst_interval_s: float = Field(default=10.0, ge=0)
    """From one look for bursts of clicks to the next; 0 looks for none."""

    # Logs and traces
    log_format: Literal["text", "json"] = "text"
    """Of what a process logs: readable lines, or one JSON object per line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level on freshet logs; libraries from ``warning`` on."""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    """Where traces go: an OTLP receiver by HTTP, such as ``http://127.0.0.1:4318``; unset: there are none."""
    trace_share: float = Field(default=0.01, ge=0, le=1)
    """Of the clicks, impressions, requests and articles that bring no trace: how many begin one."""

    @model_validator(mode="after")
    def _has_whole_credentials(self) -> Self:
        if (self.kafka_username is None) != (self.kafka_password is None):
            raise ValueError(
                "FRESHET_KAFKA_USERNAME and FRESHET_KAFKA_PASSWORD belong together: with one of them alone "
                "freshet would connect without any"
            )
        return self
