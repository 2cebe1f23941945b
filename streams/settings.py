"""Settings of every process, from the environment (``FRESHET_*``) and the command line only.

Secrets come from the environment only, are held as :class:`pydantic.SecretStr` and never appear in a log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """All settings, with defaults that suit one machine.

    The comments and the docstrings below become docs/reference.
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
    """Prefix of every topic's name."""
    data_dir: Path = Path(".freshet")
    """Kafka's log, the embedded index and the workers' tables."""
    kafka_username: str | None = None
    """SASL over TLS when set, with the password."""
    kafka_password: SecretStr | None = None
    """Password of that user."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """Authentication mechanism; with SCRAM the password never leaves this machine."""
    kafka_tls: bool = False
    """Use TLS without a password."""
    kafka_ca_file: Path | None = None
    """CA certificates (PEM) of the brokers, where the system does not know them."""

    # Topics
    partitions: int = Field(default=8, ge=1, le=1_024)
    """Number of partitions of every topic; must never change afterwards."""
    replication: int = Field(default=1, ge=1, le=10)
    """Replicas of every topic."""

    # Groups and connections
    session_timeout_s: float = Field(default=10.0, ge=1.0, le=60.0)
    """Time without heartbeats after which a worker loses its partitions to the others of its group. Most
    brokers allow no less than 6 s."""
    max_poll_interval_s: float = Field(default=300.0, ge=1.0)
    """Time after which a worker whose agents hang leaves its group; it comes back when they continue."""
    metadata_max_age_s: float = Field(default=300.0, ge=1.0)
    """Age at which a client refreshes its metadata: brokers, topics and partitions."""
    connections_max_idle_s: float = Field(default=540.0, ge=10.0)
    """Time after which an idle connection is closed; the next request opens another."""

    # The index
    qdrant_url: str | None = None
    """URL of a Qdrant server; unset: Qdrant Edge, embedded."""
    qdrant_grpc_port: int = Field(default=6_334, ge=1, le=65_535)
    """gRPC port of that server, used for articles and searches."""
    qdrant_api_key: SecretStr | None = None
    """API key of the Qdrant server."""
    qdrant_timeout_s: float = Field(default=2.0, gt=0)
    """Timeout of one attempt to open the index or to write to it."""
    qdrant_search_timeout_s: float = Field(default=0.1, ge=0.001)
    """Timeout of all searches for one answer, which is then given without the index."""

    # The vectors
    bundle: Path | None = None
    """Folder of a trained bundle to serve; unset: the promoted bundle."""
    bundles: Path = Path(".freshet/bundles")
    """Folder that holds the bundles' folders; a promoted bundle is searched for there."""
    encoder: str = "minilm"
    """Text encoder: ``minilm`` (from the installed package), or any Hugging Face name or folder."""
    pooling: str = Field(default="mean", pattern="^(cls|mean|attention)$")
    """Pooling of token vectors into a text vector."""
    dimension: int = Field(default=64, ge=2, le=4_096)
    """Dimension of article vectors while no bundle is trained: an orthogonal projection of the text. A bundle
    brings its own, and its own half-lives and prior weight."""

    # Users
    half_lives_s: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(2 * 3_600.0, 7 * 86_400.0), min_length=1
    )
    """Half-lives of the user's vectors, one vector each."""
    negative_half_life_s: float = Field(default=86_400.0, gt=0)
    """Half-life of the user's vector of skipped articles."""
    prior_weight: float = Field(default=1.0, gt=0)
    """Weight of the population's vector in the pooling (lambda), in fresh clicks."""
    max_recent_clicks: int = Field(default=50, ge=1, le=1_000)
    """Number of clicks remembered by id for each user."""
    max_exposures: int = Field(default=200, ge=1, le=10_000)
    """Number of shown articles remembered by id for each user."""

    # The stream
    batch_events: int = Field(default=500, ge=1, le=10_000)
    """Largest batch of events that an agent handles before it writes and acknowledges."""
    cached_users: int = Field(default=50_000, ge=100)
    """Number of decoded user states that each worker keeps in memory."""
    max_clock_skew_s: float = Field(default=300.0, ge=0)
    """Tolerance for event times in the future, which count as now; beyond it an event is a dead letter."""

    # Learning
    learn: bool = True
    """Learn the ranker's weights from impressions; off: keep the weights of the topic or the bundle."""
    learn_share: float = Field(default=0.02, ge=0, le=1)
    """Share of impressions to learn from while a worker is behind, of those that name none of its answers."""
    attribution_window_s: float = Field(default=1_800.0, gt=0)
    """Longest event time from an answer to its impression, and from an impression to its late click."""

    # Exploration
    exploration: Literal["none", "thompson", "linucb", "plackett-luce"] = "none"
    """Policy that explores articles with little feedback."""
    exploration_slots: int = Field(default=1, ge=0, le=200)
    """Largest number of exploring slots in a list; ``plackett-luce`` samples the whole list."""
    exploration_max_age_s: float = Field(default=3 * 3_600.0, gt=0)
    """Age up to which an article may be explored."""
    exploration_max_impressions: float = Field(default=40.0, gt=0)
    """Number of impressions up to which an article may be explored."""
    exploration_temperature: float = Field(default=0.05, ge=0.01, le=100)
    """Temperature of ``plackett-luce``: near 0 the order of scores, large values a shuffle."""
    exploration_alpha: float = Field(default=0.3, ge=0)
    """Width of the confidence bound of ``linucb``, in standard deviations."""

    # Metrics
    metrics_host: str = "127.0.0.1"
    """Address that serves the metrics."""
    metrics_port: int = Field(default=9_464, ge=0, le=65_535)
    """Port of the Prometheus endpoint; 0 turns it off."""
    drift_interval_s: float = Field(default=60.0, ge=0)
    """Interval between two measurements of the drift gauges; 0 turns them off."""
    burst_interval_s: float = Field(default=10.0, ge=0)
    """Interval between two detections of bursts of clicks; 0 turns them off."""

    # Logs and traces
    log_format: Literal["text", "json"] = "text"
    """Format of the log: readable lines, or one JSON object per line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that freshet logs; libraries log from ``warning`` on."""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    """OTLP receiver of traces by HTTP, such as ``http://127.0.0.1:4318``; unset: no traces."""
    trace_share: float = Field(default=0.01, ge=0, le=1)
    """Share of clicks, impressions, requests and articles without a trace that begin one."""

    @model_validator(mode="after")
    def _has_whole_credentials(self) -> Self:
        if (self.kafka_username is None) != (self.kafka_password is None):
            raise ValueError(
                "FRESHET_KAFKA_USERNAME and FRESHET_KAFKA_PASSWORD belong together: with one of them alone "
                "freshet would connect without any"
            )
        return self
