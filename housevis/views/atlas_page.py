"""The map's page: folium with local scripts and styles in place of its remote ones."""

from __future__ import annotations

import re
from html import escape

import folium
from branca.element import Element, Figure
from folium.plugins import MarkerCluster
from folium.template import Template
from jinja2 import Environment, PackageLoader

from housevis.pricing.confidence import GRADES
from housevis.views.data import AtlasData
from housevis.views.words import ICON, percent, points

VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1" />'


class LocalMap(folium.Map):
    """A folium map whose scripts and styles lie beside the page."""

    default_js = [("leaflet", "vendor/leaflet.js")]  # noqa: RUF012
    default_css = [("leaflet_css", "vendor/leaflet.css")]  # noqa: RUF012


class HouseCluster(MarkerCluster):
    """folium's marker cluster, filled in the browser from ``data/houses.js`` by our scripts."""

    _template = Template(
        """
        {% macro script(this, kwargs) %}
            var {{ this.get_name() }} = L.markerClusterGroup({{ this.options|tojavascript }});
            housevis.start({{ this._parent.get_name() }}, {{ this.get_name() }});
        {% endmacro %}
        """
    )
    default_js = [  # noqa: RUF012
        ("markercluster", "vendor/leaflet.markercluster.js"),
        ("words", "atlas/words.js"),
        ("server", "server.js"),
        ("colours", "atlas/colours.js"),
        ("filters", "atlas/filters.js"),
        ("map", "atlas/map.js"),
        ("layers", "atlas/layers.js"),
        ("base_map", "atlas/base_map.js"),
        ("parcels", "atlas/parcels.js"),
        ("card_parts", "atlas/card_parts.js"),
        ("card", "atlas/card.js"),
        ("search", "atlas/search.js"),
        ("notes", "atlas/notes.js"),
        ("asking", "atlas/asking.js"),
        ("viewport", "atlas/viewport.js"),
        ("new_house_parts", "atlas/new_house_parts.js"),
        ("new_house", "atlas/new_house.js"),
        ("controls", "atlas/controls.js"),
    ]
    default_css = [  # noqa: RUF012
        ("markercluster_css", "vendor/MarkerCluster.css"),
        ("atlas_css", "atlas/atlas.css"),
    ]


class Markup(Element):
    """Ready markup, put into the page as it is (never read as a template)."""

    _template = Template("{{ this.markup }}")

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.markup = markup


def render_page(data: AtlasData, sales: int, has_base_map: bool = False) -> str:
    """The page as text.

    Args:
        data: The atlas; only its headings and figures stand in the page itself.
        sales: Number of sales shown.
        has_base_map: Whether the map has a base map.
    """
    environment = Environment(loader=PackageLoader("housevis.views"), autoescape=True)
    environment.filters.update(percent=percent, points=points)
    has_addresses = bool(data.records["address"].notna().any())
    frame = environment.get_template("atlas.html.jinja").render(
        data=data, sales=sales, grades=GRADES, has_addresses=has_addresses, has_base_map=has_base_map
    )

    figure = Figure(title=escape(data.title))
    figure._id = "page"
    figure.html.add_child(Markup(frame), name="frame")
    centre = [float(data.records["latitude"].mean()), float(data.records["longitude"].mean())]
    house_map = LocalMap(
        location=centre, tiles=None, zoom_start=12, maxZoom=20, zoom_control=False, control_scale=True
    )
    house_map._id = "houses"
    house_map.add_to(figure)
    cluster = HouseCluster(
        control=False,
        max_cluster_radius=72,
        disable_clustering_at_zoom=18,
        show_coverage_on_hover=False,
        spiderfy_on_max_zoom=True,
    )
    cluster._id = "houses"
    cluster.add_to(house_map)
    figure.header.add_child(Markup('<meta name="color-scheme" content="light dark" />'), name="scheme")
    figure.header.add_child(Markup(f'<link rel="icon" href="{ICON}" />'), name="icon")
    page = figure.render()
    page = re.sub(r'<meta name="viewport".*?/>', VIEWPORT, page, count=1, flags=re.DOTALL)
    return page.replace("<html>", '<html lang="en">', 1)
