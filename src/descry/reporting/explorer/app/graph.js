"use strict";
/* A neuron's graph (N2G) drawn by D3: reading from left to right, what stands before the activating
   token on its left, what stands behind on its right. Zoom and drag; the path under the pointer lights up. */
(() => {
  const { h } = descry;
  const ROW = 26;
  const COLUMN = 120;
  const ORDER = { activating: 0, before: 1, behind: 2 };

  /** Nodes with children, root first; what is beside each other stands in the order of picture.py. */
  function treeOf(nodes) {
    const placed = nodes.map((node, number) => ({ ...node, number, children: [] }));
    const top = { number: -1, side: "top", children: [] };
    for (const node of placed) (node.parent < 0 ? top : placed[node.parent]).children.push(node);
    for (const node of [top, ...placed])
      node.children.sort((a, b) => ORDER[a.side] - ORDER[b.side] || b.activation - a.activation);
    return d3.hierarchy(top);
  }

  /** Where each node is: y by the tidy tree, x by the place in the text. */
  function placedOf(nodes) {
    const root = d3.tree().nodeSize([ROW, 1])(treeOf(nodes));
    for (const node of root.descendants().slice(1)) {
      node.across = node.x;
      const { side } = node.data;
      const before = node.ancestors().filter((one) => one.data.side === "before").length;
      const behind = node.ancestors().filter((one) => one.data.side === "behind").length;
      node.along =
        side === "activating" ? 0 : side === "before" ? -before * COLUMN : behind * COLUMN;
      // Behind the activating token something hangs on that token, or on what is behind it already.
      node.hangs =
        side === "behind" && node.parent.data.side === "before"
          ? node.ancestors().find((one) => one.data.side === "activating")
          : node.parent;
    }
    return root.descendants().slice(1);
  }

  const curve = (from, to) => {
    const middle = (from.along + to.along) / 2;
    return `M${from.along},${from.across}C${middle},${from.across} ${middle},${to.across} ${to.along},${to.across}`;
  };
  const words = ({ data }) =>
    `${data.text}: ${data.side === "activating" ? "activating token" : `${data.side} it`}, activation ${descry.number(data.activation, 2)}, importance ${descry.number(data.importance, 2)}${data.end ? ", a path ends here" : ""}`;

  function drawn(nodes, told) {
    const placed = placedOf(nodes);
    const [left, right] = d3.extent(placed, (node) => node.along);
    const [top, bottom] = d3.extent(placed, (node) => node.across);
    const box = [left - COLUMN, top - ROW, right - left + 2 * COLUMN, bottom - top + 2 * ROW];
    const svg = d3
      .create("svg")
      .attr("viewBox", box.join(" "))
      .attr("class", "n2g")
      .attr("role", "img")
      .attr("aria-label", "The neuron's graph. It stands as a list beneath.");
    const inside = svg.append("g");
    const links = placed.filter((node) => node.hangs.data.side !== "top");
    inside
      .append("g")
      .attr("class", "links")
      .selectAll("path")
      .data(links)
      .join("path")
      .attr("d", (node) => curve(node.hangs, node));
    inside
      .append("g")
      .attr("class", "ties")
      .selectAll("path")
      .data(links.filter((node) => node.hangs !== node.parent))
      .join("path")
      .attr("d", (node) => curve(node.parent, node));
    const groups = inside
      .append("g")
      .selectAll("g")
      .data(placed)
      .join("g")
      .attr("class", (node) => `node ${node.data.side}${node.data.end ? " end" : ""}`)
      .attr("transform", (node) => `translate(${node.along},${node.across})`);
    groups.append("title").text(words);
    groups
      .append("rect")
      .attr("rx", 6)
      .attr("height", 20)
      .attr("y", -10)
      .attr("x", (node) => -width(node) / 2)
      .attr("width", width)
      .style(
        "--strength",
        (node) =>
          `${Math.round(100 * Math.min(1, Math.max(0, node.data.side === "activating" ? node.data.activation : node.data.importance)))}%`,
      );
    groups
      .append("text")
      .attr("dy", "0.32em")
      .attr("text-anchor", "middle")
      .text((node) => short(node.data.text));
    groups
      .on("pointerenter", (event, node) => {
        const path = new Set([...node.ancestors(), ...node.descendants(), node.hangs]);
        groups.classed("off", (other) => !path.has(other));
        inside.selectAll(".links path, .ties path").classed("off", (other) => !path.has(other));
        told.textContent = words(node);
      })
      .on("pointerleave", () => {
        inside.selectAll(".off").classed("off", false);
        told.textContent = told.dataset.rest;
      });
    // The wheel scrolls the page, unless Ctrl is held as for any zoom.
    const zoom = d3
      .zoom()
      .scaleExtent([0.3, 8])
      .filter((event) => (event.type === "wheel" ? event.ctrlKey || event.metaKey : !event.button))
      .on("zoom", (event) => inside.attr("transform", event.transform));
    svg.call(zoom);
    const by = (factor) => () => svg.transition().duration(150).call(zoom.scaleBy, factor);
    const back = () => svg.transition().duration(150).call(zoom.transform, d3.zoomIdentity);
    const room = Math.min(560, Math.max(140, box[3] * 1.1));
    svg.style("height", `${room}px`);
    return { element: svg.node(), by, back };
  }

  const short = (text) => (text.length > 14 ? `${text.slice(0, 13)}…` : text);
  const width = (node) => 14 + 7.4 * short(node.data.text).length;

  function asList(nodes) {
    const list = (hierarchy) =>
      h(
        "ul",
        {},
        hierarchy.children.map((node) =>
          h("li", {}, words(node), node.children ? list(node) : null),
        ),
      );
    const root = treeOf(nodes);
    return root.children ? list(root) : h("p", {}, "No token.");
  }

  /** The figure of a graph. */
  descry.graphFigure = (name, graph) => {
    const rest =
      "Orange: how strongly a token activates. Blue: how much a token of the context matters. Bold: a path ends. Dashed: only together. Ctrl and wheel, or the buttons, zoom; drag to move.";
    const told = h("p", { class: "told" }, rest);
    told.dataset.rest = rest;
    if (!graph.nodes.length)
      return h(
        "p",
        { class: "quiet" },
        "The graph is empty: the neuron was never active on its training texts.",
      );
    const { element, by, back } = drawn(graph.nodes, told);
    const button = (label, title, onclick) =>
      h("button", { type: "button", "aria-label": title, title, onclick }, label);
    return h(
      "figure",
      { class: "graph" },
      h(
        "div",
        { class: "tools" },
        button("+", "Larger", by(1.5)),
        button("−", "Smaller", by(1 / 1.5)),
        button("⟲", "As it was", back),
        button("SVG", "Save as SVG", () =>
          descry.saveSvg(element, `graph-${name.replace(":", "-")}`),
        ),
      ),
      element,
      h(
        "figcaption",
        {},
        told,
        descry.legend("Activation", ["var(--page)", "var(--hot)"], "0", "1"),
        descry.legend("Importance", ["var(--page)", "var(--cool)"], "0", "1"),
      ),
      h("details", {}, h("summary", {}, "As a list"), asList(graph.nodes)),
    );
  };
})();
