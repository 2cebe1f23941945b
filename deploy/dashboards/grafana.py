"""A dashboard as the JSON that Grafana 11 provisions, built with Grafana's own typed builders.

Guarantee: nothing in it depends on an installation. The data source is a variable, links between dashboards
are relative and keep the time range and the choices, and the same code gives the same bytes.
"""

from __future__ import annotations

import json
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

from deploy.dashboards.panels import Above, Below, Dashboard, NoThreshold, Panel, Threshold, Variable

TAG = "freshet"
_DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_GRAPH_HEIGHT = 8
_STAT_HEIGHT = 4
_KEPT = "${__url_time_range}&${job:queryparam}&${instance:queryparam}"

AnyPanel = TypeVar("AnyPanel", timeseries.Panel, stat.Panel)


def uid(name: str) -> str:
    """The id of a dashboard in Grafana, and in links."""
    return f"freshet-{name}"


def to_json(board: Dashboard) -> str:
    """The dashboard's file."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(uid(board.name))
        .description(board.description)
        .tags([TAG])
        .timezone("browser")
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("10s")
        .with_variable(
            dashboard.DatasourceVariable("datasource")
            .label("Data source")
            .type("prometheus")
            .current(model.VariableOption(selected=True, text="default", value="default"))
        )
        .link(
            dashboard.DashboardLink("Dashboards")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for variable in board.variables:
        built.with_variable(_variable(variable))
    number = 0
    for row in board.rows:
        number += 1
        built.with_row(dashboard.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            built.with_panel(_panel(panel, number))
    return json.dumps(built.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _variable(variable: Variable) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(_DATASOURCE)
        .query(f"label_values({variable.metric}, {variable.name})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _panel(panel: Panel, number: int) -> timeseries.Panel | stat.Panel:
    if panel.kind == "stat":
        return _described(_stat(panel), panel, number)
    return _described(_graph(panel), panel, number)


def _described(built: AnyPanel, panel: Panel, number: int) -> AnyPanel:
    built.id(number)
    built.title(panel.title)
    built.description(panel.description)
    built.datasource(_DATASOURCE)
    built.unit(panel.unit)
    built.thresholds(_thresholds(panel.threshold))
    built.span(panel.width)
    for ref, query in zip("ABCDEFGH", panel.queries, strict=False):
        built.with_target(
            prometheus.Dataquery()
            .ref_id(ref)
            .datasource(_DATASOURCE)
            .expr(query.promql)
            .legend_format(query.legend)
            .range()
        )
    if panel.detail is not None:
        link = (
            dashboard.DashboardLink("More")
            .type(model.DashboardLinkType.LINK)
            .url(f"/d/{uid(panel.detail)}?{_KEPT}")
        )
        built.links([link])
    return built


def _graph(panel: Panel) -> timeseries.Panel:
    drawn = isinstance(panel.threshold, Above | Below)
    mode = common_model.GraphThresholdsStyleMode
    return (
        timeseries.Panel()
        .height(_GRAPH_HEIGHT)
        .line_width(1)
        .fill_opacity(8)
        .axis_soft_min(0)
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(mode.DASHED if drawn else mode.OFF))
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common_model.LegendDisplayMode.TABLE)
            .placement(common_model.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
    )


def _stat(panel: Panel) -> stat.Panel:
    judged = isinstance(panel.threshold, Above | Below)
    color = common_model.BigValueColorMode
    return (
        stat.Panel()
        .height(_STAT_HEIGHT)
        .color_mode(color.VALUE if judged else color.NONE)
        .graph_mode(common_model.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    )


def _thresholds(threshold: Threshold) -> dashboard.ThresholdsConfig:
    built = dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE)
    match threshold:
        case Above(warning, critical) if warning == critical:
            steps: list[tuple[float | None, str]] = [(None, "green"), (critical, "red")]
        case Above(warning, critical):
            steps = [(None, "green"), (warning, "yellow"), (critical, "red")]
        case Below(warning, critical):
            steps = [(None, "red"), (critical, "yellow"), (warning, "green")]
        case NoThreshold():
            steps = [(None, "green")]
    return built.steps([model.Threshold(value=value, color=color) for value, color in steps])
