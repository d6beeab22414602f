"use strict";

/* The base map: the run's own tiles as ground, where data/base.js says that there are any. */

housevis.BaseLayer = L.TileLayer.extend({
  initialize: function (base, options) {
    L.TileLayer.prototype.initialize.call(this, "", options);
    this._zooms = Object.keys(base.tiles).map(Number).sort((one, other) => one - other);
    this._rows = new Map();
    for (const [zoom, kinds] of Object.entries(base.tiles)) {
      for (const [kind, rows] of Object.entries(kinds)) {
        for (const [y, ...runs] of rows) {
          const key = `${zoom}/${y}`;
          this._rows.set(key, (this._rows.get(key) || []).concat({ kind: kind, runs: runs }));
        }
      }
    }
  },

  /* The suffix of a tile's file; undefined where there is no such tile. */
  kindOf: function (coords) {
    for (const { kind, runs } of this._rows.get(`${coords.z}/${coords.y}`) || []) {
      for (let at = 0; at < runs.length; at += 2) {
        if (coords.x >= runs[at] && coords.x < runs[at] + runs[at + 1]) return kind;
      }
    }
    return undefined;
  },

  getTileUrl: function (coords) {
    return `base/${coords.z}/${coords.x}/${coords.y}.${this.kindOf(coords)}`;
  },

  /* Leaflet asks this before it makes a tile: none is made that does not exist. */
  _isValidTile: function (coords) {
    return this.kindOf(coords) !== undefined;
  },

  /* The zoom whose tiles are drawn: the next that there is, else the deepest. */
  _clampZoom: function (zoom) {
    return this._zooms.find((there) => there >= zoom) || this._zooms[this._zooms.length - 1];
  },
});

/* Show or hide the base map; its list of tiles is loaded when it is first shown. */
housevis.showBaseMap = function (wanted) {
  housevis.baseWanted = wanted;
  if (wanted && !housevis.baseLayer) {
    housevis.baseLayer = housevis.load("data/base.js").then(() => new housevis.BaseLayer(housevis.baseTiles, {
      pane: "ground", maxZoom: housevis.map.getMaxZoom(), className: "base-tile", updateWhenZooming: false,
    }));
    housevis.baseLayer.catch(function (problem) {
      housevis.baseLayer = null;
      document.getElementById("base").checked = false;
      housevis.showGround(false);
      const hint = document.getElementById("zoom-hint");
      hint.textContent = `The base map could not be loaded. ${problem.message}`;
      hint.hidden = false;
    });
  }
  if (housevis.baseLayer) {
    housevis.baseLayer.then((layer) => (housevis.baseWanted ? layer.addTo(housevis.map) : layer.remove()), () => {});
  }
};
