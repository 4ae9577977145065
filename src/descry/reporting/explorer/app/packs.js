"use strict";
/* Packs of data. data/NAME.js calls descry.take with a text: base64 of gzip of JSON. It is parsed,
   never run. (A page from file:// may load scripts of its folder, but no other files.) */
const descry = (() => {
  const MOST = 400; // packs held: the ones used last
  const held = new Map(); // name: promise of its value
  const waiting = new Map(); // name: what to do with the text

  /** A pack's value, loaded once. Rejects where the file is missing or damaged. */
  function load(name) {
    const found = held.get(name);
    if (found) held.delete(name); // to the end: used last
    const promise = found ?? fetched(name);
    held.set(name, promise);
    if (held.size > MOST) held.delete(held.keys().next().value);
    return promise;
  }

  function fetched(name) {
    const promise = new Promise((resolve, reject) => {
      const script = document.createElement("script");
      waiting.set(name, (text) => decoded(text).then(resolve, reject));
      script.src = `data/${name}.js`;
      script.onerror = () => reject(new Error(`data/${name}.js is missing or damaged`));
      script.onload = () => {
        script.remove();
        if (waiting.delete(name)) reject(new Error(`data/${name}.js holds something else`));
      };
      document.head.append(script);
    });
    promise.catch(() => held.delete(name)); // so that it is tried again
    return promise;
  }

  async function decoded(text) {
    const chars = atob(text);
    const bytes = new Uint8Array(chars.length);
    for (let k = 0; k < bytes.length; k++) bytes[k] = chars.charCodeAt(k);
    const unpacking = new DecompressionStream("gzip");
    const writer = unpacking.writable.getWriter();
    // What is wrong with it comes out at the other end.
    writer.write(bytes).catch(() => {});
    writer.close().catch(() => {});
    return new Response(unpacking.readable).json();
  }

  /** What a pack's file calls. */
  function take(name, text) {
    const use = waiting.get(name);
    waiting.delete(name);
    if (use) use(text);
  }

  return { load, take, decoded };
})();
