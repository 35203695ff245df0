// Keeps a page up to date: it replaces the parts that have changed. Without it, links and forms do the same.
"use strict";
(() => {
  let stream = null;

  const keep = (element) => element.tagName === "INPUT" || element.tagName === "SELECT" || element.tagName === "TEXTAREA";

  // Makes `before` equal to `after`, and leaves alone what is equal: the focus, a selection, an open part.
  const morph = (before, after) => {
    if (before.nodeType !== after.nodeType || before.nodeName !== after.nodeName) return before.replaceWith(after);
    if (before.nodeType !== 1) {
      if (before.data !== after.data) before.data = after.data;
      return;
    }
    if (before.isEqualNode(after)) return;
    for (const { name, value } of [...after.attributes]) if (before.getAttribute(name) !== value) before.setAttribute(name, value);
    for (const { name } of [...before.attributes]) if (!after.hasAttribute(name) && name !== "open") before.removeAttribute(name);
    if (keep(before)) return;
    const [old, fresh] = [[...before.childNodes], [...after.childNodes]];
    fresh.forEach((node, index) => (index < old.length ? morph(old[index], node) : before.append(node)));
    old.slice(fresh.length).forEach((node) => node.remove());
  };

  const replace = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    for (const fresh of [...holder.content.children]) {
      const before = document.getElementById(fresh.id);
      if (before) morph(before, fresh);
    }
  };

  const open = () => {
    if (stream || document.hidden) return;
    stream = new EventSource(location.href);
    stream.onmessage = (event) => replace(JSON.parse(event.data));
    stream.addEventListener("reload", () => location.reload());
  };
  const close = () => {
    if (stream) stream.close();
    stream = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
})();
