"use strict";
/* The map: layers and descriptors, then every neuron of one layer. */
(() => {
  const { h } = descry;
  const KINDS = {
    labelled: {
      title: "neurons with that label",
      of: (map, row, c) => map.labelled[row][c],
      shown: (x) => (x ? descry.count(x) : ""),
    },
    against: {
      title: "that number against an even spread over the layers",
      of: (map, row, c) =>
        map.expected[row][c] ? map.labelled[row][c] / map.expected[row][c] : null,
      shown: (x) => (x ? x.toFixed(1) : ""),
    },
    f: {
      title: "mean f(c)",
      of: (map, row, c) => map.f[row][c],
      shown: (x) => (x === null ? "" : x.toFixed(2).slice(1)),
    },
    lift: {
      title: "mean lift",
      of: (map, row, c) => map.lift[row][c],
      shown: (x) => (x === null ? "" : x.toFixed(1)),
    },
    highest: {
      title: "highest lift",
      of: (map, row, c) => map.highest[row][c],
      shown: (x) => (x === null ? "" : x.toFixed(0)),
    },
  };

  const choice = (label, options, value, onchange) =>
    h(
      "label",
      {},
      `${label} `,
      h(
        "select",
        { onchange: (event) => onchange(event.target.value) },
        options.map(([key, title]) =>
          h("option", { value: key, selected: String(key) === String(value) }, title),
        ),
      ),
    );

  function cells(map, kind, end) {
    const { descriptors, target } = descry.run;
    const { of, shown, title } = KINDS[kind];
    const values = target.layers
      .flatMap((_, row) => descriptors.map((_, c) => of(map, row, c)))
      .filter((x) => x !== null);
    const most = Math.max(...values, 1e-9);
    // On a dark page the lowest are dark, too: what is bright is high.
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const colour = d3.scaleSequentialSqrt([0, most], (x) =>
      d3.interpolateBlues(dark ? 0.95 - 0.85 * x : 0.05 + 0.9 * x),
    );
    const ramp = d3.range(0, 1.01, 0.1).map((x) => colour(x * most));
    const legend = h("p", {}, descry.legend(title, ramp, "0", shown(most) || descry.number(most, 2)));
    const cell = (row, layer, c) => {
      const value = of(map, row, c);
      const words = shown(value);
      const link = h(
        "a",
        {
          href: descry.place(["neurons"], {
            layer,
            descriptor: descriptors[c].name,
            end: end === "highest" ? null : end,
          }),
          "aria-label": `Layer ${layer}, ${descriptors[c].name}: ${words || 0}`,
          title: `Layer ${layer}, ${descriptors[c].name}: ${descry.some(map.labelled[row][c], "neuron")} (spread evenly: ${descry.number(map.expected[row][c], 1)}), mean f(c) ${descry.number(map.f[row][c], 3)}, mean lift ${descry.times(map.lift[row][c])}, highest ${descry.times(map.highest[row][c])}`,
        },
        words || "·",
      );
      const box = h("td", {}, link);
      if (value !== null && value > 0) {
        const back = d3.rgb(colour(value));
        link.style.backgroundColor = back.formatRgb();
        link.style.color = luminance(back) > 0.18 ? "#000" : "#fff";
      }
      return box;
    };
    const grid = descry.framed(
      `Layers and descriptors: ${title}`,
      { class: "map" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "descriptor"),
          target.layers.map((layer) => h("th", { scope: "col" }, `L${layer}`)),
        ),
      ),
      h(
        "tbody",
        {},
        ordered(map).map((c) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, descry.descriptorLink(c)),
            target.layers.map((layer, row) => cell(row, layer, c)),
          ),
        ),
      ),
    );
    return [legend, grid];
  }

  /** Columns of the descriptors, those of most neurons first. */
  const ordered = (map) =>
    d3.sort(
      d3.range(descry.run.descriptors.length),
      (c) => -d3.sum(map.labelled, (layer) => layer[c]),
    );

  const luminance = (colour) => {
    const part = (x) => (x / 255 <= 0.03928 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(colour.r) + 0.7152 * part(colour.g) + 0.0722 * part(colour.b);
  };

  /** Every neuron of a layer: a column each, those with the same strongest descriptor beside each other. */
  function strip(row, values, kind, like = values) {
    const { descriptors, target } = descry.run;
    const count = descriptors.length;
    const value = (i, c) => values[kind][i * count + c] ?? 0;
    const strongest = d3
      .range(target.width)
      .map((i) => d3.greatestIndex(d3.range(count), (a, b) => value(i, a) - value(i, b)));
    const order = d3
      .range(target.width)
      .sort(
        (a, b) => strongest[a] - strongest[b] || value(b, strongest[b]) - value(a, strongest[a]),
      );
    const most =
      d3.quantile(
        like[kind].filter((x) => x !== null),
        0.999,
      ) || 1;
    const tall = 14;
    const canvas = h("canvas", {
      width: target.width,
      height: count,
      class: "strip",
      tabindex: "0",
      role: "application",
      "aria-label": `Neurons of layer ${target.layers[row]}${like === values ? "" : " of the copy with random weights"}: arrow keys move${like === values ? ", Enter opens" : ""}. The table under Neurons has the same numbers.`,
    });
    canvas.style.height = `${tall * count}px`;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(target.width, count);
    order.forEach((i, x) =>
      d3.range(count).forEach((c) => {
        const colour = d3.rgb(d3.interpolateInferno(Math.min(1, value(i, c) / most)));
        picture.data.set([colour.r, colour.g, colour.b, 255], 4 * (c * target.width + x));
      }),
    );
    context.putImageData(picture, 0, 0);
    const told = h("p", { class: "told", role: "status" }, "Point at a neuron; click to open it.");
    let at = [0, 0];
    const tell = ([x, c]) => {
      at = [x, c];
      const i = order[x];
      const unit =
        kind === "f"
          ? descry.number((values.f[i * count + c] ?? NaN) / 1000, 3)
          : descry.times((values.lift[i * count + c] ?? NaN) / 100);
      told.textContent = `${copied ? "Copy, " : ""}L${target.layers[row]}:${i}, ${descriptors[c].name}: ${kind === "f" ? "f(c)" : "lift"} ${unit}`;
    };
    const under = (event) => [
      Math.min(
        target.width - 1,
        Math.max(0, Math.floor((event.offsetX / canvas.clientWidth) * target.width)),
      ),
      Math.min(count - 1, Math.max(0, Math.floor((event.offsetY / canvas.clientHeight) * count))),
    ];
    const copied = like !== values; // of the copy with random weights no neuron has a page
    if (copied) told.textContent = "Point at a neuron of the copy.";
    const openAt = ([x]) =>
      copied ||
      (location.hash = descry.place(["neuron", `L${target.layers[row]}:${order[x]}`]));
    canvas.addEventListener("pointermove", (event) => tell(under(event)));
    canvas.addEventListener("click", (event) => openAt(under(event)));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[
        event.key
      ];
      if (event.key === "Enter") openAt(at);
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      tell([
        Math.min(target.width - 1, Math.max(0, at[0] + step[0])),
        Math.min(count - 1, Math.max(0, at[1] + step[1])),
      ]);
    });
    const names = h(
      "ol",
      { class: "names", "aria-hidden": "true" },
      descriptors.map(({ name }) => h("li", {}, name)),
    );
    const top = kind === "f" ? descry.number(most / 1000, 2) : descry.times(most / 100);
    const ramp = d3.range(0, 1.01, 0.1).map(d3.interpolateInferno);
    const legend = descry.legend(kind === "f" ? "f(c)" : "lift", ramp, "0", `${top} and above`);
    const save = h("button", { type: "button", onclick: saved }, "Save as SVG");
    return h("div", {}, h("p", {}, legend, " ", save), h("div", { class: "strips" }, names, canvas), told);

    /** The picture as an SVG: names as text, the colours as they are. */
    function saved() {
      const high = tall * count;
      const svg = d3.create("svg").attr("viewBox", `0 0 960 ${high}`).attr("width", 960).attr("height", high);
      svg
        .append("g")
        .attr("font-size", 10)
        .selectAll("text")
        .data(descriptors)
        .join("text")
        .attr("x", 174)
        .attr("y", (_, c) => tall * c + 10)
        .attr("text-anchor", "end")
        .text(({ name }) => (name.length > 30 ? `${name.slice(0, 29)}…` : name));
      svg
        .append("image")
        .attr("x", 180)
        .attr("width", 780)
        .attr("height", high)
        .attr("preserveAspectRatio", "none")
        .attr("style", "image-rendering: pixelated")
        .attr("href", canvas.toDataURL());
      descry.saveSvg(svg.node(), `${copied ? "copy-" : ""}layer-${target.layers[row]}-${kind}`);
    }
  }

  descry.map = async (_, query) => {
    const { run } = descry;
    const end = query.get("end") ?? "highest";
    const map = await descry.load(`map-${end}`);
    let kind = KINDS[query.get("by")] ? query.get("by") : "labelled";
    const grid = h("div", {});
    const layer = h("div", { class: "layer" });
    const show = () => grid.replaceChildren(...cells(map, kind, end));
    show();
    let row = run.target.layers.length - 1;
    let by = "lift";
    const beside = run.copy && end === "highest";
    const showLayer = async () => {
      const [own, copy] = await Promise.all(
        [`map-${end}-${row}`, beside ? `map-untrained-${row}` : null].map((name) => name && descry.load(name)),
      );
      layer.replaceChildren(
        strip(row, own, by),
        ...(copy
          ? [
              h("h3", {}, "The same of the copy with random weights"),
              h(
                "p",
                {},
                "In the same colours. Its neurons are sorted in the same way, which makes the diagonal by itself: only what is brighter above than here says something about the model.",
              ),
              strip(row, copy, by, own),
            ]
          : [h("p", { class: "quiet" }, "The diagonal is made by sorting: it would be there by chance, too.")]),
      );
    };
    layer.style.minHeight = `${(beside ? 2 : 1) * (14 * run.descriptors.length + 70) + (beside ? 80 : 0)}px`;
    await showLayer();
    return {
      title: "Map",
      content: [
        h("h1", {}, `Map of the ${descry.kind()}s`),
        h("p", {}, "Which descriptors are at home in which layer. A cell opens its neurons."),
        h(
          "p",
          { class: "controls" },
          choice(
            "Colour:",
            Object.entries(KINDS).map(([key, { title }]) => [key, title]),
            kind,
            (value) => {
              kind = value;
              show();
            },
          ),
          run.ends.length > 1
            ? choice(
                "Activations:",
                run.ends.map((name) => [name, name]),
                end,
                (value) => (location.hash = descry.place(["map"], { end: value })),
              )
            : null,
        ),
        grid,
        descry.section(
          "layer",
          "One layer, every neuron",
          h(
            "p",
            {},
            "A column is a neuron, a row a descriptor; neurons with the same strongest descriptor stand beside each other. The brighter, the higher.",
          ),
          h(
            "p",
            { class: "controls" },
            choice(
              "Layer:",
              run.target.layers.map((name, place) => [place, `L${name}`]),
              row,
              (value) => {
                row = Number(value);
                showLayer();
              },
            ),
            choice(
              "Colour:",
              [
                ["lift", "lift"],
                ["f", "f(c)"],
              ],
              by,
              (value) => {
                by = value;
                showLayer();
              },
            ),
          ),
          layer,
        ),
      ],
    };
  };
})();
